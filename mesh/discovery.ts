// Finding others on the local network by multicast DNS (RFC 6762): questions with back-off, answers, announcements and
// goodbyes, on one socket per interface and family, so that it works without a default route, on several networks, over
// IPv6 alone and within one box. Called by libp2p-mesh.ts. What it finds is a hint for dialling and nothing more.

import multicastDns from 'multicast-dns';
import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import {
  type Announcement,
  asksFor,
  type DnsRecord,
  readRecords,
  recordsOf,
  SERVICE,
  SERVICES,
} from './discovery-records.ts';
import { createDiscoverySocket } from './discovery-socket.ts';
import type { TellFlood } from './flood-teller.ts';
import { createFoundTable } from './found-table.ts';
import { isLinkLocal, isOnLink, isOwn, type NetworkInterface } from './interfaces.ts';
import {
  answerIntervalMs,
  answerJitterMs,
  discoveryPacketsPerSecondMax,
  discoverySocketsMax,
  firstQueryBackoffMs,
  goodbyeMs,
  queryBackoffMsMax,
} from './limits.ts';
import type { Address, PeerId } from './mesh.ts';

export interface DiscoveryOptions {
  peerId: PeerId;
  /** Where this node is reached now. */
  addresses: () => Address[];
  interfaces: () => NetworkInterface[];
  clock: Clock;
  random: Random;
  /** A peer that is new, or that says something new. */
  onFound: (entry: Announcement) => void;
  /** More arrives than is looked at. */
  tellFlood?: TellFlood;
  logger?: { debug(fields: object, text: string): void };
}

export interface Discovery {
  /** Idempotent, as `stop` is. A socket that cannot be opened is tried again at the next change of interfaces or question. */
  start(): void;
  /** Says goodbye and closes the sockets. */
  stop(): Promise<void>;
  /** To be called when interfaces or addresses may have changed. */
  refresh(): void;
  advertise(fabricId: string | undefined): void;
  found(): Announcement[];
  /** Packets and entries that were dropped because they made no sense. */
  dropped(): number;
}

interface LinkSocket {
  networkInterface: NetworkInterface;
  mdns: multicastDns.MulticastDNS;
  answeredAt: number;
  answer: TimerId | undefined;
}

export function createDiscovery(options: DiscoveryOptions): Discovery {
  const { peerId, clock, random, onFound, tellFlood, logger } = options;
  const table = createFoundTable();
  const sockets = new Map<string, LinkSocket>();
  /** Tells our own questions, which come back to us, from those of other nodes on this box. */
  const queryId = 1 + Math.floor(random.next() * 0xfffe);
  let running = false;
  let fabricId: string | undefined;
  let backoffMs = firstQueryBackoffMs;
  let question: TimerId | undefined;
  let dropped = 0;
  let announced = '';

  // --- sockets

  function openMissing(): void {
    const wanted = new Map(options.interfaces().flatMap(socketsFor).slice(0, discoverySocketsMax));
    for (const [key, socket] of sockets) if (!wanted.has(key)) close(key, socket);
    for (const [key, { networkInterface, settings }] of wanted) {
      const existing = sockets.get(key);
      if (existing !== undefined) existing.networkInterface = networkInterface;
      else open(key, networkInterface, settings);
    }
  }

  function open(key: string, networkInterface: NetworkInterface, settings: multicastDns.Options): void {
    let mdns: multicastDns.MulticastDNS;
    try {
      const socket = createDiscoverySocket(settings.type ?? 'udp4', { clock, onDropped });
      mdns = multicastDns({ ...settings, socket });
    } catch (error) {
      logger?.debug({ socket: key, error }, 'multicast DNS cannot use an interface');
      return;
    }
    const socket: LinkSocket = { networkInterface, mdns, answeredAt: Number.NEGATIVE_INFINITY, answer: undefined };
    sockets.set(key, socket);
    mdns.on('error', (error) => {
      logger?.debug({ socket: key, error }, 'multicast DNS lost an interface');
      close(key, socket);
    });
    // Packets that are no DNS, and memberships that the system refuses.
    mdns.on('warning', () => {
      dropped++;
    });
    mdns.on('query', (packet, source) => onQuery(socket, packet, source));
    mdns.on('response', (packet, source) => onResponse(socket, packet, source));
    mdns.once('ready', () => {
      if (!running || sockets.get(key) !== socket) return;
      ask(socket);
      answerSoon(socket);
    });
  }

  function onDropped(why: 'junk' | 'flood'): void {
    dropped++;
    if (why === 'junk') return;
    tellFlood?.(
      'discovery',
      `more than ${discoveryPacketsPerSecondMax} packets of multicast DNS in a second: the rest of them is not looked at`,
    );
  }

  function close(key: string, socket: LinkSocket): Promise<void> {
    if (sockets.get(key) === socket) sockets.delete(key);
    if (socket.answer !== undefined) clock.clearTimeout(socket.answer);
    const closed = Promise.withResolvers<void>();
    try {
      socket.mdns.destroy(closed.resolve);
    } catch {
      // It had failed and was closed already.
      closed.resolve();
    }
    return closed.promise;
  }

  // --- what we say

  function ask({ mdns }: LinkSocket): void {
    // A send that fails (no route, interface down) is one that nobody hears: the next question comes by itself.
    mdns.query({ id: queryId, questions: [{ name: SERVICE, type: 'PTR' }] }, () => {});
  }

  function askInTime(delayMs: number): void {
    if (question !== undefined) clock.clearTimeout(question);
    question = clock.setTimeout(() => {
      openMissing();
      for (const socket of sockets.values()) ask(socket);
      backoffMs = Math.min(backoffMs * 2, queryBackoffMsMax);
      askInTime(jittered(backoffMs));
    }, delayMs);
  }

  function jittered(ms: number): number {
    return ms * (0.8 + 0.4 * random.next());
  }

  function answerSoon(socket: LinkSocket): void {
    if (socket.answer !== undefined) return;
    const sinceMs = clock.elapsed() - socket.answeredAt;
    const restMs = Math.max(0, answerIntervalMs - sinceMs);
    socket.answer = clock.setTimeout(
      () => {
        socket.answer = undefined;
        socket.answeredAt = clock.elapsed();
        say(socket, false);
      },
      restMs + random.next() * answerJitterMs,
    );
  }

  function say({ mdns }: LinkSocket, goodbye: boolean): Promise<void> {
    const said = Promise.withResolvers<void>();
    const records = recordsOf({ peerId, fabricId, addresses: options.addresses() }, goodbye);
    try {
      mdns.respond(records as unknown as multicastDns.ResponseOutgoingPacket, () => said.resolve());
    } catch (error) {
      logger?.debug({ error }, 'multicast DNS could not answer');
      said.resolve();
    }
    return said.promise;
  }

  function announce(): void {
    const now = JSON.stringify([fabricId, options.addresses()]);
    if (!running || now === announced) return;
    announced = now;
    for (const socket of sockets.values()) answerSoon(socket);
  }

  // --- what we hear

  function onQuery(
    socket: LinkSocket,
    packet: multicastDns.QueryPacket,
    source: { address: string; port: number },
  ): void {
    if (packet.id === queryId || !isOnLink(source.address, socket.networkInterface)) return;
    const asked = (packet.questions ?? []).map((each) => asksFor(each, peerId));
    if (asked.includes('services')) {
      const record = { name: SERVICES, type: 'PTR', ttl: 60, data: SERVICE } as const;
      socket.mdns.respond({ answers: [record] }, () => {});
    }
    if (!asked.includes('us')) return;
    answerSoon(socket);
    // Somebody has just asked what we would ask: the answers reach us too (RFC 6762, section 7.3).
    if (backoffMs > 4 * firstQueryBackoffMs) askInTime(jittered(backoffMs));
  }

  function onResponse(
    socket: LinkSocket,
    packet: multicastDns.ResponsePacket,
    source: { address: string; port: number },
  ): void {
    if (source.port !== 5353 || !isOnLink(source.address, socket.networkInterface)) return;
    const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])] as DnsRecord[];
    for (const heard of readRecords(records, isOwn(source.address, options.interfaces()))) {
      if (heard.kind === 'junk') dropped++;
      if (heard.kind === 'goodbye' && heard.peerId !== peerId) table.forget(heard.peerId);
      if (heard.kind !== 'announcement' || heard.announcement.peerId === peerId) continue;
      if (table.hear(heard.announcement, clock.elapsed(), source.address)) onFound(heard.announcement);
    }
  }

  return {
    start() {
      if (running) return;
      running = true;
      announced = JSON.stringify([fabricId, options.addresses()]);
      backoffMs = firstQueryBackoffMs;
      openMissing();
      askInTime(jittered(backoffMs));
    },
    async stop() {
      if (!running) return;
      running = false;
      if (question !== undefined) clock.clearTimeout(question);
      const said = new AbortController();
      const closing = [...sockets].map(async ([key, socket]) => {
        await Promise.race([say(socket, true), clock.sleep(goodbyeMs, said.signal).catch(() => {})]);
        await close(key, socket);
      });
      await Promise.all(closing);
      said.abort();
    },
    refresh() {
      if (!running) return;
      openMissing();
      announce();
    },
    advertise(id) {
      fabricId = id;
      announce();
    },
    found: () => table.list(clock.elapsed()),
    dropped: () => dropped,
  };
}

/** The sockets that an interface wants, by a name that changes when they have to be opened again. */
function socketsFor(
  networkInterface: NetworkInterface,
): [string, { networkInterface: NetworkInterface; settings: multicastDns.Options }][] {
  const { name, addresses } = networkInterface;
  const result: ReturnType<typeof socketsFor> = [];
  const four = addresses.find(({ family }) => family === 4);
  if (four !== undefined) {
    const settings = { interface: four.address, bind: '0.0.0.0' };
    result.push([`${name} ${four.address}`, { networkInterface, settings }]);
  }
  // Multicast on the loopback interface is IPv4's: two sockets would say everything twice.
  const six = addresses.find(({ family, address }) => family === 6 && isLinkLocal(address));
  if (six !== undefined) {
    const settings = { type: 'udp6', ip: 'ff02::fb', interface: `::%${name}`, bind: '::' } as const;
    result.push([`${name} ${six.address} ${six.zone}`, { networkInterface, settings }]);
  }
  return result;
}
