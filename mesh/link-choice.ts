// Which peers this node wants links to. Pure; node-runtime/links.ts asks after every change of what it knows.

import type { Address, PeerId } from './mesh.ts';

export interface KnownPeer {
  peerId: PeerId;
  /** Undefined until it has told us over an admitted link. */
  router: 'interior' | 'edge' | undefined;
  controller: boolean;
  addresses: readonly Address[];
  roundTripMs: number | undefined;
}

export interface LinkChoiceInput {
  self: PeerId;
  router: 'interior' | 'edge';
  known: readonly KnownPeer[];
  linked: ReadonlySet<PeerId>;
  /** Peers that serve what local instances call. */
  called: ReadonlySet<PeerId>;
}

/** An edge node keeps this many uplinks where it can: one may die without a gap. */
export const uplinksWanted = 2;
/** Without an uplink the box looks for its own kind on the LAN, but does not build a full mesh of it. */
export const islandLinksMax = 16;

/** Linked ones first, then closer ones, then by id: the choice does not flap. */
function preference(linked: ReadonlySet<PeerId>) {
  return (one: KnownPeer, other: KnownPeer): number =>
    Number(linked.has(other.peerId)) - Number(linked.has(one.peerId)) ||
    (one.roundTripMs ?? Number.POSITIVE_INFINITY) - (other.roundTripMs ?? Number.POSITIVE_INFINITY) ||
    (one.peerId < other.peerId ? -1 : 1);
}

/**
 * The peers to hold a link to. Interior routers link to every interior router and controller they know. Edge nodes take
 * their uplinks among those, and link directly to the nodes that their workloads call. Without any uplink a node links to
 * whom it finds, so that an island still knows who serves what.
 */
export function chooseLinks({ self, router, known, linked, called }: LinkChoiceInput): Set<PeerId> {
  const peers = known.filter((peer) => peer.peerId !== self && peer.addresses.length > 0);
  const upward = peers.filter((peer) => peer.router === 'interior' || peer.controller).sort(preference(linked));
  const wanted = new Set<PeerId>();
  for (const peer of router === 'interior' ? upward : upward.slice(0, uplinksWanted)) wanted.add(peer.peerId);
  for (const peer of peers) if (called.has(peer.peerId)) wanted.add(peer.peerId);
  if (!upward.some((peer) => linked.has(peer.peerId))) {
    // An interior router waits for edge nodes to come to it; of whom it knows nothing may be interior.
    const others = peers
      .filter((peer) => !upward.includes(peer) && (router === 'edge' || peer.router === undefined))
      .sort(preference(linked));
    for (const peer of others.slice(0, islandLinksMax)) wanted.add(peer.peerId);
  }
  return wanted;
}
