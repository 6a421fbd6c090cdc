// Bundles the program into dist/ for the published package. Run by `prepack`; nothing in the checkout uses what it makes, so that
// there is no build step while developing. It must leave everything outside dist/ as it is.

import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { licencesOf } from './licences.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const output = join(root, 'dist');

/** What has native code cannot be bundled: these are the package's dependencies. */
const external = Object.keys(
  (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> })
    .dependencies,
);

/** All output lies flat in dist/, so a source file's own address is said relative to the package's folder. */
const ownAddress: Plugin = {
  name: 'own-address',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, ({ path }) => {
      const place = relative(root, path);
      const source = readFileSync(path, 'utf8');
      if (place.includes('node_modules/') || !source.includes('import.meta.url')) return undefined;
      const address = `new URL(${JSON.stringify(`../${place}`)}, import.meta.url).href`;
      // What is required is part of the same file, and runs only when it is wanted.
      const contents = source.replaceAll('createRequire(import.meta.url)(', 'require(');
      return { contents: contents.replaceAll('import.meta.url', address), loader: 'ts' };
    });
  },
};

/** Code that is never reached and costs memory in every daemon (measured: 24 MB, 2 MB, 6 MB), or that cannot be bundled. */
const replaced: Plugin = {
  name: 'replaced',
  setup({ onResolve, onLoad }) {
    // Replication goes over the mesh, never over HTTP: node-fetch and a jar for cookies have nothing to do here.
    onResolve({ filter: /^pouchdb-fetch$/ }, () => ({ path: 'pouchdb-fetch', namespace: 'replaced' }));
    onLoad({ filter: /^pouchdb-fetch$/, namespace: 'replaced' }, () => ({
      // Not even Node's own, which are loaded when they are looked at.
      contents:
        "export function fetch() { throw new Error('nothing is replicated over HTTP'); } export class Headers {}",
    }));
    // Messages in fifty languages; ours are our own.
    onResolve({ filter: /\/locales\/index\.c?js$/ }, ({ importer }) =>
      /node_modules\/zod\//.test(importer) ? { path: 'locales', namespace: 'replaced' } : undefined,
    );
    // An import looks at all that it exports, and so loads the WebSocket of Node's HTTP client, the client, and 10 MB with it.
    onResolve({ filter: /^(node:)?http$/ }, () => ({ path: 'http', namespace: 'replaced' }));
    onLoad({ filter: /^http$/, namespace: 'replaced' }, () => ({
      contents: "module.exports = process.getBuiltinModule('node:http');",
    }));
    // dockerode's ways to an engine on another box and to builds, where the engine is on this one and builds nothing.
    onResolve({ filter: /^(ssh2|@grpc\/grpc-js|@grpc\/proto-loader|protobufjs)$/ }, ({ path, importer }) =>
      /node_modules\/(dockerode|docker-modem)\//.test(importer) ? { path, namespace: 'never-used' } : undefined,
    );
    onLoad({ filter: /./, namespace: 'never-used' }, () => ({ contents: 'module.exports = {};' }));
    // Optional speed-ups of packages that go on without them; what is not optional is external.
    onResolve({ filter: /\.node$/ }, ({ path }) => ({ path, namespace: 'replaced' }));
    onLoad({ filter: /\.node$/, namespace: 'replaced' }, () => ({
      contents: "throw new Error('native code is not part of the bundle');",
    }));
    onLoad({ filter: /^locales$/, namespace: 'replaced' }, () => ({
      contents: `export { default as en } from ${JSON.stringify(join(root, 'node_modules/zod/v4/locales/en.js'))};`,
      resolveDir: root,
    }));
  },
};

await rm(output, { recursive: true, force: true });
await mkdir(output);
const { metafile } = await build({
  absWorkingDir: root,
  // Module names are part of the output: with the real paths of a linked node_modules it would say where it was built.
  preserveSymlinks: true,
  entryPoints: { selvedge: 'control/cli/main.ts' },
  outdir: output,
  bundle: true,
  // What is imported late (the daemon, manifests) is a file of its own, so that a command loads only what it needs.
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.18',
  chunkNames: '[name]-[hash]',
  external,
  plugins: [ownAddress, replaced],
  // Names stay, for stack traces; no source maps: they are larger than the code.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
  // Bundled CommonJS code has these two: to call what is external, and to name files (which it must not read: they are not here).
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url), __dirname = import.meta.dirname;",
  },
});
/** The process of a module and its threads are files of their own, each whole: an upgrade may take the others away meanwhile. */
await build({
  absWorkingDir: root,
  preserveSymlinks: true,
  entryPoints: { runner: 'node-runtime/wasm/runner.ts', worker: 'node-runtime/wasm/worker.ts' },
  outdir: join(output, 'wasm'),
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node22.18',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
});
await writeFile(join(output, 'THIRD-PARTY-LICENSES'), licencesOf(root, Object.keys(metafile.inputs)));

// A source address that was missed would point outside the package.
for (const name of readdirSync(output).filter((file) => file.endsWith('.js'))) {
  await import(pathToFileURL(join(output, name)).href);
}
