// The launch of a module as the launch of a process: the runner (wasm/runner.ts) on this very Node, with its flags and its settings.
// Pure but for finding the runner's file. Called by wasm-engine.ts.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memoryBytesMax } from '../control/limits.ts';
import type { WasmSpec, WorkloadSpec } from '../control/plan.ts';
import { memoryBytes } from '../control/quantity.ts';
import { containerFilesFolder } from './docker-container.ts';
import type { Launch } from './engine.ts';
import {
  REQUEST_CONCURRENCY,
  REQUEST_TIMEOUT_MS,
  RUNNER_BYTES,
  RUNNER_REQUESTS_BYTES,
  RUNNER_THREAD_BYTES,
  WASM_CODE_MB,
  WASM_PAGE_BYTES,
} from './limits.ts';
import { type Preopen, type RunnerSettings, secretPrefix, settingsFile } from './wasm/settings.ts';

export type WasmWorkload = WorkloadSpec & WasmSpec;

export interface RunnerPlace {
  /** Of the instance. */
  folder: string;
  volumesFolder: string;
  /** Path of the module on this box, and what it is. */
  module: { path: string; sha256: string };
  /** A control group can hold the whole of the runner's memory. */
  holdsMemory: boolean;
}

/** In the published package the runner is a bundle of its own; in the sources it is run as it is. */
export function runnerFile(): string {
  const source = fileURLToPath(new URL('./wasm/runner.ts', import.meta.url));
  return existsSync(source) ? source : fileURLToPath(new URL('../dist/wasm/runner.js', import.meta.url));
}

/** Folders of the box by the names that the module has for them. */
export function preopensOf(
  { spec, instance, mounts = [] }: Pick<Launch, 'instance' | 'mounts'> & { spec: WasmWorkload },
  place: RunnerPlace,
): Preopen[] {
  const volumes = (spec.volumes ?? []).map(({ name, path = '', hostPath, readOnly = false }) => ({
    guest: path,
    host: hostPath ?? join(place.volumesFolder, instance, name),
    readOnly,
  }));
  const kinds = [...new Set(mounts.map(({ kind }) => kind))];
  const mounted = kinds.map((kind) => ({
    ...{ guest: `${containerFilesFolder}/${kind}`, host: join(place.folder, kind), readOnly: true },
  }));
  return [...volumes, ...mounted];
}

/** All of the runner may use this: what one module may use, for each that runs at a time, and what it needs itself. */
export function runnerBytes(moduleBytes: number, runs: number, requests: boolean): number {
  const own = RUNNER_BYTES + (requests ? RUNNER_REQUESTS_BYTES + runs * RUNNER_THREAD_BYTES : 0);
  return Math.min(memoryBytesMax, own + runs * moduleBytes);
}

export function processLaunchOf(launch: Launch & { spec: WasmWorkload }, place: RunnerPlace): Launch {
  const { instance, spec, env, files, secretEnv = {} } = launch;
  const { args = [], trigger, concurrency = REQUEST_CONCURRENCY, requestTimeoutMs = REQUEST_TIMEOUT_MS } = spec;
  const { memory, ...resources } = spec.resources ?? {};
  const moduleBytes = memory === undefined ? undefined : memoryBytes(memory);
  const preopens = preopensOf(launch, place);
  const requests = trigger === 'http';
  const bytes =
    moduleBytes !== undefined && place.holdsMemory
      ? runnerBytes(moduleBytes, requests ? concurrency : 1, requests)
      : undefined;
  const settings: RunnerSettings = {
    module: place.module.path,
    sha256: place.module.sha256,
    args: [instance, ...args],
    env: spec.env,
    secretEnv: Object.keys(secretEnv),
    preopens,
    ...(requests && {
      http: { host: env['HOST'] ?? '', port: Number(env['PORT']), timeoutMs: requestTimeoutMs, concurrency },
    }),
  };
  const settingsPath = join(place.folder, settingsFile);
  return {
    ...launch,
    spec: {
      engine: 'process',
      command: [
        process.execPath,
        // node:wasi says that it is experimental, and the permissions that they do not hold it. They hold the runner's own code: no
        // programs, no native code, no writing. What the module reaches is for guest-paths.ts.
        '--no-warnings',
        '--expose-gc',
        `--wasm-max-committed-code-mb=${WASM_CODE_MB}`,
        ...(moduleBytes === undefined ? [] : [`--wasm-max-mem-pages=${Math.floor(moduleBytes / WASM_PAGE_BYTES)}`]),
        '--permission',
        '--allow-wasi',
        '--allow-worker',
        '--allow-fs-read=*',
        runnerFile(),
        settingsPath,
      ],
      env: {},
      ports: spec.ports,
      configs: spec.configs,
      volumes: (spec.volumes ?? []).filter(({ hostPath }) => hostPath === undefined),
      resources: { ...resources, ...(bytes !== undefined && { memory: `${Math.ceil(bytes / 2 ** 20)}Mi` }) },
      restart: spec.restart,
      stopTimeoutMs: spec.stopTimeoutMs,
    },
    secretEnv: Object.fromEntries(Object.entries(secretEnv).map(([name, value]) => [secretPrefix + name, value])),
    // A module has no sockets, and looks no name up.
    hosts: [],
    files: [...files, { path: settingsFile, content: Buffer.from(JSON.stringify(settings)), mode: 0o400 }],
  };
}
