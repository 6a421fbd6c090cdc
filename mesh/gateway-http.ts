// HTTP through a gateway: each request is held against the grants, finds its service by host and path, and is sent on over a connection of
// its own. Called by gateway-listener.ts. Node's own parser reads both sides; what it lets through and two programs could read in two ways
// is refused here. Nothing of a request is read before a grant lets it in.

import { type ClientRequest, type IncomingMessage, request, type Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Duplex, duplexPair, pipeline } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { CallableService } from '../control/plan.ts';
import type { GatewayRules } from './gateway.ts';
import { connectionEnd, type GatewayConnections } from './gateway-connections.ts';
import { plainAddress, tokenHash } from './gateway-grants.ts';
import { endToEnd, forwarded, rawPairs } from './gateway-headers.ts';
import { hostOf, pathOf, routeFor } from './gateway-routes.ts';
import { gatewayHeadBytesMax, gatewayPipelinedMax } from './limits.ts';
import { type RelayEnd, relay } from './tunnel-relay.ts';

export interface GatewayHttpOptions {
  connections: GatewayConnections;
  routes: () => GatewayRules['routes'];
  carry(near: RelayEnd, to: CallableService): void;
}

interface Accepted {
  to: CallableService;
  token: Uint8Array | undefined;
  /** The token was the gateway's: the service does not get it. */
  byToken: boolean;
}

interface Refusal {
  status: number;
  reason: string;
  headers?: Record<string, string>;
}

/** One end of a connection to the service; the other one is carried. */
function connectionTo(to: CallableService, carry: GatewayHttpOptions['carry']): Duplex {
  const [outer, inner] = duplexPair();
  const reset = (): void => {
    inner.destroy();
    if (!outer.readableEnded) outer.destroy(new Error('the connection to the service broke'));
  };
  // Not every version of Node tells one side of a pair that the other is gone.
  outer.once('close', () => inner.destroy());
  outer.on('error', () => undefined);
  const wasReset = (): boolean => outer.destroyed && !outer.writableFinished;
  carry({ duplex: inner, keeps: true, wasReset, reset, destroy: reset }, to);
  return outer;
}

function bearerOf({ headers: { authorization = '' } }: IncomingMessage): Uint8Array | undefined {
  const [, token] = /^bearer +([\x21-\x7e]+) *$/i.exec(authorization) ?? [];
  return token === undefined ? undefined : tokenHash(token);
}

function answer(response: ServerResponse, { status, reason, headers = {} }: Refusal): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const all = {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    connection: 'close',
    ...headers,
  };
  response.writeHead(status, all).end(`${reason}\n`);
}

export function serveGatewayHttp(server: Server, { connections, routes, carry }: GatewayHttpOptions): void {
  /** Where a request goes, or why it goes nowhere. */
  function accept(incoming: IncomingMessage): Accepted | Refusal {
    const { socket } = incoming;
    if (connections.underWay(socket) >= gatewayPipelinedMax)
      return { status: 429, reason: 'this connection has too many requests under way' };
    const token = bearerOf(incoming);
    const judgement = connections.judge(socket, token);
    if ('lacks' in judgement) {
      if (judgement.lacks !== 'token') return { status: 403, reason: 'not allowed' };
      return { status: 401, reason: 'a valid token is needed', headers: { 'www-authenticate': 'Bearer' } };
    }
    const hosts = rawPairs(incoming.rawHeaders).filter(([name]) => name.toLowerCase() === 'host');
    const host = hosts.length === 1 ? hostOf(hosts[0]?.[1] ?? '') : undefined;
    const path = pathOf(incoming.url ?? '');
    if (host === undefined || path === undefined) return { status: 400, reason: 'the request is not understood' };
    if (incoming.method === 'TRACE') return { status: 405, reason: 'not allowed', headers: { allow: 'GET, POST' } };
    const route = routeFor(routes(), host, path);
    if (route === undefined) return { status: 404, reason: 'nothing is published here' };
    return { to: route.to, token, byToken: judgement.byToken };
  }

  function send(incoming: IncomingMessage, { to, byToken }: Accepted, upgrade?: string): ClientRequest {
    const { socket } = incoming;
    const own = forwarded({
      address: plainAddress(socket.remoteAddress ?? ''),
      protocol: socket instanceof TLSSocket ? 'https' : 'http',
      host: incoming.headers.host ?? '',
    });
    const body = incoming.headers['transfer-encoding'] === undefined ? [] : ['Transfer-Encoding', 'chunked'];
    const last = upgrade === undefined ? body : ['Connection', 'Upgrade', 'Upgrade', upgrade];
    const headers = [...endToEnd(incoming.rawHeaders, { withoutToken: byToken }), ...own, ...last];
    return request({
      method: incoming.method ?? 'GET',
      path: incoming.url ?? '/',
      headers,
      setHost: false,
      maxHeaderSize: gatewayHeadBytesMax,
      createConnection: () => connectionTo(to, carry),
    });
  }

  function pass(from: IncomingMessage, response: ServerResponse): void {
    response.writeHead(from.statusCode ?? 502, from.statusMessage ?? '', endToEnd(from.rawHeaders));
    // An answer that breaks off breaks off here, too.
    pipeline(from, response, () => undefined);
  }

  server.on('request', (incoming, response) => {
    const accepted = accept(incoming);
    if ('status' in accepted) {
      answer(response, accepted);
      return;
    }
    const over = connections.watch(incoming.socket, accepted.token);
    const outgoing = send(incoming, accepted);
    response.once('close', () => {
      over();
      if (!outgoing.destroyed) outgoing.destroy();
    });
    outgoing.once('response', (from) => pass(from, response));
    outgoing.on('error', () => answer(response, { status: 502, reason: 'no instance of the service answered' }));
    incoming.on('error', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });

  server.on('upgrade', (incoming, duplex, head) => {
    const socket = duplex as Socket;
    socket.on('error', () => undefined);
    const response = new ServerResponse(incoming);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => socket.end());
    const hasBody = 'transfer-encoding' in incoming.headers || Number(incoming.headers['content-length'] ?? 0) > 0;
    if (incoming.headers.upgrade?.toLowerCase() !== 'websocket' || incoming.method !== 'GET' || hasBody) {
      answer(response, { status: 400, reason: 'nothing but WebSocket is upgraded to' });
      return;
    }
    const accepted = accept(incoming);
    if ('status' in accepted) {
      answer(response, accepted);
      return;
    }
    const over = connections.watch(socket, accepted.token);
    const outgoing = send(incoming, accepted, 'websocket');
    socket.once('close', () => {
      over();
      outgoing.destroy();
    });
    outgoing.once('response', (from) => pass(from, response));
    outgoing.once('upgrade', (from, far, farHead) => {
      response.detachSocket(socket);
      // It is a connection like any other now.
      socket.setTimeout(0);
      const headers = rawPairs(endToEnd(from.rawHeaders)).map(([name, value]) => `${name}: ${value}\r\n`);
      const line = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n';
      socket.write(`${line}${headers.join('')}\r\n`, 'latin1');
      if (farHead.length > 0) socket.write(farHead);
      if (head.length > 0) far.write(head);
      const end = (): void => void far.destroy(new Error('the client broke off'));
      const wasReset = (): boolean => far.errored !== null;
      relay(connectionEnd(socket), { duplex: far, keeps: true, wasReset, reset: end, destroy: end }, () => undefined);
    });
    outgoing.on('error', () => {
      if (socket.writable && response.socket === socket)
        answer(response, { status: 502, reason: 'no instance of the service answered' });
      else socket.destroy();
    });
    outgoing.end();
  });
}
