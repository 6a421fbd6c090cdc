// A gateway on loopback in front of services of the test: what the mesh would carry goes straight to their ports.

import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { CallableService } from '../../control/plan.ts';
import type { GatewayOptions, ListeningGateway } from '../../mesh/gateway.ts';
import { createOpenGateway } from '../../mesh/gateway-listener.ts';
import { relay, socketEnd } from '../../mesh/tunnel-relay.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { freePort } from '../e2e/free-port.ts';

export const everybody = [{ name: 'all', cidrs: ['127.0.0.0/8'] }];

/** A service of which the port is its own on loopback. */
export const service = (port: number): CallableService => ({
  ...{ project: 'default', application: 'shop', microservice: 'web' },
  port,
});

/** Closed with its connections when the test ends. */
export async function serveHttp(
  t: ExecutionContext,
  answer: RequestListener,
): Promise<{ port: number; server: Server }> {
  const server = createHttpServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as { port: number }).port, server };
}

export interface Published extends ListeningGateway {
  port: number;
  refusals: string[];
}

/** Port of this box, tried again when somebody was faster. */
export async function publish(
  t: ExecutionContext,
  options: Pick<GatewayOptions, 'protocol' | 'routes'> & Partial<GatewayOptions>,
): Promise<Published> {
  const refusals: string[] = [];
  const open = createOpenGateway({ clock: createSystemClock() });
  for (let attempt = 0; ; attempt += 1) {
    const port = await freePort();
    try {
      const gateway = await open({
        ...{ address: '127.0.0.1', port, tls: undefined, grants: everybody },
        carry(near, to) {
          const far = connect({ host: '127.0.0.1', port: to.port, allowHalfOpen: true });
          relay(near, socketEnd(far), () => undefined);
        },
        onRefused: (_address, reason) => refusals.push(reason),
        ...options,
      });
      t.teardown(() => gateway.close());
      return Object.assign(gateway, { port, refusals });
    } catch (error) {
      if ((error as { id?: string }).id !== 'gateway-port-taken' || attempt > 20) throw error;
    }
  }
}

export async function dial(t: ExecutionContext, port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  // Who is turned away at once may see no more of it than that.
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('connect', resolve);
  socket.once('close', () => resolve());
  await promise;
  return socket;
}

/** What comes until the connection ends, by either side. */
export async function everything(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (socket.destroyed) return '';
  const done = (): void => resolve(Buffer.concat(chunks).toString('latin1'));
  socket.once('end', done);
  socket.once('close', done);
  return promise;
}

/** Sends these bytes and reads to the end. */
export async function say(t: ExecutionContext, port: number, text: string): Promise<string> {
  const socket = await dial(t, port);
  const all = everything(socket);
  socket.write(text, 'latin1');
  return all;
}
