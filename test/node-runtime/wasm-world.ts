// A wasm engine in folders of its own, for one test, and the modules of test/node-runtime/wasm/. Ends whatever it launched when it is closed.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { VolumeSpec } from '../../control/plan.ts';
import type { Engine, Launch } from '../../node-runtime/engine.ts';
import { pickFreePort } from '../../node-runtime/free-port.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createWasmEngine, type WasmEngineDependencies } from '../../node-runtime/wasm-engine.ts';
import type { WasmWorkload } from '../../node-runtime/wasm-launch.ts';
import { launchOf } from '../conformance/engine.ts';
import { isInstalled } from './process-world.ts';

const clock = createSystemClock();

/** Undefined where modules can be made; Debian's package wabt has what it takes. */
export const wasmMissing = async (): Promise<string | undefined> =>
  (await isInstalled('/usr/bin/wat2wasm')) ? undefined : 'wat2wasm (wabt) is not installed';

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** WebAssembly text as a module. */
export async function assemble(text: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-wat-'));
  try {
    await writeFile(join(folder, 'module.wat'), text);
    await promisify(execFile)('wat2wasm', ['module.wat', '-o', 'module.wasm'], { cwd: folder });
    return await readFile(join(folder, 'module.wasm'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A module that does what its arguments or its requests say. */
export const behaveModule = async (): Promise<Buffer> =>
  assemble(await readFile(join(import.meta.dirname, 'wasm', 'behave.wat'), 'utf8'));

export interface WasmLaunch {
  args?: string[];
  env?: Record<string, string>;
  volumes?: VolumeSpec[];
  memory?: string;
  /** Answers requests, with these bounds. */
  http?: { requestTimeoutMs?: number; concurrency?: number };
}

export async function createWasmWorld(module: Uint8Array, options: Partial<WasmEngineDependencies> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-wasm-'));
  const modulePath = join(folder, 'module.wasm');
  await writeFile(modulePath, module);
  const engines: Engine[] = [];
  const settings = { folder: join(folder, 'wasm'), volumesFolder: join(folder, 'volumes'), clock, ...options };

  async function open(): Promise<Engine> {
    const engine = createWasmEngine(settings);
    engines.push(engine);
    await engine.start({ fabricId: 'f'.repeat(52), node: 'box' });
    return engine;
  }

  function specOf({ args = [], env = {}, volumes = [], memory, http }: WasmLaunch): WasmWorkload {
    const { command: _, workingDirectory: __, ...common } = launchOf(['unused']).spec;
    return {
      ...common,
      engine: 'wasm',
      module: { hostPath: modulePath, sha256: sha256Of(module) },
      args,
      env,
      volumes,
      ports: http === undefined ? [] : [{ name: 'http', port: 80 }],
      ...(http !== undefined && { trigger: 'http', ...http }),
      ...(memory !== undefined && { resources: { memory } }),
    };
  }

  const engine = await open();

  return {
    folder,
    clock,
    engine,
    open,
    specOf,
    /** Staged and launched, as a node does it; answers where it listens. */
    async launch(wanted: WasmLaunch, changes: Partial<Launch> = {}): Promise<{ url: string }> {
      const spec = specOf(wanted);
      await engine.stage(spec, () => undefined, new AbortController().signal);
      const port = await pickFreePort('127.0.0.1', new Set());
      await engine.launch({ ...launchOf(['unused']), env: { HOST: '127.0.0.1', PORT: `${port}` }, ...changes, spec });
      return { url: `http://127.0.0.1:${port}` };
    },
    /** Runs it to its end; what it printed. */
    async run(wanted: WasmLaunch, changes: Partial<Launch> = {}) {
      await this.launch(wanted, changes);
      const exit = await engine.waitForExit(INSTANCE);
      const [stdout, stderr] = await Promise.all([this.text('stdout.log'), this.text('stderr.log')]);
      await engine.remove(INSTANCE);
      return { exit, stdout, stderr };
    },
    text: (name: string) => readFile(join(folder, 'wasm', 'instances', INSTANCE, name), 'utf8'),
    volume: (name: string) => join(folder, 'volumes', INSTANCE, name),
    async close(): Promise<void> {
      const last = await open();
      for (const { instance } of await last.list()) {
        await last.terminate(instance, 0);
        await last.remove(instance);
      }
      for (const one of engines) await one.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const INSTANCE = 'default.app.web.0';
