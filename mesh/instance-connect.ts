// Connects to a port of an instance on this box. Called by the tunnel's server and for calls within a node.

import { connect, type Socket } from 'node:net';
import type { Clock } from '../node-runtime/clock.ts';
import { instanceConnectMs } from './limits.ts';

/** Rejects with the system's error (ECONNREFUSED and the like), after `instanceConnectMs`, or when the signal aborts. */
export function connectInstance(clock: Clock, host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const settle = (finish: () => void) => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      finish();
    };
    const fail = (error: unknown) =>
      settle(() => {
        socket.on('error', () => undefined);
        socket.destroy();
        reject(error);
      });
    const onError = (error: Error) => fail(error);
    const onAbort = () => fail(signal.reason);
    const timer = clock.setTimeout(() => fail(new Error(`${host}:${port} did not answer`)), instanceConnectMs);
    socket.once('error', onError);
    socket.once('connect', () => settle(() => resolve(socket)));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
}
