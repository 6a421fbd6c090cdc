// The engine of WebAssembly modules. Called by engines.ts. Each instance is a process of its own, the runner (wasm/), which the process
// engine starts, watches, limits, logs and ends: this file adds the module and what it may see. No module is compiled or run in the daemon.

import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { WorkloadSpec } from '../control/plan.ts';
import type { Clock } from './clock.ts';
import type { Engine, EngineInstance, Launch } from './engine.ts';
import { EngineStoppedError, ExecFailedError, LaunchRefusedError, ModuleRefusedError } from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { checkLaunch, isInstanceName } from './launch-check.ts';
import { createProcessEngine, type ProcessEngineDependencies } from './process-engine.ts';
import { type RunnerSettings, settingsFile } from './wasm/settings.ts';
import { processLaunchOf, type WasmWorkload } from './wasm-launch.ts';
import { lookIntoModule } from './wasm-look.ts';
import { createModules } from './wasm-modules.ts';

export interface WasmEngineDependencies extends Pick<ProcessEngineDependencies, 'logger' | 'trial'> {
  /** Instances and modules are in folders of it; made with mode 0700. */
  folder: string;
  /** Where volumes are, which outlive their instances. */
  volumesFolder: string;
  clock: Clock;
}

const isWasm = (launch: Launch): launch is Launch & { spec: WasmWorkload } => launch.spec.engine === 'wasm';

export function createWasmEngine({ folder, volumesFolder, clock, ...rest }: WasmEngineDependencies): Engine {
  const instances = resolve(folder, 'instances');
  const volumes = resolve(volumesFolder);
  const modules = createModules({ folder: resolve(folder, 'modules'), clock });
  const processes = createProcessEngine({ ...rest, folder: instances, volumesFolder: volumes, clock });
  const queue = createKeyedQueue();
  /** SHA-256 of modules that were looked into and can be run. */
  const fit = new Set<string>();
  let stopping: AbortController | undefined;

  async function look(sha256: string, read: () => Promise<Uint8Array>): Promise<void> {
    if (stopping === undefined) throw new EngineStoppedError();
    const { signal } = stopping;
    if (fit.has(sha256)) return;
    const fault = await lookIntoModule(await read(), signal);
    if (fault !== undefined) throw new ModuleRefusedError(fault);
    fit.add(sha256);
  }

  /** Whether a control group can hold the whole process: Node.js does not start under the bound that programs have without one. */
  const holdsMemory = (spec: WorkloadSpec): boolean =>
    processes.notHeld({ ...spec, resources: { memory: spec.resources?.memory ?? '64Mi' } }) === undefined;

  const settingsOf = async (instance: string): Promise<RunnerSettings | undefined> => {
    const text = await readFile(join(instances, instance, settingsFile), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as RunnerSettings);
  };

  async function modulesInUse(): Promise<Set<string>> {
    const all = (await readdir(instances)).filter(isInstanceName);
    const settings = await Promise.all(all.map(settingsOf));
    return new Set(settings.flatMap((one) => one?.sha256 ?? []));
  }

  /** What the runner was given is the node's part alone: the module has the other. */
  async function withModuleEnv(found: EngineInstance): Promise<EngineInstance> {
    return { ...found, env: { ...(await settingsOf(found.instance))?.env, ...found.env } };
  }

  /** A module of a Config came with the launch; any other was staged. */
  async function moduleOf({ instance, spec, mounts = [] }: Launch & { spec: WasmWorkload }) {
    const { module } = spec;
    if (!('config' in module)) return { path: modules.path(module.sha256), sha256: module.sha256 };
    const mount = mounts.find(({ kind, name }) => kind === 'configs' && name === module.config);
    const content = mount?.files.find(({ path }) => path === module.file)?.content;
    if (content === undefined)
      throw new LaunchRefusedError(instance, `module: Config ${module.config} has no file ${module.file}`);
    const sha256 = createHash('sha256').update(content).digest('hex');
    await look(sha256, async () => content);
    return { path: join(instances, instance, 'configs', module.config, module.file), sha256 };
  }

  return {
    ...processes,
    name: 'wasm',
    async start() {
      await modules.start();
      await processes.start();
      stopping ??= new AbortController();
    },
    async stop() {
      stopping?.abort(new EngineStoppedError());
      stopping = undefined;
      await processes.stop();
    },

    notHeld(spec) {
      const { memory, ...others } = spec.resources ?? {};
      const onlyRuns = memory !== undefined && !holdsMemory(spec);
      const rest = processes.notHeld({ ...spec, resources: others });
      const all = [onlyRuns ? 'memory is held for each run of the module, and not for its process' : undefined, rest];
      return all.filter((one) => one !== undefined).join('; ') || undefined;
    },

    list: async () => Promise.all((await processes.list()).map(withModuleEnv)),

    async stage(spec, onProgress, signal) {
      if (stopping === undefined) throw new EngineStoppedError();
      if (spec.engine !== 'wasm' || 'config' in spec.module) return;
      const { module } = spec;
      await modules.stage(module, onProgress, AbortSignal.any([signal, stopping.signal]));
      await look(module.sha256, () => readFile(modules.path(module.sha256)));
      await modules.prune((await modulesInUse()).add(module.sha256));
    },

    async launch(launch) {
      if (stopping === undefined) throw new EngineStoppedError();
      checkLaunch(launch);
      if (!isWasm(launch))
        throw new LaunchRefusedError(launch.instance, `engine: it is for engine ${launch.spec.engine}`);
      return queue.run(launch.instance, async () => {
        const module = await moduleOf(launch);
        const folder = join(instances, launch.instance);
        const place = { folder, volumesFolder: volumes, module, holdsMemory: holdsMemory(launch.spec) };
        return withModuleEnv(await processes.launch(processLaunchOf(launch, place)));
      });
    },

    async terminate(instance, timeoutMs) {
      // A launch that is under way comes first.
      await queue.run(instance, async () => undefined);
      return processes.terminate(instance, timeoutMs);
    },

    // Names are for sockets, which a module has none of.
    writeHosts: async (instance) => processes.writeHosts(instance, []),

    async exec(instance, [program = '']) {
      throw new ExecFailedError(instance, program, 'a module has no commands');
    },
  };
}
