// The resolver of this node's containers: DNS on UDP and TCP at their bridge's gateway address. Made by docker-engine.ts; the only
// file that imports dns-packet. Who asks is known by its address, which a container without NET_RAW cannot forge. It decides nothing:
// container-names.ts says what to answer, name-forwarder.ts asks the box's own resolvers.

import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import * as packet from 'dns-packet';
import type { NameAnswer } from './container-names.ts';
import { createFrames, frameOf } from './dns-frames.ts';
import { NameServerError } from './errors.ts';
import {
  DNS_ANSWER_TTL_S,
  DNS_CONNECTION_IDLE_MS,
  DNS_CONNECTIONS_MAX,
  DNS_FORWARDS_EACH_MAX,
  DNS_FORWARDS_MAX,
} from './limits.ts';
import type { NameForwarder } from './name-forwarder.ts';

export interface NameServer {
  /** Listens at the address, when it does not already. Rejects with NameServerError. */
  listen(address: string): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface NameServerOptions {
  /** Undefined for somebody that this node does not run. */
  answer(asker: string, question: { name: string; type: string }): NameAnswer | undefined;
  forwarder: NameForwarder;
  port?: number;
}

/** RFC 1035, section 4.1.1. */
const codes = { none: 0, form: 1, failed: 2, noName: 3, notImplemented: 4, refused: 5 } as const;

interface Listening {
  address: string;
  udp: UdpSocket;
  tcp: Server;
  connections: Set<Socket>;
}

export function createNameServer({ answer, forwarder, port = 53 }: NameServerOptions): NameServer {
  const forwards = new Map<string, number>();
  let listening: Listening | undefined;
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    const next = turn.then(run);
    turn = next.catch(() => undefined);
    return next;
  }

  async function forward(asker: string, query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const own = forwards.get(asker) ?? 0;
    const all = [...forwards.values()].reduce((sum, count) => sum + count, 0);
    if (own >= DNS_FORWARDS_EACH_MAX || all >= DNS_FORWARDS_MAX) return undefined;
    forwards.set(asker, own + 1);
    try {
      return await forwarder.ask(query, transport);
    } finally {
      const left = (forwards.get(asker) ?? 1) - 1;
      if (left > 0) forwards.set(asker, left);
      else forwards.delete(asker);
    }
  }

  /** Undefined for what deserves no answer: what is one itself, or too short to answer to. */
  async function reply(asker: string, bytes: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    if (bytes.length < 12 || ((bytes[2] ?? 0) & 0x80) !== 0) return undefined;
    const query = read(bytes);
    if (query === undefined) return refusal(bytes, codes.form);
    const [question] = query.questions ?? [];
    if (((bytes[2] ?? 0) & 0x78) !== 0) return refusal(bytes, codes.notImplemented);
    if (question === undefined || query.questions?.length !== 1) return refusal(bytes, codes.form);
    const told = answer(asker, question);
    if (told === undefined) return refusal(bytes, codes.refused);
    if (told.kind !== 'elsewhere') return ownAnswer(query, question, told);
    return (await forward(asker, bytes, transport)) ?? refusal(bytes, codes.failed);
  }

  function serveUdp(udp: UdpSocket): void {
    udp.on('message', (bytes, { address, port: from }) => {
      void reply(address, bytes, 'udp').then((answered) => {
        if (answered !== undefined && listening?.udp === udp) udp.send(answered, from, address, () => undefined);
      });
    });
    // Of an answer that nobody takes: not of the socket.
    udp.on('error', () => undefined);
  }

  function serveTcp(socket: Socket, connections: Set<Socket>): void {
    connections.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => connections.delete(socket));
    socket.setTimeout(DNS_CONNECTION_IDLE_MS, () => void socket.destroy());
    const asker = socket.remoteAddress ?? '';
    const frames = createFrames();
    const answerAll = async (): Promise<void> => {
      // One after the other, so that a connection that asks without reading waits.
      for await (const bytes of socket) {
        for (const query of frames(bytes as Buffer)) {
          const answered = await reply(asker, query, 'tcp');
          if (answered !== undefined && !socket.write(frameOf(answered))) await once(socket, 'drain');
        }
      }
    };
    answerAll().catch(() => void socket.destroy());
  }

  async function open(address: string): Promise<Listening> {
    const udp = createSocket('udp4');
    const connections = new Set<Socket>();
    const tcp = createServer((socket) => serveTcp(socket, connections));
    tcp.maxConnections = DNS_CONNECTIONS_MAX;
    try {
      udp.bind(port, address);
      await once(udp, 'listening');
      tcp.listen({ port: udp.address().port, host: address, exclusive: true });
      await once(tcp, 'listening');
    } catch (error) {
      udp.close();
      tcp.close();
      throw new NameServerError(`${address}:${port}`, (error as NodeJS.ErrnoException).code ?? String(error), {
        cause: error,
      });
    }
    tcp.on('error', () => undefined);
    serveUdp(udp);
    return { address, udp, tcp, connections };
  }

  async function closeNow(): Promise<void> {
    const closing = listening;
    listening = undefined;
    if (closing === undefined) return;
    for (const socket of closing.connections) socket.destroy();
    closing.udp.close();
    closing.tcp.close();
    await once(closing.tcp, 'close');
  }

  return {
    listen: (address) =>
      inTurn(async () => {
        if (listening?.address === address) return;
        await closeNow();
        listening = await open(address);
      }),
    close: () => inTurn(closeNow),
  };
}

function read(bytes: Buffer): packet.DecodedPacket | undefined {
  try {
    return packet.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Head and, as far as it can be read, question of the query with a code and nothing else. */
function refusal(query: Buffer, code: number): Buffer {
  const { id = query.readUInt16BE(0), questions = [] } = read(query) ?? {};
  return packet.encode({ type: 'response', id, flags: code | packet.RECURSION_AVAILABLE, questions });
}

function ownAnswer(query: packet.DecodedPacket, question: packet.Question, told: NameAnswer): Buffer {
  const code = told.kind === 'no-name' ? codes.noName : codes.none;
  const wanted = query.flag_rd ? packet.RECURSION_DESIRED : 0;
  return packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: code | wanted | packet.RECURSION_AVAILABLE | packet.AUTHORITATIVE_ANSWER,
    questions: [question],
    answers:
      told.kind === 'address'
        ? [{ type: 'A', class: 'IN', name: question.name, ttl: DNS_ANSWER_TTL_S, data: told.address }]
        : [],
  });
}
