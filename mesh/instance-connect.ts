// Connects to a port of an instance on this box. Called by the tunnel's server and for calls within a node.

import { connect, type Socket } from 'node:net';
import type { Clock } from '../node-runtime/clock.ts';
import { callKeepAliveMs, instanceConnectMs } from './limits.ts';

export interface InstanceConnection {
  /** Rejects with the system's error (ECONNREFUSED and the like), after `instanceConnectMs`, or with the reason of `cancel`. */
  readonly connected: Promise<Socket>;
  /** Does nothing once it is connected. */
  cancel(reason: unknown): void;
}

/** Begins at once. */
export function connectInstance(clock: Clock, host: string, port: number): InstanceConnection {
  const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: callKeepAliveMs };
  const socket = connect({ host, port, ...options });
  const { promise: connected, resolve, reject } = Promise.withResolvers<Socket>();
  let waiting = true;

  function settle(): void {
    waiting = false;
    clock.clearTimeout(timer);
    socket.removeListener('error', fail);
  }

  function fail(error: unknown): void {
    if (!waiting) return;
    settle();
    socket.on('error', () => undefined);
    socket.destroy();
    reject(error);
  }

  const timer = clock.setTimeout(() => fail(new Error(`${host}:${port} did not answer`)), instanceConnectMs);
  socket.once('error', fail);
  socket.once('connect', () => {
    settle();
    resolve(socket);
  });
  return { connected, cancel: fail };
}
