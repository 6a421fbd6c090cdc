// The engine of the simulation: workloads that behave as their command says (sim-workload.ts), on virtual time. Called by
// scenarios and tests; test/conformance/engine.ts holds it against process-engine.ts. It starts no process.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Engine, EngineInstance, Exit, FileMount, Launch, LogLine } from '../node-runtime/engine.ts';
import {
  EngineStoppedError,
  InstanceNotRunningError,
  InstanceRunningError,
  InstanceUnknownError,
  LaunchRefusedError,
} from '../node-runtime/errors.ts';
import { checkCommand, checkFiles, checkLaunch, checkMounts } from '../node-runtime/launch-check.ts';
import { lineFilter } from '../node-runtime/log-filter.ts';
import type { Random } from '../node-runtime/random.ts';
import { type WorkloadStep, workloadSteps } from './sim-workload.ts';

/** A launch takes between these: what the real engine takes on an idle and on a busy box. */
const LAUNCH_MS_MIN = 5;
const LAUNCH_MS_MAX = 60;
/** From SIGTERM to the end of a workload that obeys. */
const OBEY_MS_MAX = 20;
/** Lines kept of one instance. */
const LINES_MAX = 10_000;

export interface SimEngine extends Engine {
  /** A simulated box has one node. */
  start(): Promise<void>;
  /** `kill -9` of the daemon: whoever waits gets an error, workloads live on; `start` is the next daemon. */
  crashDaemon(): void;
  /** The workload ends by itself, as after `kill -9` by somebody else; nothing happens where it does not run. */
  kill(instance: string): void;
  /** Everything is gone without a trace, as after somebody removed all containers: who waited for an end learns that there is none. */
  loseAll(): void;
  /** Instances whose workload lives, also while the daemon does not. */
  living(): string[];
  /** A file of an instance as the workload would read it; undefined when there is none. */
  file(instance: string, path: string): Uint8Array | undefined;
}

interface SimInstance {
  launch: Launch;
  pid: number;
  startedAt: number;
  exit: Exit | undefined;
  files: Map<string, Uint8Array>;
  mounted: Map<string, Uint8Array>;
  launches: number;
  lines: LogLine[];
  dropped: number;
  partial: string;
  deaf: boolean;
  timer: TimerId | undefined;
  removed: boolean;
  /** Called at each change: a line, an end, a removal. */
  watchers: Set<() => void>;
}

export interface SimEngineOptions {
  clock: Clock;
  random: Random;
  /** 'process' when it is left out. */
  name?: string;
  /** Told before it happens: what a launch or a wished end is about to do. */
  watch?: (what: 'launch' | 'terminate', instance: string, specHash: string) => void;
}

export function createSimEngine({ clock, random, name: engineName = 'process', watch }: SimEngineOptions): SimEngine {
  const instances = new Map<string, SimInstance>();
  const launching = new Map<string, Promise<void>>();
  let daemon: AbortController | undefined;
  let nextPid = 1_000;

  const running = (): AbortSignal => {
    if (daemon === undefined) throw new EngineStoppedError();
    return daemon.signal;
  };
  const changed = (instance: SimInstance) => {
    for (const watcher of [...instance.watchers]) watcher();
  };

  function emit(instance: SimInstance, stream: LogLine['stream'], text: string): void {
    instance.lines.push({ at: clock.now(), stream, text });
    if (instance.lines.length > LINES_MAX) {
      instance.lines.shift();
      instance.dropped++;
    }
  }

  function say(instance: SimInstance, step: WorkloadStep & { kind: 'say' }): void {
    const text = step.stream === 'stdout' ? instance.partial + step.text : step.text;
    const lines = text.split('\n');
    const rest = lines.pop() as string;
    if (step.stream === 'stdout') instance.partial = rest;
    for (const line of lines) emit(instance, step.stream, line);
    changed(instance);
  }

  function end(instance: SimInstance, status: number | undefined, signal: string | undefined): void {
    if (instance.exit !== undefined) return;
    clock.clearTimeout(instance.timer);
    if (instance.partial !== '') emit(instance, 'stdout', instance.partial);
    instance.partial = '';
    instance.exit = { status, signal, at: clock.now() };
    changed(instance);
  }

  function take(instance: SimInstance, steps: WorkloadStep[]): void {
    const [step, ...rest] = steps;
    if (step === undefined) {
      end(instance, 0, undefined);
      return;
    }
    if (step.kind === 'say') say(instance, step);
    if (step.kind === 'deaf') instance.deaf = true;
    if (step.kind === 'wait') {
      instance.timer = clock.setTimeout(() => take(instance, rest), step.delayMs);
    } else if (step.kind === 'end') {
      instance.timer = clock.setTimeout(() => end(instance, step.status, step.signal), step.delayMs);
    } else if (step.kind === 'run' || (step.kind === 'deaf' && rest.length === 0)) {
      return;
    } else {
      take(instance, rest);
    }
  }

  function describe(instance: SimInstance): EngineInstance {
    const { launch, pid, startedAt, exit } = instance;
    const env = { ...launch.spec.env, ...launch.env };
    return {
      instance: launch.instance,
      specHash: launch.specHash,
      pid: exit === undefined ? pid : undefined,
      startedAt,
      env,
      exit,
    };
  }

  /** Resolves at the next change of the instance; rejects when the signal aborts. */
  function nextChange(instance: SimInstance, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        instance.watchers.delete(watcher);
        signal.removeEventListener('abort', abort);
        settle();
      };
      const watcher = () => finish(resolve);
      const abort = () => finish(() => reject(signal.reason));
      if (signal.aborted) return reject(signal.reason);
      instance.watchers.add(watcher);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  async function ended(instance: SimInstance, signal: AbortSignal): Promise<Exit> {
    while (instance.exit === undefined) {
      await nextChange(instance, signal);
      if (instance.removed && instance.exit === undefined) throw new InstanceUnknownError(instance.launch.instance);
    }
    return instance.exit;
  }

  function stopDaemon(): void {
    const stopping = daemon;
    daemon = undefined;
    stopping?.abort(new EngineStoppedError());
  }

  return {
    name: engineName,
    async start() {
      daemon ??= new AbortController();
    },
    async stop() {
      stopDaemon();
    },
    crashDaemon: stopDaemon,
    kill(name) {
      const instance = instances.get(name);
      if (instance !== undefined) end(instance, undefined, 'SIGKILL');
    },
    loseAll() {
      for (const [name, instance] of instances) {
        clock.clearTimeout(instance.timer);
        instances.delete(name);
        instance.removed = true;
        changed(instance);
      }
    },
    living: () => [...instances].flatMap(([name, { exit }]) => (exit === undefined ? [name] : [])).sort(),
    file(name, path) {
      const instance = instances.get(name);
      return instance?.mounted.get(path) ?? instance?.files.get(path);
    },

    unavailable: () => undefined,
    notHeld: () => undefined,
    subscribe: () => () => undefined,
    network: async () => undefined,
    stage: async () => undefined,

    async list() {
      running();
      return [...instances.keys()].sort().map((name) => describe(instances.get(name) as SimInstance));
    },

    async launch(launch) {
      const alive = running();
      checkLaunch(launch);
      const name = launch.instance;
      const before = instances.get(name);
      if (launching.has(name) || (before !== undefined && before.exit === undefined))
        throw new InstanceRunningError(name);
      if (commandOf(launch)[0] === 'sim' && workloadSteps(commandOf(launch), 0) === undefined) {
        throw new LaunchRefusedError(name, `command: ${commandOf(launch).join(' ')} is no behaviour of the simulation`);
      }
      const delayMs = LAUNCH_MS_MIN + Math.floor(random.next() * (LAUNCH_MS_MAX - LAUNCH_MS_MIN));
      const delay = clock.sleep(delayMs, alive);
      launching.set(name, delay);
      try {
        await delay;
      } finally {
        launching.delete(name);
      }
      watch?.('launch', name, launch.specHash);
      const kept = new Map(before?.files);
      for (const { path } of before?.launch.files ?? []) kept.delete(path);
      for (const { path, content } of launch.files) kept.set(path, content.slice());
      const instance: SimInstance = {
        launch: structuredClone(launch),
        pid: nextPid++,
        startedAt: clock.now(),
        exit: undefined,
        files: kept,
        mounted: mountedFiles(launch.mounts ?? []),
        launches: (before?.launches ?? 0) + 1,
        lines: before?.lines ?? [],
        dropped: before?.dropped ?? 0,
        partial: '',
        deaf: false,
        timer: undefined,
        removed: false,
        watchers: before?.watchers ?? new Set(),
      };
      instances.set(name, instance);
      const steps = workloadSteps(commandOf(launch), instance.launches - 1);
      if (steps === undefined) {
        emit(instance, 'stderr', `${commandOf(launch)[0]}: not found`);
        end(instance, 127, undefined);
      } else {
        take(instance, steps);
      }
      changed(instance);
      return describe(instance);
    },

    async waitForExit(name, signal) {
      const alive = running();
      const instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      return ended(instance, signal === undefined ? alive : AbortSignal.any([alive, signal]));
    },

    async terminate(name, timeoutMs) {
      const alive = running();
      // A launch that is under way comes first, and with it what its caller does next.
      await launching.get(name)?.then(() => Promise.resolve());
      const instance = instances.get(name);
      if (instance === undefined) return undefined;
      if (instance.exit !== undefined) return instance.exit;
      watch?.('terminate', name, instance.launch.specHash);
      if (timeoutMs > 0 && !instance.deaf) {
        const obeyMs = 1 + Math.floor(random.next() * OBEY_MS_MAX);
        if (obeyMs < timeoutMs) clock.setTimeout(() => end(instance, undefined, 'SIGTERM'), obeyMs);
      }
      const late = clock.setTimeout(() => end(instance, undefined, 'SIGKILL'), timeoutMs);
      try {
        return await ended(instance, alive);
      } finally {
        clock.clearTimeout(late);
      }
    },

    async remove(name) {
      running();
      await launching.get(name)?.then(() => Promise.resolve());
      const instance = instances.get(name);
      if (instance === undefined) return;
      if (instance.exit === undefined) throw new InstanceRunningError(name);
      instances.delete(name);
      instance.removed = true;
      changed(instance);
    },

    async writeFiles(name, files) {
      running();
      checkFiles(name, files);
      const instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      for (const { path, content } of files) instance.files.set(path, content.slice());
    },

    async writeMounts(name, mounts) {
      running();
      checkMounts(name, mounts);
      const instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      instance.mounted = mountedFiles(mounts);
    },

    async writeHosts(name, hosts) {
      running();
      const instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      instance.launch = { ...instance.launch, hosts };
    },

    /** A command is a workload of its own that shares nothing with the instance but its life. */
    async exec(name, command, { signal, outputBytesMax, session }) {
      const alive = running();
      checkCommand(name, command);
      const instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      if (instance.exit !== undefined) throw new InstanceNotRunningError(name);
      const steps = workloadSteps(command, 0);
      if (steps === undefined) return { status: 127, signal: undefined, output: `${command[0]}: not found\n` };
      const gone = AbortSignal.any([alive, signal]);
      let output = '';
      const ended = (status: number | undefined, by?: string) => ({
        status,
        signal: by,
        output: output.slice(0, outputBytesMax),
      });
      const print = async (stream: LogLine['stream'], bytes: Uint8Array) => {
        if (session === undefined) output += Buffer.from(bytes).toString('utf8');
        else await session.output(stream, bytes);
      };
      for (const [index, step] of steps.entries()) {
        if (step.kind === 'say') await print(step.stream, Buffer.from(step.text));
        if (step.kind === 'copy') for await (const bytes of session?.input ?? []) await print('stdout', bytes);
        if (step.kind === 'wait' || step.kind === 'end') await clock.sleep(step.delayMs, gone);
        if (step.kind === 'end') return ended(step.status, step.signal);
        if (step.kind === 'run' || (step.kind === 'deaf' && index === steps.length - 1)) await aborted(gone);
      }
      return ended(0);
    },

    async *logs(name, query, signal) {
      const { tail, follow } = query;
      const wants = lineFilter(query);
      const alive = running();
      const either = signal === undefined ? alive : AbortSignal.any([alive, signal]);
      let instance = instances.get(name);
      if (instance === undefined) throw new InstanceUnknownError(name);
      const count = Math.min(Math.max(0, Math.trunc(tail)), LINES_MAX);
      let next = instance.dropped + instance.lines.length;
      const history = [...instance.lines];
      if (!follow && instance.partial !== '')
        history.push({ at: clock.now(), stream: 'stdout', text: instance.partial });
      yield* count === 0 ? [] : history.filter(wants).slice(-count);
      while (follow && !either.aborted && !instance.removed) {
        // The same name, launched again, goes on with the same lines.
        instance = instances.get(name) ?? instance;
        const line: LogLine | undefined = instance.lines[Math.max(0, next - instance.dropped)];
        if (line !== undefined) {
          next = Math.max(next, instance.dropped) + 1;
          if (wants(line)) yield line;
          continue;
        }
        try {
          await nextChange(instance, either);
        } catch {
          return;
        }
      }
    },
  };
}

function mountedFiles(mounts: readonly FileMount[]): Map<string, Uint8Array> {
  return new Map(
    mounts.flatMap(({ kind, name, files }) =>
      files.map(({ path, content }): [string, Uint8Array] => [`${kind}/${name}/${path}`, content.slice()]),
    ),
  );
}

/** What an image or a module would run is not simulated: it says its behaviour too. */
function commandOf({ spec }: Launch): string[] {
  if (spec.engine === 'process') return spec.command;
  return [...(spec.command ?? []), ...(spec.args ?? [])];
}

/** Rejects with the signal's reason once it aborts. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
