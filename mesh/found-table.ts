// Who was found on the local network, for how long that holds, and whether an answer is news. Called by discovery.ts.
// Bounded: a host that floods the network with names pushes out its own.

import type { Announcement } from './discovery-records.ts';
import { foundExpiryMs, foundPeersMax } from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface FoundTable {
  /** Says whether the peer is new or says something else than before. */
  hear(announcement: Announcement, nowMs: number, host: string): boolean;
  forget(peerId: PeerId): void;
  list(nowMs: number): Announcement[];
}

export function createFoundTable(): FoundTable {
  // A Map keeps insertion order; each hearing puts the peer last, so the first is the one not heard of for longest.
  const peers = new Map<PeerId, { announcement: Announcement; heardAt: number; host: string }>();

  function expire(nowMs: number): void {
    for (const [peerId, { heardAt }] of peers) {
      if (nowMs - heardAt < foundExpiryMs) return;
      peers.delete(peerId);
    }
  }

  /** Of the host that holds most, the peer not heard of for longest goes. */
  function makeRoom(): void {
    const counts = new Map<string, number>();
    let most: string | undefined;
    for (const { host } of peers.values()) {
      const count = (counts.get(host) ?? 0) + 1;
      counts.set(host, count);
      if (count > (counts.get(most ?? '') ?? 0) || most === undefined) most = host;
    }
    for (const [peerId, { host }] of peers) if (host === most) return void peers.delete(peerId);
  }

  return {
    hear(announcement, nowMs, host) {
      expire(nowMs);
      const before = peers.get(announcement.peerId)?.announcement;
      peers.delete(announcement.peerId);
      peers.set(announcement.peerId, { announcement, heardAt: nowMs, host });
      if (peers.size > foundPeersMax) makeRoom();
      return before === undefined || !same(before, announcement);
    },
    forget: (peerId) => peers.delete(peerId),
    list(nowMs) {
      expire(nowMs);
      return [...peers.values()].map(({ announcement }) => announcement);
    },
  };
}

function same(a: Announcement, b: Announcement): boolean {
  return a.fabricId === b.fabricId && [...a.addresses].sort().join() === [...b.addresses].sort().join();
}
