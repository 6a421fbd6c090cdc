// A gateway on real sockets: TCP or HTTP, with or without TLS, or UDP (gateway-udp.ts). Called by node-runtime/gateways.ts through the port in gateway.ts. The
// address of who comes is looked at before a byte is read of him.

import { constants } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createSecureContext, createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { GatewayAddressError, GatewayPortNotPermittedError, GatewayPortTakenError, GatewayTlsError } from './errors.ts';
import type { GatewayOptions, GatewayRules, OpenGateway } from './gateway.ts';
import { connectionEnd, createGatewayConnections, type GatewayConnections } from './gateway-connections.ts';
import type { Grants } from './gateway-grants.ts';
import { serveGatewayHttp } from './gateway-http.ts';
import { createGrantTimes } from './gateway-times.ts';
import { openGatewayUdp } from './gateway-udp.ts';
import {
  callKeepAliveMs,
  gatewayHeadBytesMax,
  gatewayHeadMs,
  gatewayIdleMs,
  gatewayKeepAliveMs,
  gatewayRequestCheckMs,
  gatewayRequestMs,
} from './limits.ts';

type Secrets = Pick<TlsOptions, 'cert' | 'key' | 'ca'>;

/** Throws GatewayTlsError. */
function secretsOf({ tls }: GatewayRules, { authorities }: Grants): Secrets {
  const secrets: Secrets = { cert: tls?.chainPem, key: tls?.keyPem, ca: authorities };
  if (tls === undefined) return secrets;
  try {
    createSecureContext(secrets);
    return secrets;
  } catch (error) {
    throw new GatewayTlsError(error);
  }
}

const httpOptions: ServerOptions = {
  maxHeaderSize: gatewayHeadBytesMax,
  headersTimeout: gatewayHeadMs,
  requestTimeout: gatewayRequestMs,
  connectionsCheckingInterval: gatewayRequestCheckMs,
  keepAliveTimeout: gatewayKeepAliveMs,
  insecureHTTPParser: false,
  noDelay: true,
};

function tlsOptions(secrets: Secrets, { wantsCertificates }: Grants, protocol: string): TlsOptions {
  return {
    ...secrets,
    // What they show is judged by the grants, each by its own authority.
    requestCert: wantsCertificates,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    handshakeTimeout: gatewayHeadMs,
    // A session that is resumed shows no certificate that could have been revoked meanwhile.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ...(protocol === 'http' && { ALPNProtocols: ['http/1.1'] }),
  };
}

async function listen(server: Server, port: number, address: string | undefined): Promise<void> {
  server.listen({ port, ...(address !== undefined && { host: address }), exclusive: true });
  await once(server, 'listening');
}

/** What the operator can do about a port that cannot be had; `at`: where, of several addresses. */
function listenError(error: unknown, { port, address }: GatewayOptions): Error {
  const { code, at } = error as { code?: string; at?: string };
  if (code === 'EADDRINUSE') return new GatewayPortTakenError(port, address ?? at, { cause: error });
  if (code === 'EACCES') return new GatewayPortNotPermittedError(port, { cause: error });
  return new GatewayAddressError(address ?? at, error);
}

/** Looks at who comes before anything else of the server does. */
function guard(server: Server, connections: GatewayConnections): void {
  const rest = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!connections.arrive(socket)) return;
    // A client that has vanished without a word gives its place back.
    socket.setKeepAlive(true, callKeepAliveMs);
    for (const next of rest) next.call(server, socket);
  });
}

export function createOpenGateway({ clock }: { clock: Clock }): OpenGateway {
  return async (options) => {
    const { protocol, address, port, carry, onRefused } = options;
    if (protocol === 'udp') {
      try {
        return await openGatewayUdp({ clock }, options);
      } catch (error) {
        throw listenError(error, options);
      }
    }
    let rules: GatewayRules = options;
    const hold = createGrantTimes({ clock });
    const first = hold(rules.grants);
    const secrets = secretsOf(rules, first);
    const connections = createGatewayConnections({ clock, grants: first, onRefused });

    function acceptTcp(socket: Socket): void {
      socket.on('error', () => undefined);
      const [route] = rules.routes;
      if (route === undefined || 'lacks' in connections.judge(socket)) {
        connectionEnd(socket).reset();
        return;
      }
      socket.once('close', connections.watch(socket));
      carry(connectionEnd(socket), route.to);
    }

    function create(): { server: Server; renew(next: Secrets): void } {
      const secured = tlsOptions(secrets, first, protocol);
      const plain = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };
      const none = (): void => undefined;
      if (protocol === 'tcp') {
        if (rules.tls === undefined) return { server: createTcpServer(plain, acceptTcp), renew: none };
        const server = createTlsServer({ ...secured, noDelay: true }, (socket: TLSSocket) => {
          // Not before: who goes within the handshake would keep his place until its time is over.
          socket.allowHalfOpen = true;
          socket.pause();
          acceptTcp(socket);
        });
        return { server, renew: (next) => server.setSecureContext({ ...secured, ...next }) };
      }
      const server =
        rules.tls === undefined ? createHttpServer(httpOptions) : createHttpsServer({ ...httpOptions, ...secured });
      // Bounded by their bytes; node would leave away those beyond a number.
      server.maxHeadersCount = 0;
      server.setTimeout(gatewayIdleMs);
      serveGatewayHttp(server, { connections, routes: () => rules.routes, carry });
      if (!('setSecureContext' in server)) return { server, renew: none };
      return { server, renew: (next) => server.setSecureContext({ ...secured, ...next }) };
    }

    const { server, renew } = create();
    guard(server, connections);
    // One that fails (no descriptors, a handshake of nonsense) is that connection's end, never the node's.
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: Socket) => {
      if (error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT') connections.slow(socket, 'its TLS handshake took too long');
      socket.destroy();
    });
    try {
      await listen(server, port, address);
    } catch (error) {
      connections.close();
      throw listenError(error, options);
    }
    server.on('error', () => undefined);

    return {
      update(next) {
        const grants = hold(next.grants);
        // Whatever becomes of the certificate: who is not let in any more goes now.
        rules = { ...next, tls: next.tls ?? rules.tls };
        connections.change(grants);
        renew(secretsOf(rules, grants));
      },
      get connections() {
        return connections.size;
      },
      get refused() {
        return connections.refused;
      },
      async close() {
        connections.close();
        if (!server.listening) return;
        const closed = once(server, 'close');
        server.close();
        await closed;
      },
    };
  };
}
