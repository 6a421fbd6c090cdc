// A real node for a bench: `selvedge up` as a process of its own, its events with the time at which they were heard here.
// Called by fabric.ts and join.ts. It ends with its workloads when this process is gone, whatever happened to that.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, createClient } from '../../control/cli/client.ts';
import { processesOf } from '../../control/cli/demo-folder.ts';
import type { DaemonEvent } from '../../node-runtime/daemon.ts';
import type { BenchRun } from './run.ts';

/** For a busy box: no step may fail because of its load alone. */
const deadlineMs = 60_000;
const endMs = 15_000;

export interface HeardEvent extends DaemonEvent {
  /** By `performance.now()` of this process. */
  heardAt: number;
}

export interface NodeProcess {
  readonly name: string;
  readonly pid: number;
  readonly client: Client;
  /** By `performance.now()`, right before the process was made. */
  readonly startedAt: number;
  readonly events: readonly HeardEvent[];
  /** The first event that `holds`, also a past one from index `from` on; rejects when the daemon ends first. */
  event(what: string, holds: (event: HeardEvent) => boolean, from?: number): Promise<HeardEvent>;
  /** Ends the daemon with its workloads, by force when it does not by itself. */
  end(): Promise<void>;
}

export interface NodeStart {
  name: string;
  /** Its data goes to a folder of the node's name in it. */
  folder: string;
  options?: readonly string[];
  token?: string;
  env?: Readonly<Record<string, string>>;
}

function asEvent(line: string): DaemonEvent | undefined {
  try {
    const value = JSON.parse(line) as Partial<DaemonEvent> | null;
    return typeof value?.type === 'string' ? (value as DaemonEvent) : undefined;
  } catch {
    return undefined;
  }
}

export function startNode(
  run: Pick<BenchRun, 'program' | 'nodeOptions' | 'atEnd' | 'signal'>,
  { name, folder, options = [], token, env: more = {} }: NodeStart,
): NodeProcess {
  run.signal.throwIfAborted();
  const dataFolder = join(folder, name);
  const { SELVEDGE_TOKEN: _, ...env } = process.env;
  const fixed = ['--name', name, '--data', dataFolder, '--port', '0', '--output', 'json', '--exit-with-parent'];
  const startedAt = performance.now();
  // MALLOC_ARENA_MAX: as `up --detach` and the systemd unit start a daemon.
  const child = spawn(process.execPath, [...run.nodeOptions, run.program, 'up', ...fixed, ...options], {
    stdio: 'pipe',
    cwd: '/',
    env: { MALLOC_ARENA_MAX: '1', ...env, ...more, ...(token !== undefined && { SELVEDGE_TOKEN: token }) },
  });
  const client = createClient({ socketPath: join(dataFolder, 'selvedge.sock') });
  const events: HeardEvent[] = [];
  const said: string[] = [];
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const look of [...waiting]) look();
  };
  const hear = (line: string): void => {
    const heardAt = performance.now();
    const event = asEvent(line);
    if (event === undefined) said.push(line);
    else events.push({ ...event, heardAt });
    wake();
  };
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', hear);
  createInterface({ input: child.stderr }).on('line', hear);
  let end: string | undefined;
  const ended = new Promise<void>((resolve) => {
    const finish = (why: string): void => {
      end ??= why;
      wake();
      resolve();
    };
    child.on('error', (error) => finish(error.message));
    child.on('close', (status, signal) => finish(signal ?? `status ${status}`));
  });

  async function stop(): Promise<void> {
    if (end === undefined) {
      await client.down(true).catch(() => child.kill('SIGTERM'));
      const giveUp = new AbortController();
      const late = delay(endMs, undefined, { signal: giveUp.signal }).then(
        () => child.kill('SIGKILL'),
        () => undefined,
      );
      await ended;
      giveUp.abort();
      await late;
    }
    // Of a daemon that had to be killed the workloads are left; whatever names this folder belongs to it.
    for (const pid of await processesOf(dataFolder)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in between.
      }
    }
  }
  run.atEnd(stop);

  return {
    name,
    pid: child.pid ?? 0,
    client,
    startedAt,
    events,
    end: stop,
    async event(what, holds, from = 0) {
      const { promise, resolve, reject } = Promise.withResolvers<HeardEvent>();
      let next = from;
      const look = (): void => {
        for (; next < events.length; next++) {
          const event = events[next];
          if (event !== undefined && holds(event)) resolve(event);
        }
        if (end !== undefined) reject(new Error(`${name} ended (${end}) before ${what}: ${said.slice(-5).join(' ')}`));
      };
      const timer = setTimeout(
        () =>
          reject(
            new Error(`${name}: ${what} did not happen within ${deadlineMs} ms; ${JSON.stringify(events.slice(-3))}`),
          ),
        deadlineMs,
      );
      waiting.add(look);
      look();
      return promise.finally(() => {
        clearTimeout(timer);
        waiting.delete(look);
      });
    },
  };
}
