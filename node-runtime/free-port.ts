// Picks the local port that an instance is told to listen on (its PORT), free of both protocols. Called by the composition root.

import { createSocket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
import { FreePortError } from './errors.ts';
import { FREE_PORT_TRIES } from './limits.ts';

/**
 * A port on `host` (an IP address of this box) that nothing has now, TCP or UDP, and that is not in `taken` (ports given to
 * instances that may not listen yet). Nothing reserves it: whoever listens first has it. Throws FreePortError.
 */
export async function pickFreePort(host = '127.0.0.1', taken: ReadonlySet<number> = new Set()): Promise<number> {
  let last: unknown;
  for (let attempt = 0; attempt < FREE_PORT_TRIES; attempt++) {
    try {
      const port = await listenOnce(host);
      if (!taken.has(port) && (await isFreeOfUdp(host, port))) return port;
    } catch (error) {
      last = error;
    }
  }
  throw new FreePortError(host, last);
}

function listenOnce(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port: 0, exclusive: true }, () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('the listener had no address'));
      });
    });
  });
}

function isFreeOfUdp(host: string, port: number): Promise<boolean> {
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('error', () => {
    socket.close();
    resolve(false);
  });
  socket.bind({ port, address: host, exclusive: true }, () => socket.close(() => resolve(true)));
  return promise;
}

/** The wanted TCP port, or 0 (any) when somebody has it. */
export async function portIfFree(port: number): Promise<number> {
  if (port === 0) return 0;
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<number>();
  server.once('error', () => resolve(0));
  server.listen({ port, host: '::' }, () => server.close(() => resolve(port)));
  return promise;
}
