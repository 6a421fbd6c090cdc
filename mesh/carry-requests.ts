// The request with which a node asks its neighbour to carry what follows to another node: CONNECT of HTTP/1.1 (RFC 9110, section 9.3.6) on a
// connection of its own. Called by tunnel-through-nodes.ts for both sides. It knows no routes, and reads nothing of what is carried.

import { createServer, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { RouteError } from './errors.ts';
import { type Wish, wishShape } from './forwarding.ts';
import { carryHeaderBytesMax, tunnelHandshakeMs } from './limits.ts';
import type { PeerId } from './mesh.ts';

/** Beside the far end as the target: who asks, who has carried it so far, and whom to pass by where there is another way. */
const fromHeader = 'selvedge-from';
const viaHeader = 'selvedge-via';
const avoidHeader = 'selvedge-avoid';
/** In a refusal: the node at which it ended, and why. */
const atHeader = 'selvedge-at';
const whyHeader = 'selvedge-reason';
const reasonCharactersMax = 256;

export interface CarryRequest {
  /** Undefined when it was none. */
  wish: Wish | undefined;
  sender: PeerId;
  socket: Duplex;
  /** From now on the connection is that to the node that was meant. */
  accept(): void;
  refuse(at: PeerId, reason: string): void;
}

/** Resolves when what is written next arrives at the node that is meant. Rejects with RouteError, which says where it ended, or the signal's reason. */
export function askToCarry(socket: TLSSocket, { to, from, via, avoid }: Wish, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal.reason));
    const settle = (finish: () => void) => {
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const asked = request({
      ...{ method: 'CONNECT', path: to, setHost: false, createConnection: () => socket },
      headers: {
        ...{ host: to, [fromHeader]: from, [viaHeader]: via.join(' ') },
        ...(avoid !== undefined && { [avoidHeader]: avoid.join(' ') }),
      },
      maxHeaderSize: carryHeaderBytesMax,
    });
    asked.once('connect', ({ statusCode, headers }, _socket, head) => {
      if (head.length > 0) socket.unshift(head);
      const why = `${headers[whyHeader] ?? 'it said no'}`.slice(0, reasonCharactersMax);
      if (statusCode === 200) settle(resolve);
      else settle(() => reject(new RouteError(`${headers[atHeader] ?? 'its neighbour'}`, why)));
    });
    asked.on('error', (error) => settle(() => reject(error)));
    asked.once('close', () => settle(() => reject(new Error('the neighbour ended it'))));
    asked.end();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

function readWish({ url, headersDistinct, httpVersion }: IncomingMessage): Wish | undefined {
  if (httpVersion !== '1.1') return undefined;
  // Said twice, a header says nothing.
  const said = [fromHeader, viaHeader, avoidHeader].map((name) => headersDistinct[name] ?? []);
  if (said.some(({ length }) => length > 1)) return undefined;
  const [from, via, avoid] = said.map(([one]) => one);
  const parsed = wishShape.safeParse({
    to: url,
    from,
    via: via === '' ? [] : via?.split(' '),
    avoid: avoid?.split(' '),
  });
  return parsed.success ? parsed.data : undefined;
}

export interface CarryRequests {
  /** One request is read from it. */
  read(socket: TLSSocket, sender: PeerId): void;
}

export function createCarryRequests({
  clock,
  onRequest,
}: {
  clock: Clock;
  onRequest(asked: CarryRequest): void;
}): CarryRequests {
  const senders = new WeakMap<Duplex, { sender: PeerId; timer: unknown }>();
  const server = createServer({ maxHeaderSize: carryHeaderBytesMax }, (_asked, answer) => {
    answer.writeHead(405, { connection: 'close', allow: 'CONNECT' }).end();
  });
  server.on('clientError', (_error, socket) => socket.destroy());
  server.on('connect', (asked: IncomingMessage, socket: Duplex, head: Buffer) => {
    const known = senders.get(socket);
    if (known === undefined) return void socket.destroy();
    clock.clearTimeout(known.timer);
    if (head.length > 0) socket.unshift(head);
    onRequest({
      ...{ wish: readWish(asked), sender: known.sender, socket },
      accept: () => void socket.write('HTTP/1.1 200 OK\r\n\r\n'),
      refuse(at, reason) {
        const said = (text: string) => text.slice(0, reasonCharactersMax).replace(/[^ -~]/g, '?');
        const lines = [
          `${atHeader}: ${said(at)}`,
          `${whyHeader}: ${said(reason)}`,
          'content-length: 0',
          'connection: close',
        ];
        // Who does not close his side holds nothing.
        socket.end(`HTTP/1.1 502 Bad Gateway\r\n${lines.join('\r\n')}\r\n\r\n`, () => socket.destroy());
      },
    });
  });

  return {
    read(socket, sender) {
      const timer = clock.setTimeout(() => socket.destroy(), tunnelHandshakeMs);
      senders.set(socket, { sender, timer });
      socket.once('close', () => clock.clearTimeout(timer));
      server.emit('connection', socket as Socket);
    },
  };
}
