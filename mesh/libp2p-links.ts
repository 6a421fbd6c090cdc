// The connections of one node, by peer: which one is used, keep-alive, limits, and what closes when. Called by
// libp2p-mesh.ts. It opens nothing, knows no protocol, and never decides who is admitted.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { type Harm, harmOf } from './harm.ts';
import { createLiveness, judge, type KeepAliveSettings, type Liveness, sampleRoundTrip } from './keep-alive.ts';
import { type Connection, isRoutedAddress, type LinkMuxer, muxerOf, type Stream } from './libp2p-node.ts';
import {
  connectionsPerPeerMax,
  routedIntervalMs,
  routedSilentMsMax,
  unadmittedConnectionsMax,
  unadmittedStreamsMax,
} from './limits.ts';
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
  /** One through others ended, and neither side had closed it. */
  onBroken(link: Link): void;
  /** The first connection of a peer is there. */
  onFirst(link: Link): void;
  /** The last connection of a peer is gone. */
  onLast(link: Link, reason: string): void;
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
}

/** A pace of its own, and no faster than that of the links below. */
const routedKeepAlive: KeepAliveSettings = { intervalMs: routedIntervalMs, silentMsMax: routedSilentMsMax };

export function createLinks({
  self,
  clock,
  keepAlive,
  isAdmitted,
  onCrowded,
  onHarmed,
  onBroken,
  onFirst,
  onLast,
  onCost,
}: LinksOptions): Links {
  const links = new Map<PeerId, Link[]>();
  const costs = new Map<PeerId, LinkCost>();
  let beat: TimerId | undefined;
  let beatAt = 0;

  const of = (peerId: PeerId): Link[] => links.get(peerId) ?? [];
  const all = (): Link[] => [...links.values()].flat();

  function remove(link: Link, error: Error | undefined): void {
    const { peerId } = link;
    const left = of(peerId).filter((other) => other !== link);
    if (left.length === of(peerId).length) return;
    const harm = harmOf(error);
    if (harm !== undefined) onHarmed(link, harm);
    if (link.routed && error !== undefined && link.closedBecause === undefined) onBroken(link);
    if (left.length > 0) {
      links.set(peerId, left);
      return;
    }
    links.delete(peerId);
    costs.delete(peerId);
    onLast(link, link.closedBecause ?? error?.message ?? 'the other side closed the connection');
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

  // --- keep-alive

  function onBeat(): void {
    const now = clock.now();
    // This process was frozen or starved, or the box's clock was set: the peers' silence is ours.
    const late = now < beatAt || now - beatAt > 2 * keepAlive.intervalMs;
    beatAt = now;
    beat = clock.setTimeout(onBeat, keepAlive.intervalMs);
    for (const ofPeer of [...links.values()]) {
      for (const link of redundantLinks(ofPeer, self, now)) closeWhenIdle(link);
      for (const link of ofPeer) {
        if (late) link.liveness.heardAt = now;
        const verdict = judge(link.liveness, now, link.routed ? routedKeepAlive : keepAlive);
        if (verdict === 'ping') void ping(link, now);
        if (verdict !== 'dead') continue;
        if (link.routed) onBroken(link);
        drop(link, `no sign of life for ${now - link.liveness.heardAt} ms`);
      }
    }
  }

  async function ping(link: Link, now: number): Promise<void> {
    const { liveness, muxer } = link;
    liveness.pinging = true;
    liveness.pingedAt = now;
    // The clock counts whole milliseconds; a round trip on a LAN takes a fraction of one.
    const sentAt = performance.now();
    try {
      await muxer.ping();
      liveness.pinging = false;
      sampleRoundTrip(liveness, performance.now() - sentAt);
      takeCost(link);
    } catch {
      // The connection is closing; its event follows.
    }
  }

  function takeCost(link: Link): void {
    const { peerId, liveness, routed } = link;
    // What a way through others costs is the sum of its links, and said by routing.
    if (routed) return;
    if (liveness.roundTripMs === undefined || preferredLink(of(peerId), self) !== link) return;
    const cost = costs.get(peerId) ?? createLinkCost();
    costs.set(peerId, cost);
    if (!sampleCost(cost, liveness.roundTripMs, clock.now()) || cost.saidMicroseconds === undefined) return;
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
      const link: Link = {
        peerId,
        direction: connection.direction,
        host: remote.split('/')[2] ?? '',
        routed: isRoutedAddress(remote),
        openedAt: now,
        connection,
        muxer: muxerOf(connection),
        address: remote.replace(/\/p2p\/[^/]*$/, ''),
        liveness: createLiveness(now),
        closedBecause: undefined,
      };
      connection.addEventListener('close', ({ error }) => remove(link, error));
      link.muxer.onData(() => {
        link.liveness.heardAt = clock.now();
      });
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
      return { address, openedAtMs: openedAt, through: routed ? host : undefined, bytes: muxer.bytes() };
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
    startKeepAlive() {
      beatAt = clock.now();
      beat = clock.setTimeout(onBeat, keepAlive.intervalMs);
    },
    stopKeepAlive() {
      if (beat !== undefined) clock.clearTimeout(beat);
      beat = undefined;
    },
  };
}
