// The TLS servers of the tunnel, one for each address that is listened on. Called by tunnel-server.ts. It picks the called workload's
// certificate by SNI and hands over connections whose handshake is done; it judges nobody.

import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls';
import { TunnelListenError } from './errors.ts';
import { tunnelHandshakeMs, tunnelHandshakesMax } from './limits.ts';
import { tunnelTls } from './tunnel-credentials.ts';

export interface TunnelListenerOptions {
  /** Undefined when nobody here has that name: the handshake is refused. */
  contextFor: (serverName: string) => SecureContext | undefined;
  onConnection: (socket: TLSSocket) => void;
}

export interface TunnelListener {
  /** Throws TunnelListenError when none of the hosts can be listened on, or the port is taken on one. Port 0 is any. */
  listen(hosts: readonly string[], port: number): Promise<void>;
  /** What it listens on. */
  listening(): { host: string; port: number }[];
  /** Closes the servers and every connection. Idempotent. */
  close(): Promise<void>;
}

export function createTunnelListener({ contextFor, onConnection }: TunnelListenerOptions): TunnelListener {
  const servers: { host: string; server: Server }[] = [];
  const sockets = new Set<Socket>();
  /** Of connections whose handshake is not done: the far ends' addresses. */
  const handshaking = new Set<string>();

  function create(): Server {
    const server = createServer({
      ...tunnelTls,
      requestCert: true,
      handshakeTimeout: tunnelHandshakeMs,
      noDelay: true,
      SNICallback: (name, answer) => {
        const context = contextFor(name);
        if (context === undefined) answer(new Error('no such microservice here'));
        else answer(null, context);
      },
    });
    server.on('connection', (socket: Socket) => {
      if (handshaking.size >= tunnelHandshakesMax) {
        socket.destroy();
        return;
      }
      const from = farEnd(socket);
      handshaking.add(from);
      sockets.add(socket);
      socket.once('close', () => {
        handshaking.delete(from);
        sockets.delete(socket);
      });
    });
    server.on('secureConnection', (socket) => {
      handshaking.delete(farEnd(socket));
      socket.on('error', () => undefined);
      onConnection(socket);
    });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  async function close(): Promise<void> {
    const closing = servers.splice(0).map(({ server }) => new Promise((resolve) => server.close(resolve)));
    for (const socket of [...sockets]) socket.destroy();
    await Promise.all(closing);
  }

  return {
    async listen(hosts, port) {
      const failures: { code?: string }[] = [];
      for (const host of hosts) {
        const server = create();
        try {
          server.listen({ host, port, ipv6Only: host.includes(':'), exclusive: true });
          await once(server, 'listening');
          // A failed accept (out of descriptors) loses that connection, never the node.
          server.on('error', () => undefined);
          servers.push({ host, server });
        } catch (error) {
          failures.push(error as { code?: string });
        }
      }
      // A box without IPv6 is a normal place; a taken port is a fault.
      const taken = failures.find(({ code }) => code === 'EADDRINUSE');
      if (taken === undefined && servers.length > 0) return;
      await close();
      throw new TunnelListenError(`the tunnel cannot listen on port ${port} of ${hosts.join(', ')}`, {
        cause: taken ?? failures[0],
      });
    },
    listening: () => servers.map(({ host, server }) => ({ host, port: (server.address() as AddressInfo).port })),
    close,
  };
}

function farEnd({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
