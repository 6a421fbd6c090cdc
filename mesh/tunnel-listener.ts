// The TLS servers of the tunnel, one for each address that is listened on. Called by tunnel-server.ts. It picks the called workload's
// certificate by SNI and hands over connections whose handshake is done; it judges nobody.

import { once } from 'node:events';
import { type AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createServer, type SecureContext, type Server, TLSSocket } from 'node:tls';
import { TunnelListenError } from './errors.ts';
import { tunnelHandshakeMs, tunnelHandshakesMax, tunnelHandshakesPerHostMax } from './limits.ts';
import { nodeProtocols, nodeServerName, tunnelTls } from './tunnel-credentials.ts';

export interface TunnelListenerOptions {
  /** Undefined when nobody here has that name: the handshake is refused. */
  contextFor: (serverName: string) => SecureContext | undefined;
  onConnection: (socket: TLSSocket) => void;
  /** There are too many connections without a finished handshake: the oldest was closed. */
  onCrowded: (reason: string) => void;
}

export interface TunnelListener {
  /** Throws TunnelListenError when none of the hosts can be listened on, or the port is taken on one. Port 0 is any. */
  listen(hosts: readonly string[], port: number): Promise<void>;
  /** A connection that came in otherwise: of an admitted peer, as a stream of its link. */
  accept(stream: Duplex): void;
  /** What it listens on. */
  listening(): { host: string; port: number }[];
  /** Closes the servers and every connection. Idempotent. */
  close(): Promise<void>;
}

export function createTunnelListener({ contextFor, onConnection, onCrowded }: TunnelListenerOptions): TunnelListener {
  const servers: { host: string; server: Server }[] = [];
  const sockets = new Set<Socket | Duplex>();
  /** Connections whose handshake is not done, by the far end's address and port; the oldest first. */
  const handshaking = new Map<string, Socket>();

  /** A handshake takes milliseconds: who holds its place longest gives way, first among those of the same host. */
  function makeRoom(host: string | undefined): void {
    const ofHost = [...handshaking.values()].filter(({ remoteAddress }) => remoteAddress === host);
    if (ofHost.length >= tunnelHandshakesPerHostMax) {
      ofHost[0]?.destroy();
      onCrowded(`${host} has too many connections without a finished handshake`);
    } else if (handshaking.size >= tunnelHandshakesMax) {
      handshaking.values().next().value?.destroy();
      onCrowded('there are too many connections without a finished handshake');
    }
  }

  function create(): Server {
    const server = createServer({
      ...tunnelTls,
      // In the place of the list, since nodes and workloads speak different ones.
      ALPNProtocols: undefined,
      ALPNCallback: ({ servername, protocols }) => {
        const spoken = servername === nodeServerName ? Object.values(nodeProtocols) : tunnelTls.ALPNProtocols;
        return protocols.find((protocol) => spoken.includes(protocol));
      },
      requestCert: true,
      handshakeTimeout: tunnelHandshakeMs,
      noDelay: true,
      SNICallback: (name, answer) => {
        const context = contextFor(name);
        if (context === undefined) answer(new Error('no such microservice here'));
        else answer(null, context);
      },
    });
    server.on('connection', (socket: Socket | Duplex) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      // How many a peer may have of the others is the link's part.
      if (!(socket instanceof Socket) || socket instanceof TLSSocket) return;
      const from = farEnd(socket);
      makeRoom(socket.remoteAddress);
      handshaking.set(from, socket);
      socket.once('close', () => {
        if (handshaking.get(from) === socket) handshaking.delete(from);
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

  /** Listens nowhere. */
  const streams = create();

  async function close(): Promise<void> {
    const closing = servers.splice(0).map(({ server }) => new Promise((resolve) => server.close(resolve)));
    for (const socket of [...sockets]) socket.destroy();
    await Promise.all(closing);
  }

  return {
    accept(stream) {
      // node:tls takes any stream for a connection.
      streams.emit('connection', stream);
    },
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
