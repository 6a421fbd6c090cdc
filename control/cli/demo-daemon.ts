// One node of the demo: a process of its own that runs `selvedge up`, its events, and the end of its output for the case that it
// fails. Called by demo-fabric.ts and demo-teardown.ts.

import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { DaemonEvent } from '../../node-runtime/daemon.ts';
import { type Client, createClient } from './client.ts';
import { socketPathOf } from './data-folder.ts';
import type { Host } from './host.ts';
import { demoLogLinesMax } from './limits.ts';
import { scriptPath } from './up-detach.ts';

export interface DemoDaemon {
  readonly name: string;
  readonly dataFolder: string;
  readonly client: Client;
  readonly startedAt: number;
  /** Resolves with why it ended; never rejects. */
  readonly ended: Promise<string>;
  /** Undefined while it runs. */
  readonly end: string | undefined;
  /** The first event of the type, also a past one. Rejects when the process ends first. */
  event(type: DaemonEvent['type']): Promise<DaemonEvent>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  /** The end of what it wrote, oldest first. */
  log(): string[];
}

export interface DaemonStart {
  host: Host;
  name: string;
  dataFolder: string;
  /** More arguments of `up`. */
  arguments: string[];
  /** Travels by the environment: arguments are visible to other users. */
  token?: string;
  onEvent(event: DaemonEvent): void;
}

/** Starts the process; it is given no address of another node. It ends with its workloads when this process is gone. */
export function startDemoDaemon(start: DaemonStart): DemoDaemon {
  const { host, name, dataFolder } = start;
  const { SELVEDGE_TOKEN: _, ...env } = host.env;
  const options = ['--name', name, '--data', dataFolder, '--port', '0', '--output', 'json', '--exit-with-parent'];
  const child = spawn(process.execPath, [scriptPath, 'up', ...options, ...start.arguments], {
    // A session of its own: Ctrl-C in the terminal is for the demo, which then tells each node to end its workloads too.
    detached: true,
    stdio: 'pipe',
    cwd: '/',
    env: {
      ...env,
      // The example's programs run on the Node.js that runs this.
      PATH: `${dirname(process.execPath)}:${env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin'}`,
      ...(start.token !== undefined && { SELVEDGE_TOKEN: start.token }),
    },
  });
  child.stdin.on('error', () => {});

  const lines: string[] = [];
  const seen = new Map<string, DaemonEvent>();
  const waiting = new Map<string, PromiseWithResolvers<DaemonEvent>>();
  const keep = (line: string): void => {
    lines.push(line);
    if (lines.length > demoLogLinesMax) lines.shift();
  };
  const hear = (line: string): void => {
    const event = parseEvent(line);
    if (event === undefined) {
      keep(line);
      return;
    }
    keep(`${event.type}: ${event.message}`);
    if (!seen.has(event.type)) seen.set(event.type, event);
    waiting.get(event.type)?.resolve(event);
    start.onEvent(event);
  };
  listen(child.stdout, hear);
  listen(child.stderr, keep);

  let end: string | undefined;
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const finish = (why: string): void => {
    end ??= why;
    for (const one of waiting.values()) one.reject(new Error(`${name} ${why}`));
    resolve(end);
  };
  child.on('error', (error) => finish(`could not be started: ${error.message}`));
  child.on('exit', (status, signal) =>
    finish(signal === null ? `ended with status ${status}` : `was ended by ${signal}`),
  );

  return {
    name,
    dataFolder,
    client: createClient({ socketPath: socketPathOf(dataFolder) }),
    startedAt: host.clock.now(),
    ended,
    get end() {
      return end;
    },
    async event(type) {
      const past = seen.get(type);
      if (past !== undefined) return past;
      if (end !== undefined) throw new Error(`${name} ${end}`);
      const waiter = waiting.get(type) ?? Promise.withResolvers<DaemonEvent>();
      waiting.set(type, waiter);
      return await waiter.promise;
    },
    kill: (signal) => void child.kill(signal),
    log: () => [...lines],
  };
}

function listen(stream: Readable, hear: (line: string) => void): void {
  stream.on('error', () => {});
  createInterface({ input: stream }).on('line', hear);
}

function parseEvent(line: string): DaemonEvent | undefined {
  try {
    const value = JSON.parse(line) as Partial<DaemonEvent> | null;
    if (typeof value?.type === 'string' && typeof value.message === 'string') return value as DaemonEvent;
  } catch {
    // Not an event: kept as a line of its log.
  }
  return undefined;
}
