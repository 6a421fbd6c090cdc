// The resolver of this node's containers, and of its programs with a network of their own: DNS on UDP and TCP at the gateway address of each
// of their networks. Made by docker-engine.ts and process-networks.ts; the only file that imports dns-packet. Who asks is known by its
// address, which a container without NET_RAW cannot forge, and which is all that is taken from a program's cable. It decides nothing:
// container-names.ts says what to answer, name-forwarder.ts asks the box's own resolvers. Whoever is no instance of this node gets no
// answer at all: the address can be reached from the LAN, and an answer to a forged address would go to somebody else. Nothing is
// decoded before its head says that it is one plain question: names that point at each other make a long message very dear.

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
  DNS_CONNECTIONS_EACH_MAX,
  DNS_CONNECTIONS_MAX,
  DNS_FORWARDS_EACH_MAX,
  DNS_FORWARDS_MAX,
  DNS_TCP_QUERY_BYTES_MAX,
  DNS_UDP_QUERY_BYTES_MAX,
} from './limits.ts';
import type { NameForwarder } from './name-forwarder.ts';

export interface NameServer {
  /** Listens at the address, when it does not already. Rejects with NameServerError. */
  listen(address: string): Promise<void>;
  /** Listens there no longer. Idempotent. */
  leave(address: string): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface NameServerOptions {
  /** Whether this node runs a container with that address. */
  knows(asker: string): boolean;
  /** Undefined for somebody that this node does not run. */
  answer(asker: string, question: { name: string; type: string }): NameAnswer | undefined;
  forwarder: NameForwarder;
  port?: number;
}

const headBytes = 12;
/** RFC 1035, section 4.1.1. */
const codes = { none: 0, form: 1, failed: 2, noName: 3, notImplemented: 4 } as const;

interface Listening {
  address: string;
  udp: UdpSocket;
  tcp: Server;
}

export function createNameServer({ knows, answer, forwarder, port = 53 }: NameServerOptions): NameServer {
  const forwards = new Map<string, number>();
  /** By their addresses. */
  const listening = new Map<string, Listening>();
  const connections = new Set<Socket>();
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

  /** Undefined for what deserves no answer: what is one itself, too short to answer to, or from a stranger. */
  async function reply(asker: string, bytes: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    if (!knows(asker) || bytes.length < headBytes || ((bytes[2] ?? 0) & 0x80) !== 0) return undefined;
    if (((bytes[2] ?? 0) & 0x78) !== 0) return refusal(bytes, codes.notImplemented);
    if (!isOneQuestion(bytes, transport)) return refusal(bytes, codes.form);
    const query = read(bytes);
    const [question] = query?.questions ?? [];
    if (query === undefined || question === undefined) return refusal(bytes, codes.form);
    const told = answer(asker, question);
    if (told === undefined) return undefined;
    if (told.kind !== 'elsewhere') return ownAnswer(query, question, told);
    // With its question: resolvers do not take a failure for theirs without it.
    return (await forward(asker, bytes, transport)) ?? answerOf(query, question, codes.failed);
  }

  function serveUdp(udp: UdpSocket): void {
    udp.on('message', (bytes, { address, port: from }) => {
      // Nobody can be answered at port 0, and what goes wrong with one packet is no concern of the others.
      if (from === 0) return;
      reply(address, bytes, 'udp')
        .then((answered) => {
          if (answered !== undefined && isOpen(udp)) udp.send(answered, from, address, () => undefined);
        })
        .catch(() => undefined);
    });
    // Of an answer that nobody takes: not of the socket.
    udp.on('error', () => undefined);
  }

  const isOpen = (udp: UdpSocket): boolean => [...listening.values()].some((one) => one.udp === udp);

  function serveTcp(socket: Socket): void {
    socket.on('error', () => undefined);
    const asker = socket.remoteAddress ?? '';
    const own = [...connections].filter(({ remoteAddress }) => remoteAddress === asker).length;
    if (!knows(asker) || own >= DNS_CONNECTIONS_EACH_MAX || connections.size >= DNS_CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    socket.setTimeout(DNS_CONNECTION_IDLE_MS, () => void socket.destroy());
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
    const tcp = createServer(serveTcp);
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
    return { address, udp, tcp };
  }

  async function closeOne({ address, udp, tcp }: Listening): Promise<void> {
    listening.delete(address);
    for (const socket of connections) if (socket.localAddress === address) socket.destroy();
    udp.close();
    tcp.close();
    await once(tcp, 'close');
  }

  return {
    listen: (address) =>
      inTurn(async () => {
        if (!listening.has(address)) listening.set(address, await open(address));
      }),
    leave: (address) =>
      inTurn(async () => {
        const left = listening.get(address);
        if (left !== undefined) await closeOne(left);
      }),
    close: () =>
      inTurn(async () => {
        for (const one of [...listening.values()]) await closeOne(one);
      }),
  };
}

function read(bytes: Buffer): packet.DecodedPacket | undefined {
  try {
    return packet.decode(bytes);
  } catch {
    return undefined;
  }
}

/** By its head alone (RFC 1035, section 4.1.1): one question, no records but EDNS (RFC 6891) and a signature, and no longer than that needs. */
function isOneQuestion(bytes: Buffer, transport: 'udp' | 'tcp'): boolean {
  const [questions, answers, authorities, additional] = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at));
  const bytesMax = transport === 'udp' ? DNS_UDP_QUERY_BYTES_MAX : DNS_TCP_QUERY_BYTES_MAX;
  return questions === 1 && answers === 0 && authorities === 0 && (additional ?? 0) <= 2 && bytes.length <= bytesMax;
}

/** The query's head with a code and nothing else: never longer than what was asked. */
function refusal(query: Buffer, code: number): Buffer {
  const head = Buffer.alloc(headBytes);
  query.copy(head, 0, 0, 4);
  // A response, with the query's opcode and RD, and RA.
  head[2] = (head[2] ?? 0) | 0x80;
  head[3] = 0x80 | code;
  return head;
}

function ownAnswer(query: packet.DecodedPacket, question: packet.Question, told: NameAnswer): Buffer {
  const code = told.kind === 'no-name' ? codes.noName : codes.none;
  const address = told.kind === 'address' ? told.address : undefined;
  return answerOf(query, question, code | packet.AUTHORITATIVE_ANSWER, address);
}

function answerOf(query: packet.DecodedPacket, question: packet.Question, flags: number, address?: string): Buffer {
  const wanted = query.flag_rd ? packet.RECURSION_DESIRED : 0;
  return packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: flags | wanted | packet.RECURSION_AVAILABLE,
    questions: [question],
    answers:
      address === undefined
        ? []
        : [{ type: 'A', class: 'IN', name: question.name, ttl: DNS_ANSWER_TTL_S, data: address }],
  });
}
