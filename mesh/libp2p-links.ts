// The connections of one node, by peer: which one is used, limits, and what closes when. Called by
// libp2p-mesh.ts. It opens nothing, knows no protocol, and never decides who is admitted.

import type { Clock } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import { type Harm, harmOf } from './harm.ts';
import { isOverdue, type KeepAliveSettings, type Liveness } from './keep-alive.ts';
import { createKeepAlive } from './libp2p-keep-alive.ts';
import { type Connection, isRoutedAddress, type LinkMuxer, muxerOf, type Stream } from './libp2p-node.ts';
import { connectionsPerPeerMax, rememberedPeersMax, unadmittedConnectionsMax, unadmittedStreamsMax } from './limits.ts';
import { createLinkCost, type LinkCost, sampleCost } from './link-cost.ts';
import { type LinkFacts, linkToEvict, preferredLink, redundantLinks } from './link-table.ts';
import type { Address, ConnectionFacts, PeerId } from './mesh.ts';

export interface Link extends LinkFacts {
  readonly connection: Connection;
  readonly muxer: LinkMuxer;
  readonly address: Address;
  readonly liveness: Liveness;
  /** Why we closed it, when we did. */
  closedBecause: string | undefined;
}

export interface LinksOptions {
  self: PeerId;
  clock: Clock;
  keepAlive: KeepAliveSettings;
  isAdmitted(peerId: PeerId): boolean;
  /** Strangers hold too many connections: one of that host was closed. */
  onCrowded(host: string): void;
  /** It ended because what came over it was not what the peer had sent. */
  onHarmed(link: Link, harm: Harm): void;
  /** One through others ended, neither side had closed it, and the neighbour that carried it is still there. */
  onBroken(link: Link): void;
  /** The first connection of a peer is there. */
  onFirst(link: Link): void;
  /** The last connection of a peer is gone; `wayLost` when it went through others and neither end had closed it. */
  onLast(link: Link, reason: string, wayLost: boolean): void;
  /** The first one, or another than before. */
  onCost(peerId: PeerId, costMicroseconds: number): void;
}

export interface Links {
  add(connection: Connection): void;
  has(peerId: PeerId): boolean;
  peers(): PeerId[];
  /** The connection that streams are opened on. */
  preferred(peerId: PeerId): Link | undefined;
  /** Of that one. */
  facts(peerId: PeerId): ConnectionFacts | undefined;
  /** Of the preferred connection; one that takes its place goes on from the same. */
  costMicroseconds(peerId: PeerId): number | undefined;
  close(peerId: PeerId, reason: string): Promise<void>;
  /** The reason that `onLast` will get for all that libp2p is about to close by itself. */
  markClosing(reason: string): void;
  /** Whatever is left, at once. */
  dropAll(reason: string): void;
  startKeepAlive(): void;
  stopKeepAlive(): void;
  /** The peer is believed alive for so long at least although it is silent; left out, no longer than others. */
  allowSilence(peerId: PeerId, silentMs: number | undefined): void;
}

export function createLinks(options: LinksOptions): Links {
  const { self, clock, isAdmitted, onCrowded, onHarmed, onBroken, onFirst, onLast, onCost } = options;
  const links = new Map<PeerId, Link[]>();
  const costs = new Map<PeerId, LinkCost>();
  const lostBecause = createBoundedMap<PeerId, string>(rememberedPeersMax);

  const of = (peerId: PeerId): Link[] => links.get(peerId) ?? [];
  const all = (): Link[] => [...links.values()].flat();

  const keepAlive = createKeepAlive<Link>({
    clock,
    settings: options.keepAlive,
    links: all,
    onDead(link, reason) {
      suspect(link);
      drop(link, reason);
    },
    onSample: takeCost,
    onLook() {
      const nowMs = clock.now();
      for (const ofPeer of [...links.values()])
        for (const link of redundantLinks(ofPeer, self, nowMs)) closeWhenIdle(link);
    },
  });

  function remove(link: Link, error: Error | undefined): void {
    const { peerId } = link;
    const left = of(peerId).filter((other) => other !== link);
    if (left.length === of(peerId).length) return;
    keepAlive.end(link);
    const harm = harmOf(error);
    if (harm !== undefined) onHarmed(link, harm);
    if (error !== undefined && link.closedBecause === undefined) suspect(link);
    if (left.length > 0) {
      links.set(peerId, left);
      return;
    }
    links.delete(peerId);
    costs.delete(peerId);
    const neighbourLost = whyNeighbourLost(link);
    const reason = link.closedBecause ?? neighbourLost ?? error?.message ?? 'the other side closed the connection';
    if (!link.routed) lostBecause.set(peerId, reason);
    const unwanted = link.closedBecause === undefined && (error !== undefined || neighbourLost !== undefined);
    onLast(link, reason, link.routed && harm === undefined && unwanted);
  }

  /** A neighbour that is gone itself has done no harm. */
  function suspect(link: Link): void {
    if (link.routed && of(link.host).some(({ closedBecause }) => closedBecause === undefined)) onBroken(link);
  }

  /** Of one through others: that the neighbour which carried it is gone. */
  function whyNeighbourLost({ routed, host }: Link): string | undefined {
    if (!routed || links.has(host)) return undefined;
    return `its way went through ${host}, and the link to that is gone: ${lostBecause.get(host) ?? 'it was closed'}`;
  }

  function drop(link: Link, reason: string): void {
    link.closedBecause ??= reason;
    link.connection.abort(new Error(reason));
  }

  // --- limits

  function closeOldest(peerId: PeerId): void {
    const kept = preferredLink(of(peerId), self);
    const [oldest] = of(peerId)
      .filter((link) => link !== kept)
      .sort((a, b) => a.openedAt - b.openedAt);
    if (oldest !== undefined) drop(oldest, 'too many connections of one peer');
  }

  function makeRoom(): void {
    const strangers = all().filter(({ direction, peerId }) => direction === 'inbound' && !isAdmitted(peerId));
    if (strangers.length <= unadmittedConnectionsMax) return;
    const evicted = linkToEvict(strangers);
    if (evicted === undefined) return;
    drop(evicted, 'too many connections of peers that are not admitted');
    onCrowded(evicted.host);
  }

  function refuseTooMany(link: Link, stream: Stream): void {
    if (isAdmitted(link.peerId) || stream.direction !== 'inbound') return;
    const open = link.connection.streams.filter(({ direction }) => direction === 'inbound').length;
    if (open > unadmittedStreamsMax) stream.abort(new Error('too many streams of a peer that is not admitted'));
  }

  function takeCost(link: Link): void {
    const { peerId, liveness, routed } = link;
    // What a way through others costs is the sum of its links, and said by routing.
    if (routed) return;
    if (liveness.roundTripMs === undefined || preferredLink(of(peerId), self) !== link) return;
    const cost = costs.get(peerId) ?? createLinkCost();
    costs.set(peerId, cost);
    if (!sampleCost(cost, liveness.roundTripMs, clock.elapsed()) || cost.saidMicroseconds === undefined) return;
    onCost(peerId, cost.saidMicroseconds);
  }

  function closeWhenIdle(link: Link): void {
    if (link.connection.streams.length > 0 || link.closedBecause !== undefined) return;
    link.closedBecause = 'a second connection to the peer was not needed';
    link.connection.close().catch((error) => link.connection.abort(error));
  }

  async function close(link: Link, reason: string): Promise<void> {
    link.closedBecause ??= reason;
    for (const stream of link.connection.streams) stream.abort(new Error(reason));
    await link.connection.close().catch(() => {
      // It is dropped below.
    });
    drop(link, reason);
  }

  return {
    add(connection) {
      const peerId = connection.remotePeer.toString();
      const now = clock.now();
      const remote = connection.remoteAddr.toString();
      const { direction } = connection;
      const routed = isRoutedAddress(remote);
      const muxer = muxerOf(connection);
      const link: Link = {
        ...{ peerId, direction, routed, connection, muxer },
        host: remote.split('/')[2] ?? '',
        openedAt: now,
        address: remote.replace(/\/p2p\/[^/]*$/, ''),
        liveness: keepAlive.begin({ peerId, routed, muxer, asksFirst: direction === 'outbound' }),
        closedBecause: undefined,
      };
      connection.addEventListener('close', ({ error }) => remove(link, error));
      link.muxer.onStream((stream) => refuseTooMany(link, stream));
      const others = of(peerId);
      links.set(peerId, [...others, link]);
      if (others.length === 0) onFirst(link);
      if (others.length >= connectionsPerPeerMax) closeOldest(peerId);
      makeRoom();
    },
    has: (peerId) => links.has(peerId),
    peers: () => [...links.keys()],
    preferred: (peerId) => preferredLink(of(peerId), self),
    facts(peerId) {
      const link = preferredLink(of(peerId), self);
      if (link === undefined) return undefined;
      const { address, openedAt, routed, host, muxer } = link;
      const carried = muxer.bytes();
      const bytes = carried && { sent: carried.sent, received: carried.received };
      const through = routed ? host : undefined;
      return { address, openedAtMs: openedAt, through, bytes, overdue: isOverdue(link.liveness, clock.elapsed()) };
    },
    costMicroseconds: (peerId) => costs.get(peerId)?.saidMicroseconds,
    async close(peerId, reason) {
      await Promise.all(of(peerId).map((link) => close(link, reason)));
    },
    dropAll(reason) {
      for (const link of all()) drop(link, reason);
    },
    markClosing(reason) {
      for (const link of all()) link.closedBecause ??= reason;
    },
    startKeepAlive: () => keepAlive.start(),
    stopKeepAlive: () => keepAlive.stop(),
    allowSilence: (peerId, silentMs) => keepAlive.allow(peerId, silentMs),
  };
}
