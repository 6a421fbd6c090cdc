// The engine port: what runs instances. Adapters: process-engine.ts, docker-engine.ts, simulations/sim-engine.ts;
// test/conformance/engine.ts runs against all. An engine never decides: restarts and order are the instance actor's.

import type { Terminal, TerminalSize } from '../control/exec-frames.ts';
import type { StageSpec, WorkloadSpec } from '../control/plan.ts';

/** Whose instances an engine runs: what others made is never touched. */
export interface EngineOwner {
  fabricId: string;
  node: string;
}

/** Where an instance lives that has a network of its own. */
export interface InstanceNetwork {
  /** IPv4 address: the node reaches the instance there, and its calls come from there. */
  address: string;
  /** CIDR: service addresses that such an instance reaches. */
  serviceRange: string;
}

/** A Config or a Secret as files: `<kind>/<name>/<path>` in the instance's folder. All files of one switch together. */
export interface FileMount {
  kind: 'configs' | 'secrets';
  name: string;
  files: { path: string; content: Uint8Array }[];
}

export interface Launch {
  /** The instance's name. */
  instance: string;
  spec: WorkloadSpec;
  specHash: string;
  /** Environment made by the node (HOST, PORT, service addresses, certificate paths), on top of `spec.env`. */
  env: Record<string, string>;
  /** Names that the workload must resolve: lines of its own /etc/hosts where the engine can give it one. */
  hosts: { address: string; names: string[] }[];
  /** Files to lay under the instance's folder before the start, paths relative to it. */
  files: { path: string; content: Uint8Array; mode: number }[];
  /** Devices that it was given: where they are on this box, and in a container. */
  devices?: { host: string; path: string }[];
  /** Configs and secrets; secrets for whom the workload runs as alone, and in memory where the box allows. None by default. */
  mounts?: FileMount[];
  /** Variables that are secret, on top of `env`: no record of the engine holds them, and `EngineInstance.env` has none of them. */
  secretEnv?: Record<string, string>;
}

export interface Exit {
  /** Exit status, undefined when a signal ended it or nobody can know. */
  status: number | undefined;
  signal: string | undefined;
  /** The kernel ended it, or a part of it, at its memory limit. */
  outOfMemory?: true;
  /** The box went down under it: it did not fail. */
  boxRestarted?: true;
  /** Milliseconds since 1970, of the end as far as known. */
  at: number;
}

/** An instance that the engine knows: running, or ended with its exit not yet forgotten. */
export interface EngineInstance {
  instance: string;
  specHash: string;
  /** The workload's own process, not its shim's. */
  pid: number | undefined;
  startedAt: number;
  env: Record<string, string>;
  /** Present once it has ended. */
  exit: Exit | undefined;
}

/** Somebody who types to a command and reads what it prints. */
export interface ExecSession {
  /** The command's stdin, which ends with it. */
  input: AsyncIterable<Uint8Array>;
  /** Called with pieces of each stream, in order; the command is slowed until it resolves. */
  output(stream: LogLine['stream'], bytes: Uint8Array): Promise<void>;
  /** With one the command has a terminal of its own, and all that it prints comes as stdout. */
  terminal?: (Terminal & { resizes: AsyncIterable<TerminalSize> }) | undefined;
}

export interface ExecOptions {
  signal: AbortSignal;
  outputBytesMax: number;
  /** Without one the command reads nothing. */
  session?: ExecSession | undefined;
}

/** How a command ended that was run beside a workload. */
export interface Execution {
  /** Undefined when a signal ended it. */
  status: number | undefined;
  signal: string | undefined;
  /** The beginning of what it printed on stdout and stderr, at most as much as was asked for; empty in a session. */
  output: string;
}

export interface LogLine {
  at: number | undefined;
  stream: 'stdout' | 'stderr';
  text: string;
}

/** Which lines of a log are wanted. They are chosen where the lines are. */
export interface LogQuery {
  /** Lines from the past: the last ones of those that the rest of the query wants. */
  tail: number;
  /** Then new ones as they come. */
  follow: boolean;
  /** Milliseconds since 1970, by the node's clock: none that arrived before. One whose time nobody knows counts as late enough. */
  since?: number | undefined;
  /** Only lines that contain this text: no pattern, so that no line can keep the daemon busy. */
  grep?: string | undefined;
  ignoreCase?: boolean | undefined;
}

export interface WantedInstance {
  name: string;
  spec: WorkloadSpec;
}

export interface Engine {
  readonly name: string;
  /**
   * Rejects with the reason when the engine cannot work here at all. One that may come and go resolves, and `unavailable` says how
   * it is. Idempotent.
   */
  start(owner: EngineOwner): Promise<void>;
  /** Stops watching; touches no instance. Idempotent. */
  stop(): Promise<void>;
  /** Why it cannot be used now; undefined while it can. */
  unavailable(): string | undefined;
  /** Calls the listener at each change of `unavailable`; returns what ends that. */
  subscribe(listener: () => void): () => void;
  /** The network that an instance has, or will have once it is launched; undefined when it shares the node's. */
  network(instance: string, spec: WorkloadSpec): Promise<InstanceNetwork | undefined>;
  /** Which of the spec's limits it cannot hold on this box, and why; undefined when it holds all. */
  notHeld(spec: WorkloadSpec): string | undefined;
  /** What an earlier daemon left: running and ended ones. */
  list(): Promise<EngineInstance[]>;
  /**
   * Fetches what the spec needs and this box lacks (an image), and says now and then how far it is. Resolves at once when nothing is
   * missing; ends and rejects when the signal aborts.
   */
  stage(spec: StageSpec, onProgress: (progress: string) => void, signal: AbortSignal): Promise<void>;
  /**
   * All that the plan wants, and wants fetched ahead. What was fetched for anything else may be removed from now on, when nothing has used it for long or room is
   * needed, and so may folders of instances that a daemon was killed over; before it is called, nothing is.
   */
  want?(planned: readonly WantedInstance[], staged: readonly StageSpec[]): void;
  /** Starts what was staged; resolves when the process exists. An ended one of the same name is replaced; a running one is an error. */
  launch(launch: Launch): Promise<EngineInstance>;
  /** Resolves when the instance has ended (at once when it has already). Rejects when there is none or the signal aborts. */
  waitForExit(instance: string, signal?: AbortSignal): Promise<Exit>;
  /** Asks it to end, kills all of it after `timeoutMs`; resolves with the exit when nothing of it is left. */
  terminate(instance: string, timeoutMs: number): Promise<Exit | undefined>;
  /** Forgets an ended instance and removes its folder; its logs go too (engines.ts has kept the last lines). No error when there is none. */
  remove(instance: string): Promise<void>;
  /** Writes or replaces files of a running or ended instance, each by atomic rename. */
  writeFiles(instance: string, files: Launch['files']): Promise<void>;
  /** Brings the configs and secrets of a running or ended instance to these; a reader sees all of one as before, or all as now. */
  writeMounts(instance: string, mounts: readonly FileMount[]): Promise<void>;
  /**
   * Replaces the names that a known instance resolves, in place: a running one sees them at once. Nothing happens where it was
   * launched without names, or the kernel gave it none.
   */
  writeHosts(instance: string, hosts: Launch['hosts']): Promise<void>;
  /**
   * Runs a command beside a running workload: its names, folder, user and environment, and for a container inside it. Resolves when
   * the command has ended; it is killed when the signal aborts, and the promise rejects with the signal's reason. Of a session nothing
   * is left after its end: whoever the command started is killed too, ExecLeftError says that it cannot be. Rejects with
   * InstanceUnknownError when there is no such instance, InstanceNotRunningError when it has ended, ExecFailedError when the command cannot be started,
   * NoTerminalError when it should have a terminal and this box has none to give.
   */
  exec(instance: string, command: string[], options: ExecOptions): Promise<Execution>;
  /** Ends when the signal aborts. */
  logs(instance: string, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogLine>;
}
