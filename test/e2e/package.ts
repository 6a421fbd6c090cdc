// The published package, made and installed as a user would: `npm pack`, `npm install -g`. Each call works on a copy of the sources, so
// that tests which run beside each other share no dist/.

import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const checkout = fileURLToPath(new URL('../..', import.meta.url));

/** What packing needs; not the tests, not what is ignored. */
const sources = [
  ...['actors', 'bin', 'control', 'docs', 'examples', 'mesh', 'node-runtime', 'pki', 'scripts', 'types'],
  ...['package.json', 'package-lock.json', '.npmrc', 'README.md', 'LICENSE', 'CHANGELOG.md', 'tsconfig.json'],
];

/** npm itself, and what it runs, on the Node.js of the tests. */
export const npmEnvironment = {
  ...process.env,
  PATH: [join(checkout, 'node_modules/.bin'), process.env['PATH'] ?? ''].join(delimiter),
};

export const currentVersion = async (): Promise<string> =>
  (JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as { version: string }).version;

/** Packs the program as `version` below `folder`; returns the tarball's path. */
export async function pack(folder: string, version: string): Promise<string> {
  const copy = join(folder, `sources-${version}`);
  await mkdir(copy, { recursive: true });
  for (const name of sources) await cp(join(checkout, name), join(copy, name), { recursive: true });
  await symlink(join(checkout, 'node_modules'), join(copy, 'node_modules'));
  const manifest = JSON.parse(await readFile(join(copy, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>;
  };
  // Packages are there already: nothing may install into the checkout's folder while tests run on it.
  const scripts = { ...manifest.scripts, prepack: 'node scripts/build.ts' };
  await writeFile(join(copy, 'package.json'), JSON.stringify({ ...manifest, version, scripts }, undefined, 2));
  await run('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: copy, env: npmEnvironment });
  return join(folder, `selvedge-${version}.tgz`);
}

/** `npm install -g` below `prefix`; the program is `<prefix>/bin/selvedge`. */
export async function installGlobally(tarball: string, prefix: string): Promise<void> {
  const options = ['--prefix', prefix, '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
  await run('npm', ['install', '--global', ...options, tarball], { cwd: prefix, env: npmEnvironment });
}
