// One real daemon for the end-to-end tests: `selvedge up` as a child process, its events, everything it printed. Made by
// fabric.ts. It ends with its workloads when the test's process is gone, whatever happened to that.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Client, createClient } from '../../control/cli/client.ts';
import type { DaemonEvent } from '../../node-runtime/daemon.ts';
import { eventually } from '../eventually.ts';

export const program = fileURLToPath(new URL('../../bin/selvedge.js', import.meta.url));
/** For a busy box with two cores: no step may fail because of its load alone. */
export const deadlineMs = 60_000;

export interface Daemon {
  readonly pid: number;
  readonly client: Client;
  /** How it ended; undefined while it runs. */
  readonly end: string | undefined;
  readonly ended: Promise<string>;
  readonly events: readonly DaemonEvent[];
  /** All of stdout and stderr. */
  output(): string;
  /** The first event of the type, also a past one; rejects when the daemon ends first. */
  event(type: DaemonEvent['type']): Promise<DaemonEvent>;
  /** Resolves when its socket answers; rejects when the daemon ends first. */
  answers(): Promise<void>;
  /** Resolves with how it ended, once the process is gone. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<string>;
}

export interface DaemonStart {
  name: string;
  dataFolder: string;
  /** Further arguments of `up`. */
  options?: readonly string[];
  token?: string | undefined;
  /** Beside the test's own. */
  env?: Record<string, string>;
  /** A network namespace to run in; needs root. */
  namespace?: string;
  /** The data folder as this process sees it, where that is another path. */
  socketFolder?: string;
  /** What comes before the command: another namespace, limits. */
  enter?: readonly string[];
  /** Another program than the checkout's. */
  script?: string;
  /** Arguments of Node.js. */
  nodeOptions?: readonly string[];
}

function asEvent(line: string): DaemonEvent | undefined {
  try {
    const value = JSON.parse(line) as Partial<DaemonEvent> | null;
    return typeof value?.type === 'string' ? (value as DaemonEvent) : undefined;
  } catch {
    return undefined;
  }
}

/** A test that does not say so has nothing to do with this box's Docker. */
const noDocker = { DOCKER_HOST: 'unix:///nonexistent/docker.sock' };

export function startDaemon({
  name,
  dataFolder,
  options = [],
  token,
  env: more = {},
  namespace,
  enter = [],
  socketFolder,
  script = program,
  nodeOptions = [],
}: DaemonStart): Daemon {
  const { SELVEDGE_TOKEN: _, ...env } = process.env;
  const fixed = ['--name', name, '--data', dataFolder, '--port', '0', '--output', 'json', '--exit-with-parent'];
  const words = [process.execPath, ...nodeOptions, script, 'up', ...fixed, ...options];
  const first = namespace === undefined ? enter : ['ip', 'netns', 'exec', namespace, ...enter];
  const [file = '', ...rest] = [...first, ...words];
  const child = spawn(file, rest, {
    stdio: 'pipe',
    cwd: '/',
    env: { ...env, ...noDocker, ...more, ...(token !== undefined && { SELVEDGE_TOKEN: token }) },
  });
  const client = createClient({ socketPath: join(socketFolder ?? dataFolder, 'selvedge.sock') });
  const events: DaemonEvent[] = [];
  const lines: string[] = [];
  const hear = (line: string): void => {
    lines.push(line);
    const event = asEvent(line);
    if (event !== undefined) events.push(event);
  };
  child.stdin.on('error', () => undefined);
  createInterface({ input: child.stdout }).on('line', hear);
  createInterface({ input: child.stderr }).on('line', hear);

  let end: string | undefined;
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const finish = (why: string): void => {
    end ??= why;
    resolve(end);
  };
  child.on('error', (error) => finish(error.message));
  // `close`, not `exit`: by then all that it printed is here.
  child.on('close', (status, signal) => finish(signal ?? `status ${status}`));

  const output = (): string => lines.join('\n');

  async function whileItRuns<T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> {
    const gone = ended.then((why) => {
      throw new Error(`${name} ended (${why}) before ${what}\n${output().slice(-2_000)}`);
    });
    return await Promise.race([gone, eventually(probe, { deadlineMs, what: `${name}: ${what}` })]);
  }

  return {
    pid: child.pid ?? 0,
    client,
    get end() {
      return end;
    },
    ended,
    events,
    output,
    event: (type) => whileItRuns(`the event ${type}`, () => events.find((event) => event.type === type)),
    answers: async () => void (await whileItRuns('an answer', () => client.ping().then(() => true))),
    async kill(signal) {
      child.kill(signal);
      return await ended;
    },
  };
}
