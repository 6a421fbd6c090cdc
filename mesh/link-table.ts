// Which connection to use, close or evict, as functions of data. Called by libp2p-mesh.ts. Does no I/O.

import { duplicateConnectionMs } from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface LinkFacts {
  peerId: PeerId;
  direction: 'inbound' | 'outbound';
  /** The far end's IP address; of one through other nodes, the neighbour. */
  host: string;
  /** It goes through other nodes. */
  routed: boolean;
  openedAt: number;
}

/**
 * The connection that both ends use when there are several to one peer: a direct one before one through others, and one dialled by the peer with the lower id, so that
 * two that dialled each other agree without a word; of several, the newest, since an older one may be a leftover.
 */
export function preferredLink<Link extends LinkFacts>(links: readonly Link[], self: PeerId): Link | undefined {
  return links.reduce<Link | undefined>((best, link) => {
    if (best === undefined) return link;
    if (link.routed !== best.routed) return link.routed ? best : link;
    const better = Number(dialledByLower(link, self)) - Number(dialledByLower(best, self));
    if (better !== 0) return better > 0 ? link : best;
    return link.openedAt > best.openedAt ? link : best;
  }, undefined);
}

function dialledByLower(link: LinkFacts, self: PeerId): boolean {
  return (link.direction === 'outbound') === self < link.peerId;
}

/** Connections to one peer that nobody needs: not preferred, and old enough that both ends know the preferred one. */
export function redundantLinks<Link extends LinkFacts>(links: readonly Link[], self: PeerId, nowMs: number): Link[] {
  if (links.length < 2) return [];
  const kept = preferredLink(links, self);
  return links.filter((link) => link !== kept && nowMs - link.openedAt >= duplicateConnectionMs);
}

/** Of too many connections of strangers: the oldest one of the host that holds most, so that one host cannot keep others out. */
export function linkToEvict<Link extends LinkFacts>(strangers: readonly Link[]): Link | undefined {
  const perHost = new Map<string, number>();
  for (const { host } of strangers) perHost.set(host, (perHost.get(host) ?? 0) + 1);
  const most = Math.max(0, ...perHost.values());
  return strangers
    .filter(({ host }) => perHost.get(host) === most)
    .reduce<Link | undefined>(
      (oldest, link) => (oldest === undefined || link.openedAt < oldest.openedAt ? link : oldest),
      undefined,
    );
}
