// Picks the local TCP port that an instance is told to listen on (its PORT). Called by the composition root.

import { createServer } from 'node:net';
import { FreePortError } from './errors.ts';
import { FREE_PORT_TRIES } from './limits.ts';

/**
 * A port on `host` (an IP address of this box) that nothing listens on now and that is not in `taken` (ports given to
 * instances that may not listen yet). Nothing reserves it: whoever listens first has it. Throws FreePortError.
 */
export async function pickFreePort(host = '127.0.0.1', taken: ReadonlySet<number> = new Set()): Promise<number> {
  let last: unknown;
  for (let attempt = 0; attempt < FREE_PORT_TRIES; attempt++) {
    try {
      const port = await listenOnce(host);
      if (!taken.has(port)) return port;
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

/** The wanted TCP port, or 0 (any) when somebody has it. */
export async function portIfFree(port: number): Promise<number> {
  if (port === 0) return 0;
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<number>();
  server.once('error', () => resolve(0));
  server.listen({ port, host: '::' }, () => server.close(() => resolve(port)));
  return promise;
}
