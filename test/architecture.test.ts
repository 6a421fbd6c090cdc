// Holds the table of ARCHITECTURE.md: which folder may import which, and where a dependency's package may be imported.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folders = ['actors', 'control', 'mesh', 'node-runtime', 'pki', 'simulations'] as const;
type Folder = (typeof folders)[number];

/** Folders whose code (not only types) a folder may import, besides itself. */
const mayImport: Record<Folder, readonly Folder[]> = {
  actors: [],
  control: [],
  mesh: [],
  pki: [],
  'node-runtime': ['actors', 'control', 'mesh', 'pki'],
  simulations: ['actors', 'control', 'mesh', 'node-runtime', 'pki'],
};

/** The command line is the program's entry: `up` starts the daemon, `doctor` examines the box that it would run on. */
const exceptions = new Set([
  'control/cli/up.ts -> node-runtime/daemon.ts',
  'control/cli/up.ts -> node-runtime/dense-heap.ts',
  'control/cli/doctor.ts -> node-runtime/doctor/doctor.ts',
  'control/cli/bundle-parts.ts -> node-runtime/doctor/doctor.ts',
]);

/** Packages that belong to one folder (and to simulations and tests where named). */
const packageHome: [RegExp, RegExp][] = [
  [/^pouchdb/, /^control\/pouch|^control\/replicate\.ts|^simulations\/sim-/],
  [/^(abstract-leveldown|leveldown)$/, /^control\/(pouch-|prefixed-leveldown)/],
  [/^node-forge/, /^pki\/asn1\.ts$/],
  [/^(libp2p$|@libp2p\/|@chainsafe\/libp2p|@multiformats\/)/, /^mesh\//],
  [/^multicast-dns$/, /^mesh\//],
  [/^dns-packet$/, /^node-runtime\/name-server\.ts$/],
  [/^xstate$/, /^(actors|node-runtime)\//],
  [/^dockerode$/, /^node-runtime\//],
  [/^(hono|@hono\/)/, /^control\/api/],
  [/^commander$/, /^control\/cli\//],
  [/^cli-table3$/, /^control\/cli\//],
  [/^yaml$/, /^(control\/cli|simulations)\//],
];

interface Import {
  from: string;
  /** Path in the project or a package's name. */
  to: string;
  typeOnly: boolean;
}

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function importsOf(file: string): Import[] {
  const source = readFileSync(join(root, file), 'utf8');
  const statements = source.matchAll(
    /^(?:import|export)\s+(type\s+)?([^;'"]*?)\s*from\s*['"]([^'"]+)['"]|^import\s*()()['"]([^'"]+)['"]|\bimport\(\s*()()['"]([^'"]+)['"]/gm,
  );
  return [...statements].map((match) => {
    const target = match[3] ?? match[6] ?? match[9] ?? '';
    const names = match[2] ?? '';
    const inner = /^\{([\s\S]*)\}$/.exec(names.trim())?.[1];
    const allTypes = inner?.split(',').every((name) => name.trim() === '' || name.trim().startsWith('type ')) ?? false;
    return {
      from: file,
      to: target.startsWith('.') ? relative(root, join(root, dirname(file), target)) : target,
      typeOnly: match[1] !== undefined || allTypes,
    };
  });
}

const imports = folders.flatMap(files).flatMap(importsOf);

test('the scan sees the imports there are', (t) => {
  t.true(imports.length > 200);
  t.true(imports.some(({ typeOnly }) => typeOnly));
  t.true(imports.some(({ from, to }) => `${from} -> ${to}` === 'control/cli/up.ts -> node-runtime/daemon.ts'));
});

test('folders import code only in the direction of the design', (t) => {
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    if (typeOnly || exceptions.has(`${from} -> ${to}`)) return false;
    const home = from.split('/')[0] as Folder;
    const target = folders.find((folder) => to.startsWith(`${folder}/`));
    if (target === undefined) return to.startsWith('test/') || to.startsWith('..');
    return target !== home && !mayImport[home].includes(target);
  });
  t.deepEqual(
    wrong.map(({ from, to }) => `${from} -> ${to}`),
    [],
  );
});

test('a package is imported only where it belongs', (t) => {
  const wrong = imports.filter(({ from, to, typeOnly }) =>
    packageHome.some(([name, home]) => name.test(to) && !home.test(from) && !typeOnly),
  );
  t.deepEqual(
    wrong.map(({ from, to }) => `${from} -> ${to}`),
    [],
  );
});

test('time and chance are asked for at their ports alone', (t) => {
  const adapters = /(^|\/)system-|^simulations\/sim-(clock|random)|^node-runtime\/clock\.ts$/;
  const wrong = folders
    .flatMap(files)
    .filter((file) => !adapters.test(file))
    .filter((file) => {
      const code = readFileSync(join(root, file), 'utf8').replace(/\/\/.*$|\/\*[\s\S]*?\*\//gm, '');
      return /\bDate\.now\(|\bMath\.random\(|(?<![.\w])set(Timeout|Interval)\(|\bnew Date\(\)/.test(code);
    });
  t.deepEqual(wrong, []);
});

test('each folder has a README that names each of its files', (t) => {
  for (const folder of [
    ...folders,
    'control/cli',
    'node-runtime/doctor',
    'node-runtime/hardware',
    'node-runtime/wasm',
  ]) {
    const readme = readFileSync(join(root, folder, 'README.md'), 'utf8');
    const missing = readdirSync(join(root, folder))
      .filter((name) => name.endsWith('.ts'))
      .filter((name) => !readme.includes(name));
    t.deepEqual(missing, [], folder);
  }
});
