// Which peers this node wants links to. Pure; node-runtime/links.ts asks after every change of what it knows.

import type { Address, PeerId } from './mesh.ts';

export interface KnownPeer {
  peerId: PeerId;
  /** Undefined until it has told us over an admitted link. */
  router: 'interior' | 'edge' | undefined;
  controller: boolean;
  addresses: readonly Address[];
  /** A way to it through others is known. */
  routed: boolean;
  roundTripMs: number | undefined;
  /** Failed attempts since it was last linked: what somebody invented falls behind. */
  failures: number;
  /** A signed fact, our enrollment, or its own word over an admitted link says what it is; not a neighbour's hint. */
  proven: boolean;
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

/** Interior routers that a neighbour told of are tried so many at a time. */
export const hintedLinksMax = 32;

/** Linked ones first, then those that failed less, then closer ones, then by id: the choice does not flap. */
function preference(linked: ReadonlySet<PeerId>) {
  return (one: KnownPeer, other: KnownPeer): number =>
    Number(linked.has(other.peerId)) - Number(linked.has(one.peerId)) ||
    one.failures - other.failures ||
    (one.roundTripMs ?? Number.POSITIVE_INFINITY) - (other.roundTripMs ?? Number.POSITIVE_INFINITY) ||
    (one.peerId < other.peerId ? -1 : 1);
}

/**
 * The peers to hold a link to. Interior routers link to every interior router and controller they know. Edge nodes take
 * their uplinks among those, and link directly to the nodes that their workloads call. Without any uplink a node links to
 * whom it finds, so that an island still knows who serves what. To a node that is called and has no address that answers, the link goes
 * through others.
 */
export function chooseLinks({ self, router, known, linked, called }: LinkChoiceInput): Set<PeerId> {
  const peers = known.filter((peer) => peer.peerId !== self && (peer.addresses.length > 0 || peer.routed));
  const direct = peers.filter((peer) => peer.addresses.length > 0);
  const upward = direct.filter((peer) => peer.router === 'interior' || peer.controller).sort(preference(linked));
  const wanted = new Set<PeerId>();
  const proven = upward.filter((peer) => peer.proven);
  const hinted = upward.filter((peer) => !peer.proven);
  if (router === 'interior')
    for (const peer of [...proven, ...hinted.slice(0, hintedLinksMax)]) wanted.add(peer.peerId);
  // Nobody's hints take the place of those that are proven.
  else {
    for (const peer of upward.slice(0, uplinksWanted)) wanted.add(peer.peerId);
    for (const peer of proven.slice(0, uplinksWanted)) wanted.add(peer.peerId);
  }
  for (const peer of peers) if (called.has(peer.peerId)) wanted.add(peer.peerId);
  if (!upward.some((peer) => linked.has(peer.peerId))) {
    // An interior router waits for edge nodes to come to it; of whom it knows nothing may be interior.
    const others = direct
      .filter((peer) => !upward.includes(peer) && (router === 'edge' || peer.router === undefined))
      .sort(preference(linked));
    for (const peer of others.slice(0, islandLinksMax)) wanted.add(peer.peerId);
  }
  return wanted;
}
