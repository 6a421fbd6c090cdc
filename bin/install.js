// Installs what package-lock.json names when it is not there yet: `npm start` and `npm test` call it first, so that a fresh
// clone needs no other command. Plain JavaScript for any Node; does nothing, in milliseconds, when all is in place.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** name@version of every package that must be there; optional ones for other platforms need not be. */
function packages(file) {
  const { packages: listed } = JSON.parse(readFileSync(join(root, file), 'utf8'));
  return Object.entries(listed).filter(([path]) => path !== '');
}

function isInstalled() {
  try {
    const there = new Map(packages('node_modules/.package-lock.json'));
    return packages('package-lock.json').every(
      ([path, { version, optional, devOptional }]) => there.get(path)?.version === version || optional || devOptional,
    );
  } catch {
    return false;
  }
}

if (!isInstalled()) {
  console.error('Installing packages (once, about a minute)…');
  const { status, signal, error } = spawnSync(
    'npm',
    ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'],
    {
      cwd: root,
      stdio: ['ignore', 2, 2],
    },
  );
  if (error) console.error(`npm could not be started: ${error.message}`);
  if (status !== 0) {
    console.error(`npm ci failed (${signal ?? `exit code ${status}`}); correct what it names and try again.`);
    process.exit(1);
  }
}
