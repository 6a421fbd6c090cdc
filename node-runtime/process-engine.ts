// The engine of child processes. Called by the instance actor's ports. Each instance runs under a shim (process-shim.ts)
// that outlives this process, so everything here is read back from folders and /proc; what is in memory only wakes waiters.
// It never restarts anything, and never signals a process that it has not just recognised.

import { constants } from 'node:fs';
import { access, chmod, mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Clock } from './clock.ts';
import type { Engine, EngineInstance, Exit, Launch } from './engine.ts';
import {
  DiskError,
  EngineStoppedError,
  EngineUnavailableError,
  InstanceRunningError,
  InstanceUnknownError,
  LaunchFailedError,
  WorkingDirectoryError,
} from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { checkFiles, checkLaunch, isInstanceName, workloadEnvironment } from './launch-check.ts';
import {
  EXIT_POLL_MS,
  LAUNCH_GRACE_MS,
  LAUNCH_RECORD_POLL_MS,
  LAUNCH_RECORD_WAIT_MS,
  LOG_CHECK_MS,
  ORPHAN_POLL_MS,
} from './limits.ts';
import { askToEnd, killAll } from './process-end.ts';
import { type InstanceFolder, type LaunchRecord, openInstanceFolder } from './process-folder.ts';
import { createProcessLog, type ProcessLog } from './process-log.ts';
import { detectNames, hostsFile, type Names, type NamesKind } from './process-names.ts';
import { type ShimTools, shimCommand } from './process-shim.ts';
import { spawnShim } from './process-spawn.ts';
import { LAUNCH_VARIABLE, readStanding, type Standing } from './process-standing.ts';
import { createProcessTable, type ProcessTable } from './process-table.ts';
import { findCommand, findShimTools } from './process-tools.ts';
import { watchFolder } from './process-watch.ts';

export interface ProcessEngineDependencies {
  /** Where the instances' folders are; made with mode 0700. */
  folder: string;
  clock: Clock;
  /** Appended to every workload's PATH; the folder of the running Node by default. */
  nodeExecutableFolder?: string;
  /** For what nobody waits for: a log that could not be rotated. */
  logger?: { warn(fields: Record<string, unknown>, message: string): void };
  /** Tests only: another shell than the box's sh, another boot id, a smaller bound for logs. */
  trial?: { shell?: string; boot?: string; logBytesMax?: number };
}

export interface ProcessEngine extends Engine {
  /** How workloads get names; known after `start`, `none` before. */
  readonly names: NamesKind;
  /** Why names are not better; empty when they are as good as they get. */
  readonly namesReason: string;
}

interface Started {
  tools: ShimTools;
  table: ProcessTable;
  names: Names;
  stopping: AbortController;
  maintenance: Promise<void>;
}

export function createProcessEngine(dependencies: ProcessEngineDependencies): ProcessEngine {
  const { clock, logger, trial = {}, nodeExecutableFolder = dirname(process.execPath) } = dependencies;
  const root = resolve(dependencies.folder);
  const queue = createKeyedQueue();
  const logs = new Map<string, ProcessLog>();
  const waiters = new Map<string, Set<Waiter>>();
  let starting: Promise<Started> | undefined;
  let started: Started | undefined;
  let launches = 0;

  const running = (): Started => {
    if (started === undefined) throw new EngineStoppedError();
    return started;
  };
  const open = (instance: string): InstanceFolder => openInstanceFolder(root, instance);
  const standingOf = async (instance: string): Promise<Standing> => {
    const { table } = running();
    return isInstanceName(instance) ? readStanding(open(instance), table, clock) : { kind: 'absent' };
  };

  function logOf(instance: string): ProcessLog {
    const known = logs.get(instance);
    if (known !== undefined) return known;
    const { stdout, stderr } = open(instance);
    const bounds = trial.logBytesMax === undefined ? {} : { bytesMax: trial.logBytesMax };
    const log = createProcessLog({ clock, stdout, stderr, ...bounds });
    logs.set(instance, log);
    return log;
  }

  async function begin(): Promise<Started> {
    const table = await createProcessTable(trial.boot).catch((error: unknown) => {
      throw new EngineUnavailableError('there is no Linux /proc here', { cause: error });
    });
    try {
      await mkdir(root, { recursive: true, mode: 0o700 });
      await access(root, constants.W_OK);
    } catch (error) {
      throw new DiskError('write to', root, error);
    }
    const tools = await findShimTools(root, trial.shell);
    const names = await detectNames(root, tools, findCommand);
    const stopping = new AbortController();
    for (const instance of await instancesOnDisk()) await logOf(instance).check();
    return { tools, table, names, stopping, maintenance: maintain(stopping.signal) };
  }

  async function instancesOnDisk(): Promise<string[]> {
    return (await readdir(root)).filter(isInstanceName).sort();
  }

  /** Keeps logs bounded until the engine stops. */
  async function maintain(signal: AbortSignal): Promise<void> {
    const failed = new Set<string>();
    for (;;) {
      await clock.sleep(LOG_CHECK_MS, signal).catch(() => undefined);
      if (signal.aborted) return;
      for (const [instance, log] of logs) {
        try {
          await log.check();
          failed.delete(instance);
        } catch (error) {
          if (!failed.has(instance)) logger?.warn({ instance, error }, 'the log of an instance could not be rotated');
          failed.add(instance);
        }
      }
    }
  }

  /** Wakes who waits for an instance; with an end, tells those who wait for that launch. */
  function notify(instance: string, end?: { launchId: string; exit: Exit }): void {
    for (const waiter of waiters.get(instance) ?? []) {
      if (end !== undefined && end.launchId === waiter.launchId) waiter.exit = end.exit;
      waiter.wake();
    }
  }

  async function untilEnded(instance: string, signal: AbortSignal): Promise<Exit> {
    const { table, stopping } = running();
    const either = AbortSignal.any([signal, stopping.signal]);
    const folder = open(instance);
    // Before the first look, so that nothing falls between them.
    const watch = watchFolder(folder.run, clock);
    const waiter: Waiter = { launchId: undefined, exit: undefined, wake: watch.wake };
    const others = waiters.get(instance) ?? new Set();
    waiters.set(instance, others.add(waiter));
    try {
      for (;;) {
        const standing: Standing = isInstanceName(instance)
          ? await readStanding(folder, table, clock)
          : { kind: 'absent' };
        if (waiter.exit !== undefined) return waiter.exit;
        if (standing.kind === 'absent') throw new InstanceUnknownError(instance);
        if (standing.kind === 'ended') return standing.exit;
        waiter.launchId ??= standing.launch.launchId;
        // Ended and launched again between two looks, by another engine object: nobody can know how it ended.
        if (waiter.launchId !== standing.launch.launchId)
          return { status: undefined, signal: undefined, at: clock.now() };
        await watch.changed(standing.shim === undefined ? ORPHAN_POLL_MS : EXIT_POLL_MS, either);
      }
    } catch (error) {
      throw stopping.signal.aborted && !signal.aborted ? new EngineStoppedError() : error;
    } finally {
      watch.close();
      others.delete(waiter);
      if (others.size === 0 && waiters.get(instance) === others) waiters.delete(instance);
    }
  }

  async function launchNow(launch: Launch): Promise<EngineInstance> {
    const { tools, table, names } = running();
    const { instance, spec } = launch;
    const folder = open(instance);
    const before = await readStanding(folder, table, clock);
    if (before.kind === 'running') throw new InstanceRunningError(instance);
    await checkWorkingDirectory(instance, spec.workingDirectory);
    // Of an earlier launch something may be left whose shim was killed.
    await killAll({ clock, table, folder, instance });
    if (before.kind === 'ended') notify(instance, { launchId: before.launch.launchId, exit: before.exit });

    const record: LaunchRecord = {
      launchId: `${instance}.${clock.now().toString(36)}.${process.pid}.${launches++}`,
      instance,
      specHash: launch.specHash,
      startedAt: clock.now(),
      boot: table.boot,
      env: { ...spec.env, ...launch.env },
      files: launch.files.map(({ path }) => path),
    };
    const old = before.kind === 'ended' ? before.launch.files : [];
    try {
      await mkdir(folder.folder, { recursive: true, mode: 0o700 });
      await chmod(folder.folder, 0o700);
      await folder.resetRun();
      await folder.removeFiles(old.filter((path) => !record.files.includes(path)));
      await folder.layFiles(launch.files);
      if (launch.hosts.length > 0) await writeFile(folder.hosts, await hostsFile(launch.hosts), { mode: 0o644 });
      await folder.writeLaunch(record);
      await logOf(instance).check();
    } catch (error) {
      await folder.resetRun().catch(() => undefined);
      throw new DiskError('prepare', folder.folder, error);
    }

    const wrap = (command: string[]) => (launch.hosts.length > 0 ? names.wrap(folder.hosts, command) : command);
    let ended = false;
    const watch = watchFolder(folder.run, clock);
    try {
      const child = await spawnShim({
        command: shimCommand(tools, folder.run, wrap, spec.command),
        workingDirectory: spec.workingDirectory ?? folder.folder,
        env: { ...workloadEnvironment(launch, process.env, nodeExecutableFolder), [LAUNCH_VARIABLE]: record.launchId },
        stdout: folder.stdout,
        stderr: folder.stderr,
        onEnd: () => {
          ended = true;
          watch.wake();
          notify(instance);
        },
      });
      const deadline = clock.now() + LAUNCH_RECORD_WAIT_MS;
      for (;;) {
        const gone = ended;
        const [workload, exit] = await Promise.all([folder.readIdentity('workload'), folder.readExit()]);
        if (workload !== undefined || exit !== undefined) return describe(record, exit, workload?.pid);
        if (gone) throw new LaunchFailedError(instance, (await folder.readNotice()) || 'its shim ended at once');
        if (clock.now() > deadline) {
          child.kill('SIGKILL');
          throw new LaunchFailedError(instance, `it did not start within ${LAUNCH_RECORD_WAIT_MS} ms`);
        }
        await watch.changed(LAUNCH_RECORD_POLL_MS, new AbortController().signal);
      }
    } catch (error) {
      await folder.resetRun().catch(() => undefined);
      throw error instanceof LaunchFailedError
        ? error
        : new LaunchFailedError(instance, (error as Error).message, { cause: error });
    } finally {
      watch.close();
    }
  }

  return {
    name: 'process',
    get names() {
      return started?.names.kind ?? 'none';
    },
    get namesReason() {
      return started === undefined ? 'the engine is not started' : started.names.reason;
    },

    async start() {
      starting ??= begin();
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
      logs.clear();
    },

    async list() {
      running();
      const found: EngineInstance[] = [];
      for (const instance of await instancesOnDisk()) {
        const standing = await settled(() => standingOf(instance), clock);
        if (standing.kind === 'ended') found.push(describe(standing.launch, standing.exit, undefined));
        if (standing.kind === 'running') found.push(describe(standing.launch, undefined, standing.workload?.pid));
      }
      return found;
    },

    async launch(launch) {
      running();
      checkLaunch(launch);
      return queue.run(launch.instance, () => launchNow(launch));
    },

    waitForExit: async (instance, signal) => untilEnded(instance, signal ?? new AbortController().signal),

    async terminate(instance, timeoutMs) {
      // A launch that is under way comes first.
      await queue.run(instance, async () => undefined);
      const { table } = running();
      const standing = await standingOf(instance);
      if (standing.kind === 'absent') return undefined;
      const dependencies = { clock, table, folder: open(instance), instance };
      if (standing.kind === 'running' && timeoutMs > 0) {
        askToEnd(standing);
        const waiting = new AbortController();
        const late = clock.setTimeout(() => waiting.abort(), timeoutMs);
        try {
          await untilEnded(instance, waiting.signal);
        } catch (error) {
          if (!waiting.signal.aborted) throw error;
        } finally {
          clock.clearTimeout(late);
        }
      }
      return killAll(dependencies);
    },

    async remove(instance) {
      running();
      if (!isInstanceName(instance)) return;
      await queue.run(instance, async () => {
        const { table } = running();
        const folder = open(instance);
        const standing = await standingOf(instance);
        if (standing.kind === 'running') throw new InstanceRunningError(instance);
        await killAll({ clock, table, folder, instance });
        logs.delete(instance);
        try {
          await rm(folder.folder, { recursive: true, force: true });
        } catch (error) {
          throw new DiskError('remove', folder.folder, error);
        }
        notify(
          instance,
          standing.kind === 'ended' ? { launchId: standing.launch.launchId, exit: standing.exit } : undefined,
        );
      });
    },

    async writeFiles(instance, files) {
      running();
      checkFiles(instance, files);
      await queue.run(instance, async () => {
        const standing = await standingOf(instance);
        if (standing.kind === 'absent') throw new InstanceUnknownError(instance);
        const folder = open(instance);
        try {
          await folder.layFiles(files);
          const all = [...new Set([...standing.launch.files, ...files.map(({ path }) => path)])];
          if (all.length > standing.launch.files.length) await folder.writeLaunch({ ...standing.launch, files: all });
        } catch (error) {
          throw new DiskError('write files of', folder.folder, error);
        }
      });
    },

    async *logs(instance, options, signal) {
      const { stopping } = running();
      if ((await standingOf(instance)).kind === 'absent') throw new InstanceUnknownError(instance);
      const removed = new AbortController();
      const signals = [stopping.signal, removed.signal, ...(signal === undefined ? [] : [signal])];
      const ended = async () => {
        if (started === undefined) return false;
        const standing = await standingOf(instance);
        if (standing.kind === 'absent') removed.abort();
        return standing.kind !== 'running';
      };
      yield* logOf(instance).read(options, ended, AbortSignal.any(signals));
    },
  };
}

interface Waiter {
  launchId: string | undefined;
  exit: Exit | undefined;
  wake(): void;
}

function describe(launch: LaunchRecord, exit: Exit | undefined, pid: number | undefined): EngineInstance {
  const { instance, specHash, startedAt, env } = launch;
  return { instance, specHash, pid: exit === undefined ? pid : undefined, startedAt, env, exit };
}

/** The standing once the shim has said who the workload is, or that it ended; what there is after a while. */
async function settled(read: () => Promise<Standing>, clock: Clock): Promise<Standing> {
  const deadline = clock.now() + LAUNCH_GRACE_MS;
  for (;;) {
    const standing = await read();
    if (standing.kind !== 'running' || standing.workload !== undefined || clock.now() >= deadline) return standing;
    await clock.sleep(LAUNCH_RECORD_POLL_MS);
  }
}

async function checkWorkingDirectory(instance: string, folder: string | undefined): Promise<void> {
  if (folder === undefined) return;
  try {
    if (!(await stat(folder)).isDirectory()) throw Object.assign(new Error('not a folder'), { code: 'ENOTDIR' });
    await access(folder, constants.X_OK);
  } catch (error) {
    throw new WorkingDirectoryError(instance, folder, error);
  }
}
