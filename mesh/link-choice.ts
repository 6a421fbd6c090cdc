// Which peers this node wants links to, which routers it measures before it wants them, and which uplinks it no longer needs. Pure;
// node-runtime/links.ts asks after every change of what it knows. It believes costs that this node has measured itself, and no others.

import { linkCostIsOther } from './link-cost.ts';
import type { Address, PeerId } from './mesh.ts';

export interface KnownPeer {
  peerId: PeerId;
  /** Undefined until it has told us over an admitted link. */
  router: 'interior' | 'edge' | undefined;
  controller: boolean;
  addresses: readonly Address[];
  /** A way to it through others is known. */
  routed: boolean;
  /** The link to it goes through others: it is no uplink. */
  indirect: boolean;
  /** Of a link to it, as an operator set it, or as it was measured. */
  costMicroseconds: number | undefined;
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
    byCost(one, other);
}

const costOf = ({ costMicroseconds }: KnownPeer): number => costMicroseconds ?? Number.POSITIVE_INFINITY;

function byCost(one: KnownPeer, other: KnownPeer): number {
  // Two that are not known would differ by NaN.
  return costOf(one) === costOf(other) ? (one.peerId < other.peerId ? -1 : 1) : costOf(one) - costOf(other);
}

/** Interior routers and controllers that it knows an address of, itself left out. */
const upwardOf = ({ self, known }: Pick<LinkChoiceInput, 'self' | 'known'>): KnownPeer[] =>
  known.filter(
    (peer) => peer.peerId !== self && peer.addresses.length > 0 && (peer.router === 'interior' || peer.controller),
  );

/**
 * The peers to hold a link to. Interior routers link to every interior router and controller they know. Edge nodes take
 * their uplinks among those, have a link to a controller whatever it costs, and link directly to the nodes that their workloads call. Without any uplink a node links to
 * whom it finds, so that an island still knows who serves what. To a node that is called and has no address that answers, the link goes
 * through others.
 */
export function chooseLinks({ self, router, known, linked, called }: LinkChoiceInput): Set<PeerId> {
  const peers = known.filter((peer) => peer.peerId !== self && (peer.addresses.length > 0 || peer.routed));
  const direct = peers.filter((peer) => peer.addresses.length > 0);
  const upward = upwardOf({ self, known }).sort(preference(linked));
  const wanted = new Set<PeerId>();
  const proven = upward.filter((peer) => peer.proven);
  const hinted = upward.filter((peer) => !peer.proven);
  if (router === 'interior')
    for (const peer of [...proven, ...hinted.slice(0, hintedLinksMax)]) wanted.add(peer.peerId);
  // Nobody's hints take the place of those that are proven.
  else {
    for (const among of [upward, proven]) for (const peer of uplinksAmong(among, linked)) wanted.add(peer.peerId);
    const controller = upward.find((peer) => peer.controller);
    if (controller !== undefined && !upward.some((peer) => peer.controller && wanted.has(peer.peerId)))
      wanted.add(controller.peerId);
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

/** The uplinks that are kept, and one that is clearly closer: until it is linked it takes nobody's place. */
function uplinksAmong(upward: readonly KnownPeer[], linked: ReadonlySet<PeerId>): KnownPeer[] {
  const preferred = upward.filter((peer) => !peer.indirect).sort(preference(linked));
  const standing = preferred.filter((peer) => linked.has(peer.peerId)).sort(byCost);
  const kept = [...standing, ...preferred.filter((peer) => !linked.has(peer.peerId))].slice(0, uplinksWanted);
  const [closest] = preferred
    .filter((peer) => !linked.has(peer.peerId) && !kept.includes(peer) && peer.failures === 0)
    .sort(byCost);
  const farthest = kept.at(-1);
  return closest !== undefined && farthest !== undefined && isCloser(closest, farthest) ? [...kept, closest] : kept;
}

/** By so much that it is no matter of a busy moment; of an uplink that is not measured yet nobody knows. */
function isCloser(one: KnownPeer, other: KnownPeer): boolean {
  if (one.costMicroseconds === undefined || other.costMicroseconds === undefined) return false;
  return one.costMicroseconds < other.costMicroseconds && linkCostIsOther(other.costMicroseconds, one.costMicroseconds);
}

/**
 * The uplinks of an edge node beyond those that it wants, the farthest first: their places have been taken. None while one of those
 * that are kept is not measured.
 */
export function surplusUplinks(input: LinkChoiceInput): PeerId[] {
  const { router, linked, called } = input;
  if (router === 'interior') return [];
  const standing = upwardOf(input)
    .filter((peer) => linked.has(peer.peerId) && !peer.indirect)
    .sort(byCost);
  if (standing.some((peer) => peer.costMicroseconds === undefined)) return [];
  const kept = standing.slice(0, uplinksWanted);
  const controllers = standing.filter((peer) => peer.controller);
  return standing
    .slice(uplinksWanted)
    .filter((peer) => !called.has(peer.peerId))
    .filter((peer) => !peer.controller || kept.some((one) => one.controller) || controllers[0] !== peer)
    .map((peer) => peer.peerId)
    .reverse();
}

/**
 * The routers that an edge node may measure, those first that were not measured, and then those whose measure is oldest. None while it lacks
 * uplinks: then it takes those that it gets.
 */
export function routersToMeasure(
  input: LinkChoiceInput,
  measuredAt: (peerId: PeerId) => number | undefined,
  orderOf: (peerId: PeerId) => number,
): KnownPeer[] {
  const upward = upwardOf(input).filter((peer) => !peer.indirect);
  const isLinked = ({ peerId }: KnownPeer): boolean => input.linked.has(peerId);
  if (input.router === 'interior' || upward.filter(isLinked).length < uplinksWanted) return [];
  const rank = ({ peerId }: KnownPeer): number => measuredAt(peerId) ?? Number.NEGATIVE_INFINITY;
  return upward
    .filter((peer) => !isLinked(peer))
    .map((peer) => ({ peer, at: rank(peer), order: orderOf(peer.peerId) }))
    .sort((one, other) => (one.at === other.at ? one.order - other.order : one.at - other.at))
    .map(({ peer }) => peer);
}
