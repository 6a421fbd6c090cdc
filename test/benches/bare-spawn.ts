// What the deploy bench compares with: a program started by hand, until it accepts a connection. Called by deploy.ts and cold-start.ts.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { pickFreePort } from '../../node-runtime/free-port.ts';

const host = '127.0.0.1';
const deadlineMs = 30_000;

/** Whether a connection to it is accepted now. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (result: boolean): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('connect', () => settle(true));
    socket.once('error', () => settle(false));
  });
}

/** Milliseconds from spawn to the first accepted connection, asked for each millisecond. The process is ended again. */
export async function bareSpawnMs(script: string): Promise<number> {
  const port = await pickFreePort(host, new Set());
  const startedAt = performance.now();
  const child = spawn(process.execPath, [script], { stdio: 'ignore', env: { HOST: host, PORT: String(port) } });
  const exited = once(child, 'exit');
  try {
    while (!(await accepts(port))) {
      if (performance.now() - startedAt > deadlineMs) throw new Error(`${script} does not accept connections`);
      // Nothing tells when another program listens; the deadline is above.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return performance.now() - startedAt;
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
