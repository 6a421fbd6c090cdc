// The engine of child processes. Called by the instance actor's ports. Each instance runs under a shim (process-shim.ts)
// that outlives this process, so everything here is read back from folders and /proc; what is in memory only wakes waiters.
// It never restarts anything, and never signals a process that it has not just recognised.

import { access, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { closeCgroups, describeNotHeld, removeGroups } from './cgroups.ts';
import type { Clock } from './clock.ts';
import type { Engine, EngineInstance, EngineOwner } from './engine.ts';
import {
  DiskError,
  EngineStoppedError,
  InstanceNotRunningError,
  InstanceRunningError,
  InstanceUnknownError,
} from './errors.ts';
import { type InstanceMounts, openInstanceMounts } from './instance-mounts.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { checkCommand, checkLaunch, isInstanceName } from './launch-check.ts';
import { createLeftovers } from './leftovers.ts';
import { askToEnd, killAll } from './process-end.ts';
import { execBeside } from './process-exec.ts';
import { type InstanceFolder, openInstanceFolder } from './process-folder.ts';
import { describeInstance } from './process-launch.ts';
import { createProcessLogs } from './process-logs.ts';
import type { NamesKind } from './process-names.ts';
import type { ProcessNetworksDependencies } from './process-networks.ts';
import { readStanding, type Standing, settled } from './process-standing.ts';
import { networksOnDisk, type Started, startProcesses } from './process-start.ts';
import { createProcessUpdates } from './process-updates.ts';
import { createSecretFolders, type MemoryCandidate } from './secret-folders.ts';

export interface ProcessEngineDependencies {
  /** Where the instances' folders are; made with mode 0700. */
  folder: string;
  /** Where volumes are, which outlive their instances; beside the instances' folders by default. */
  volumesFolder?: string;
  clock: Clock;
  /** Holds the folders above; hidden from workloads that run as another user than the daemon. The engine's own by default. */
  hiddenFolder?: string;
  /** Whom programs run as that name nobody: `user` or `user:group`. By default the daemon's user. */
  standardUser?: string | undefined;
  /** Programs have networks of their own where the box allows it: of which range (CIDR), what of the box they reach, and who hears of what goes wrong. */
  networks?: Pick<ProcessNetworksDependencies, 'range' | 'published' | 'onProblem'> | undefined;
  /** Appended to every workload's PATH; the folder of the running Node by default. */
  nodeExecutableFolder?: string;
  /** For what nobody waits for: a log that could not be rotated. */
  logger?: { warn(fields: Record<string, unknown>, message: string): void };
  /** Tests only: another shell than the box's sh, another boot id, what /proc/self says of control groups, a smaller bound for logs, where memory is. */
  trial?: {
    shell?: string;
    boot?: string;
    proc?: string;
    logBytesMax?: number;
    memory?: MemoryCandidate[];
    self?: { user: number; group: number };
  };
}

export interface ProcessEngine extends Engine {
  /** Its folder says whose the instances are; the owner, whose the interfaces. */
  start(owner?: EngineOwner): Promise<void>;
  /** How workloads get names; known after `start`, `none` before. */
  readonly names: NamesKind;
  /** Why names are not better; empty when they are as good as they get. */
  readonly namesReason: string;
  /** Why programs share the network of the box; empty when those have their own that want it. */
  readonly networksReason: string;
}

export function createProcessEngine(dependencies: ProcessEngineDependencies): ProcessEngine {
  const { clock, logger, trial = {}, nodeExecutableFolder = dirname(process.execPath) } = dependencies;
  const root = resolve(dependencies.folder);
  const volumesFolder = resolve(dependencies.volumesFolder ?? join(root, '.volumes'));
  const queue = createKeyedQueue();
  let starting: Promise<Started> | undefined;
  let started: Started | undefined;

  const running = (): Started => {
    if (started === undefined) throw new EngineStoppedError();
    return started;
  };
  const open = (instance: string): InstanceFolder => openInstanceFolder(root, instance);
  const folders = createSecretFolders({ root, candidates: trial.memory });
  const mountsOf = (instance: string): InstanceMounts => {
    const { folder } = open(instance);
    return openInstanceMounts({
      instance,
      configs: join(folder, 'configs'),
      secretsLink: join(folder, 'secrets'),
      folders,
      clock,
    });
  };
  const logs = createProcessLogs({ clock, open, logger, bytesMax: trial.logBytesMax });
  const standingOf = async (instance: string, options = { waited: false }): Promise<Standing> => {
    const { table } = running();
    return isInstanceName(instance) ? readStanding(open(instance), table, clock, options) : { kind: 'absent' };
  };

  const leftovers = createLeftovers({
    root,
    queue,
    ready: () => started !== undefined,
    // A damaged record is no missing one: what it was of may run.
    isLeftover: (instance) => isAbsent(join(open(instance).run, 'launch.json')),
    async remove(instance) {
      logs.forget(instance);
      await mountsOf(instance).removeSecrets();
      await rm(open(instance).folder, { recursive: true, force: true });
    },
  });

  async function instancesOnDisk(): Promise<string[]> {
    return (await readdir(root)).filter(isInstanceName).sort();
  }

  const begin = (owner: EngineOwner): Promise<Started> =>
    startProcesses(
      {
        ...dependencies,
        ...{ root, volumesFolder, nodeExecutableFolder, logs, folders, open, mountsOf, instancesOnDisk },
      },
      owner,
    );

  async function forgetUnbegun(instance: string): Promise<void> {
    const standing = await standingOf(instance);
    if (standing.kind !== 'unbegun') return;
    await removeGroups(standing.launch.groups ?? []);
    await open(instance).reset();
  }

  return {
    name: 'process',
    get names() {
      return started?.names.kind ?? 'none';
    },
    get namesReason() {
      return started === undefined ? 'the engine is not started' : started.names.reason;
    },

    get networksReason() {
      return started === undefined ? 'the engine is not started' : started.networksReason;
    },

    async start(owner = { fabricId: '', node: '' }) {
      starting ??= begin(owner);
      try {
        started = await starting;
      } catch (error) {
        starting = undefined;
        throw error;
      }
    },

    async stop() {
      const ending = await starting?.catch(() => undefined);
      starting = undefined;
      started = undefined;
      ending?.stopping.abort(new EngineStoppedError());
      await ending?.maintenance;
      if (ending?.networks !== undefined)
        await ending.networks.stop(
          (await networksOnDisk(await instancesOnDisk(), ending.table, { open, clock })).size > 0,
        );
      await closeCgroups(ending?.cgroups);
      logs.clear();
    },

    // Nothing of it comes or goes while a box runs.
    unavailable: () => undefined,
    subscribe: () => () => undefined,
    async network(instance, spec) {
      const { networks } = running();
      const standing = await standingOf(instance);
      // What runs goes on as it was launched.
      if (standing.kind === 'running') return standing.launch.network;
      if (networks === undefined || spec.engine !== 'process') return undefined;
      if (spec.hostNetwork !== true) return networks.of(instance);
      networks.forget(instance);
      return undefined;
    },
    stage: async () => undefined,
    want: (planned) => leftovers.want(planned),
    notHeld: (spec) => {
      if (started === undefined) return undefined;
      const ownUser = started.users.hasOwn(spec.engine === 'process' ? spec.user : undefined);
      return describeNotHeld(started.cgroups, spec, ownUser);
    },

    async list() {
      running();
      const found: EngineInstance[] = [];
      for (const instance of await instancesOnDisk()) {
        const standing = await settled((options) => standingOf(instance, options), clock);
        if (standing.kind === 'unbegun') await queue.run(instance, () => forgetUnbegun(instance));
        if (standing.kind === 'ended') found.push(describeInstance(standing.launch, standing.exit, undefined));
        if (standing.kind === 'running')
          found.push(describeInstance(standing.launch, undefined, standing.workload?.pid));
      }
      return found;
    },

    async launch(launch) {
      running();
      checkLaunch(launch);
      return queue.run(launch.instance, () => running().launcher.launch(launch));
    },

    waitForExit: async (instance, signal) => running().waits.untilEnded(instance, signal),

    async terminate(instance, timeoutMs) {
      // A launch that is under way comes first.
      await queue.run(instance, async () => undefined);
      const { table, waits } = running();
      const standing = await standingOf(instance);
      if (standing.kind === 'absent' || standing.kind === 'unbegun') return undefined;
      const dependencies = { clock, table, folder: open(instance), instance };
      if (standing.kind === 'running' && timeoutMs > 0) {
        askToEnd(standing);
        const waiting = new AbortController();
        const late = clock.setTimeout(() => waiting.abort(), timeoutMs);
        try {
          await waits.untilEnded(instance, waiting.signal);
        } catch (error) {
          if (!waiting.signal.aborted) throw error;
        } finally {
          clock.clearTimeout(late);
        }
      }
      const exit = await killAll(dependencies);
      if (standing.launch.network !== undefined) await running().networks?.cut(standing.launch.network);
      return exit;
    },

    async remove(instance) {
      running();
      if (!isInstanceName(instance)) return;
      await queue.run(instance, async () => {
        const { table, waits, networks } = running();
        const folder = open(instance);
        const standing = await standingOf(instance);
        if (standing.kind === 'running') throw new InstanceRunningError(instance);
        await killAll({ clock, table, folder, instance });
        if (standing.kind !== 'absent') {
          await removeGroups(standing.launch.groups ?? []);
          if (standing.launch.network !== undefined) await networks?.cut(standing.launch.network);
        }
        networks?.forget(instance);
        logs.forget(instance);
        try {
          await mountsOf(instance).removeSecrets();
          await rm(folder.folder, { recursive: true, force: true });
        } catch (error) {
          throw new DiskError('remove', folder.folder, error);
        }
        waits.notify(instance, standing.kind === 'ended' ? standing : undefined);
      });
    },

    ...createProcessUpdates({ queue, running, open, mountsOf, standingOf }),

    async exec(instance, command, options) {
      const { table, tools, names, users, networks } = running();
      checkCommand(instance, command);
      const standing = await standingOf(instance);
      if (standing.kind === 'absent') throw new InstanceUnknownError(instance);
      if (standing.kind !== 'running') throw new InstanceNotRunningError(instance);
      const secretEnv = await mountsOf(instance).readVariables();
      const place = { standing, folder: open(instance), names, users, networks, nodeExecutableFolder, secretEnv };
      const beside = { clock, table, tools, ...place };
      return execBeside(beside, command, options);
    },

    async *logs(instance, options, signal) {
      const { stopping } = running();
      // A launch that is under way has no record for a moment, and keeps the log.
      const isGone = async ({ kind }: Standing) => kind === 'absent' && (await isAbsent(open(instance).folder));
      if (!isInstanceName(instance) || (await isGone(await standingOf(instance))))
        throw new InstanceUnknownError(instance);
      const removed = new AbortController();
      const signals = [stopping.signal, removed.signal, ...(signal === undefined ? [] : [signal])];
      const ended = async () => {
        if (started === undefined) return false;
        const standing = await standingOf(instance);
        if (await isGone(standing)) removed.abort();
        return standing.kind !== 'running';
      };
      yield* logs.of(instance).read(options, ended, AbortSignal.any(signals));
    },
  };
}

async function isAbsent(path: string): Promise<boolean> {
  return access(path).then(
    () => false,
    ({ code }: NodeJS.ErrnoException) => code === 'ENOENT',
  );
}
