// Modules on their way to a box: only what the manifest says is ever used, and what cannot be run is said before it is started.

import { once } from 'node:events';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { WasmModule } from '../../control/plan.ts';
import { LaunchRefusedError, ModuleFetchError, ModuleRefusedError } from '../../node-runtime/errors.ts';
import { MODULE_BYTES_MAX, MODULE_CACHE_BYTES_MAX } from '../../node-runtime/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { memoriesOf, moduleFault } from '../../node-runtime/wasm-module.ts';
import { createModules, type FetchedModule } from '../../node-runtime/wasm-modules.ts';
import { launchOf } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { assemble, createWasmWorld, INSTANCE, sha256Of, wasmMissing } from './wasm-world.ts';

const missing = await wasmMissing();
const never = new AbortController().signal;
const bytes = Buffer.from('as good as a module'.repeat(1_000));
const sha256 = sha256Of(bytes);

async function createWorld(t: ExecutionContext, listener: RequestListener) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-modules-'));
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  const modules = createModules({ folder, clock: createSystemClock() });
  await modules.start();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/a.wasm`;
  const stage = async (more: Partial<FetchedModule> = {}) => {
    const told: string[] = [];
    await modules.stage({ url, sha256, ...more } as FetchedModule, (text) => told.push(text), never);
    return told;
  };
  return { folder, url, modules, stage };
}

test('a module is fetched once, and again when the disk has lost some of it', async (t) => {
  let asked = 0;
  const world = await createWorld(t, (_, response) => {
    asked += 1;
    response.end(bytes);
  });
  t.deepEqual(await world.stage(), [`fetching ${world.url}`]);
  t.deepEqual(await Promise.all([world.stage(), world.stage()]), [[], []]);
  t.is(asked, 1);
  await truncate(world.modules.path(sha256), 10);
  await world.stage();
  t.is(asked, 2);
  t.deepEqual(await readdir(world.folder), [`${sha256}.wasm`]);
});

test('two instances that need the same module fetch it once', async (t) => {
  let asked = 0;
  const world = await createWorld(t, (_, response) => {
    asked += 1;
    response.end(bytes);
  });
  await Promise.all([world.stage(), world.stage(), world.stage()]);
  t.is(asked, 1);
});

test('what is not the module is not kept: another content, half of it, an error, too much', async (t) => {
  const answers: Record<string, [RequestListener, RegExp]> = {
    other: [(_, response) => response.end('other'), /its SHA-256 is [0-9a-f]{64}, and the manifest says/],
    cut: [
      (_, response) => {
        response.writeHead(200, { 'content-length': bytes.byteLength });
        response.write(bytes.subarray(0, 100), () => response.destroy());
      },
      /cannot fetch http:/,
    ],
    missing: [(_, response) => response.writeHead(404).end('no'), /the server answers 404 Not Found/],
    large: [
      (_, response) => response.writeHead(200, { 'content-length': MODULE_BYTES_MAX + 1 }).end(),
      /more than 67 MB/,
    ],
    elsewhere: [(_, response) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(), /cannot fetch/],
  };
  for (const [what, [listener, reason]] of Object.entries(answers)) {
    const world = await createWorld(t, listener);
    const error = await t.throwsAsync(world.stage(), { instanceOf: ModuleFetchError }, what);
    t.regex(error.message, reason, what);
    t.deepEqual(await readdir(world.folder), [], what);
  }
});

test('a fetch that nobody wants any more ends, and what an earlier daemon left is removed', async (t) => {
  const world = await createWorld(t, (_, response) => void response.write('a'));
  const giveUp = new AbortController();
  const fetching = world.modules.stage(
    { url: world.url, sha256 },
    () => giveUp.abort(new Error('given up')),
    giveUp.signal,
  );
  await t.throwsAsync(fetching, { message: 'given up' });
  await writeFile(join(world.folder, '.partial-1-0'), 'left');
  await world.modules.start();
  t.deepEqual(await readdir(world.folder), []);
});

test('modules that no instance uses go when there is too much of them, the oldest first', async (t) => {
  const world = await createWorld(t, (_, response) => response.end());
  const sizes = { a: MODULE_CACHE_BYTES_MAX, b: 1_000, c: 1_000 };
  for (const [name, size] of Object.entries(sizes)) {
    await writeFile(world.modules.path(name), '');
    await truncate(world.modules.path(name), size);
  }
  await world.modules.prune(new Set(['a']));
  t.deepEqual(await readdir(world.folder), ['a.wasm'], 'what is used stays, however large');
  await world.modules.prune(new Set());
  t.deepEqual(await readdir(world.folder), ['a.wasm'], 'and so does what fits');
});

test('from a path of the box only a file is taken', async (t) => {
  const world = await createWorld(t, (_, response) => response.end());
  for (const hostPath of ['/dev/zero', '/etc', '/selvedge-no-such-file']) {
    const module: WasmModule = { hostPath, sha256 };
    await t.throwsAsync(
      world.modules.stage(module, () => undefined, never),
      { instanceOf: ModuleFetchError },
    );
  }
});

test('bytes that are no module are said to be none', async (t) => {
  t.regex((await moduleFault(Buffer.from('<html>'))) ?? '', /no WebAssembly/);
  t.regex((await moduleFault(Buffer.from('0061736d0d000100', 'hex'))) ?? '', /component.*wasm32-wasip1/);
  t.regex((await moduleFault(Buffer.from('0061736d01000000ff', 'hex'))) ?? '', /WebAssembly/);
});

if (missing !== undefined) test('modules that cannot be run', (t) => skip(t, missing));
else {
  test('a module that wants more than WASI preview 1, or is no command, is refused', async (t) => {
    const memory = '(memory (export "memory") 1)';
    const start = '(func (export "_start"))';
    const table: [string, RegExp | undefined][] = [
      [`${memory}${start}`, undefined],
      [`(import "env" "f" (func))${memory}${start}`, /imports the function env\.f/],
      [`(import "wasi_snapshot_preview1" "memory" (memory 1))${start}`, /imports the memory/],
      [memory, /exports no function _start/],
      [start, /exports no memory/],
    ];
    for (const [text, reason] of table) {
      const fault = await moduleFault(await assemble(`(module ${text})`));
      if (reason === undefined) t.is(fault, undefined);
      else t.regex(fault ?? '', reason, text);
    }
    // Two memories, which wat2wasm does not write: section 5 with two of one page each.
    t.is(memoriesOf(Buffer.from('0061736d01000000' + '050502000100' + '01', 'hex')), 2);
    t.is(memoriesOf(await assemble(`(module ${start}${memory})`)), 1);
  });

  test('an instance with such a module fails for good, and one whose Config has no such file too', async (t) => {
    const world = await createWasmWorld(Buffer.from('not a module'));
    t.teardown(world.close);
    const error = await t.throwsAsync(world.launch({}), { instanceOf: ModuleRefusedError });
    t.true((error as ModuleRefusedError).needsChange);
    const spec = { ...world.specOf({}), module: { config: 'web', file: 'a.wasm' } };
    const launch = { ...launchOf(['unused']), spec };
    await t.throwsAsync(world.engine.launch(launch), {
      instanceOf: LaunchRefusedError,
      message: /has no file a\.wasm/,
    });
    t.deepEqual(await world.engine.list(), []);
  });

  test('a module comes from a Config as well', async (t) => {
    const module = await assemble('(module (memory (export "memory") 1) (func (export "_start")))');
    const world = await createWasmWorld(module);
    t.teardown(world.close);
    const spec = { ...world.specOf({}), module: { config: 'web', file: 'a.wasm' } };
    const mounts = [{ kind: 'configs' as const, name: 'web', files: [{ path: 'a.wasm', content: module }] }];
    await world.engine.stage(spec, () => t.fail(), never);
    await world.engine.launch({ ...launchOf(['unused']), spec, mounts });
    t.is((await world.engine.waitForExit(INSTANCE)).status, 0, await world.text('stderr.log'));
  });
}
