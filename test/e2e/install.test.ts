// The published package: what is in it, and that it works where it is installed.

import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { currentVersion, installGlobally, npmEnvironment, pack } from './package.ts';

interface Ran {
  status: number | string;
  out: string;
  error: string;
}

async function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ran> {
  try {
    const { stdout, stderr } = await promisify(execFile)(file, args, { env, timeout: 100_000, encoding: 'utf8' });
    return { status: 0, out: stdout, error: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number | string; stdout: string; stderr: string };
    return { status: code, out: stdout, error: stderr };
  }
}

/** The package, installed by npm into a folder of this test's own; made once, in `before`. */
let folder = '';
let prefix = '';
let tarball = '';
let version = '';

test.before(async (t) => {
  t.timeout(180_000);
  folder = await mkdtemp(join(tmpdir(), 'selvedge-install-'));
  prefix = join(folder, 'prefix');
  await mkdir(prefix);
  version = await currentVersion();
  tarball = await pack(folder, version);
  await installGlobally(tarball, prefix);
});

test.after.always(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }));

const packageFile = (name: string): string => join(prefix, 'lib/node_modules/selvedge', name);

/** An old Node.js of this box; without one, the current one that claims to be old. */
async function oldNode(t: ExecutionContext): Promise<string[]> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const node = join(directory, 'node');
    const { out } = await run(node, ['--version']);
    const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(out) ?? [];
    if (Number(major) < 22 || (Number(major) === 22 && Number(minor) < 18)) return [node];
  }
  t.log('this box has no old Node.js: the current one claims to be one');
  const claim = "Object.defineProperty(process.versions, 'node', { value: '20.1.0' })";
  return [process.execPath, '--import', `data:text/javascript,${encodeURIComponent(claim)}`];
}

test('the package holds the bundle, the example and the licences, and no sources', async (t) => {
  const { out } = await run('tar', ['-tzf', tarball]);
  const names = out.trim().split('\n');
  for (const name of ['LICENSE', 'README.md', 'bin/selvedge.js', 'dist/selvedge.js', 'dist/THIRD-PARTY-LICENSES']) {
    t.true(names.includes(`package/${name}`), name);
  }
  t.true(names.includes('package/examples/cold-chain/app.yaml'));
  t.deepEqual(
    names.filter((name) => /\.ts$|\.map$|^package\/(test|scripts|simulations|node_modules)\//.test(name)),
    [],
  );
  const licences = await readFile(packageFile('dist/THIRD-PARTY-LICENSES'), 'utf8');
  for (const name of ['libp2p', 'pouchdb-core', 'xstate', 'node-forge', 'commander', 'zod']) {
    t.regex(licences, new RegExp(`^${name} \\d+\\.\\d+\\.\\d+ \\(`, 'm'), name);
  }
  t.notRegex(licences, /^node-fetch /m, 'what is replaced is not in it');
});

test('the package runs nothing when it is installed, and depends on native code alone', async (t) => {
  const manifest = JSON.parse(await readFile(packageFile('package.json'), 'utf8')) as {
    scripts: Record<string, string>;
    dependencies: Record<string, string>;
    engines: Record<string, string>;
  };
  const atInstall = ['preinstall', 'install', 'postinstall', 'prepare', 'preprepare', 'postprepare'];
  t.deepEqual(
    atInstall.filter((name) => name in manifest.scripts),
    [],
  );
  t.deepEqual(Object.keys(manifest.dependencies), ['leveldown']);
  t.is(manifest.engines['node'], '>=22.18');
});

test('the installed program says its version', async (t) => {
  const { status, out } = await run(process.execPath, [join(prefix, 'bin/selvedge'), '--version']);
  t.deepEqual([status, out], [0, `${version}\n`]);
});

test('the installed program checks the demo and leaves nothing', async (t) => {
  t.timeout(120_000);
  const data = join(folder, 'demo');
  await mkdir(data);
  const args = [join(prefix, 'bin/selvedge'), 'demo', '--once', '--json', '--data', data];
  const { status, out, error } = await run(process.execPath, args);
  t.is(status, 0, error.slice(-4_000));
  const result = JSON.parse(out.trim().split('\n').at(-1) ?? '') as {
    ok: boolean;
    nodes: number;
    instances: unknown[];
  };
  t.deepEqual([result.ok, result.nodes, result.instances.length], [true, 3, 3]);
  const { out: left } = await run('ls', ['-A', data]);
  t.is(left, '');
});

test('on a Node.js that is too old the installed program says so in one line and exits with 2', async (t) => {
  const [node, ...options] = await oldNode(t);
  const { status, out, error } = await run(node as string, [...options, join(prefix, 'bin/selvedge'), 'status']);
  t.deepEqual([status, out], [2, '']);
  t.regex(error, /^selvedge needs Node\.js 22\.18 or newer; this is \d+\.\d+\.\d+\. See \S+\n$/);
});

test('what is installed does not need the checkout', async (t) => {
  const names = (await readdir(packageFile('dist'), { recursive: true })).filter((name) => name.includes('.'));
  t.true(names.includes('wasm/runner.js') && names.includes('wasm/worker.js'));
  for (const name of names) {
    const code = await readFile(packageFile(`dist/${name}`), 'utf8');
    t.notRegex(code, /"\.\.\/[^"]*node_modules\//, `${name} names modules outside the package`);
    t.false(code.includes(process.cwd()), `${name} names the folder in which it was made`);
  }
  await t.throwsAsync(access(packageFile('control/cli/main.ts')), { code: 'ENOENT' });
});

test('npm takes all of it away again', async (t) => {
  t.timeout(120_000);
  const own = join(folder, 'taken-away');
  await mkdir(own);
  await installGlobally(tarball, own);
  await access(join(own, 'bin/selvedge'));
  const { status, error } = await run('npm', ['uninstall', '--global', '--prefix', own, 'selvedge'], npmEnvironment);
  t.is(status, 0, error);
  t.deepEqual([await readdir(join(own, 'bin')), await readdir(join(own, 'lib/node_modules'))], [[], []]);
});
