// Least cost routes of one router (Dijkstra 1959; RFC 2328, section 16.1), and what to do with a stream that is on its way. Pure; called
// by node-runtime/router.ts. It decides by costs alone: who is admitted or revoked was decided before the graph was made.
//
// Paths are compared by cost, then by hops: both add up and every link has at least 1 of each, so that each next hop is nearer to the
// destination than this router, and routers that hold the same link states never send in a circle. While they hold different ones, the
// hops that a stream may still take end it.

import { equalNextHopsMax, routeHopsMax } from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { GraphRouter, RouteGraph } from './route-graph.ts';

export interface Route {
  costMicroseconds: number;
  hops: number;
  /** The neighbours that are next on a path of this cost and length, in order of peer id. */
  nextHops: readonly PeerId[];
}

export interface Routes {
  /** Undefined when there is no path, and for this node itself. */
  to(peerId: PeerId): Route | undefined;
  /** All routers that can be reached, without the edge nodes that are attached to them. */
  routers(): ReadonlyMap<PeerId, Route>;
}

interface Label {
  router: GraphRouter;
  cost: number;
  hops: number;
  nextHops: readonly PeerId[];
  done: boolean;
}

/** Routes of `self` as the graph is now. An edge node at an end of a path is a leaf: no path goes through it. */
export function computeRoutes(graph: RouteGraph, self: PeerId): Routes {
  const labels = new Map<GraphRouter, Label>();
  const routers = new Map<PeerId, Route>();
  const leaves = new Map<PeerId, Route | undefined>();
  const root = graph.router(self);
  const heap: Label[] = [];
  if (root !== undefined) {
    const label: Label = { router: root, cost: 0, hops: 0, nextHops: [], done: false };
    labels.set(root, label);
    heap.push(label);
  }

  for (let near = pop(heap); near !== undefined; near = pop(heap)) {
    if (near.done) continue;
    near.done = true;
    const { router } = near;
    if (router !== root) routers.set(router.peerId, routeOf(near));
    if ((!router.forwards && router !== root) || near.hops >= routeHopsMax) continue;
    for (const [other, linkCost] of router.links) {
      const cost = near.cost + linkCost;
      const hops = near.hops + 1;
      const nextHops = router === root ? [other.peerId] : near.nextHops;
      const known = labels.get(other);
      const difference = known === undefined ? -1 : cost - known.cost || hops - known.hops;
      if (known !== undefined && difference === 0) known.nextHops = together(known.nextHops, nextHops);
      if (difference >= 0) continue;
      if (known !== undefined) known.done = true;
      const label: Label = { router: other, cost, hops, nextHops, done: false };
      labels.set(other, label);
      push(heap, label);
    }
  }

  /** A router's own link states count before anybody's word that it is an edge node of theirs. */
  function leafRoute(peerId: PeerId): Route | undefined {
    let best: Route | undefined;
    for (const [router, linkCost] of graph.attachedTo(peerId)) {
      const label = labels.get(router);
      if (label === undefined || label.hops >= routeHopsMax) continue;
      const costMicroseconds = label.cost + linkCost;
      const hops = label.hops + 1;
      const nextHops = router === root ? [peerId] : label.nextHops;
      const difference = best === undefined ? -1 : costMicroseconds - best.costMicroseconds || hops - best.hops;
      if (best !== undefined && difference === 0) best.nextHops = together(best.nextHops, nextHops);
      if (difference < 0) best = { costMicroseconds, hops, nextHops };
    }
    return best;
  }

  return {
    to(peerId) {
      const route = routers.get(peerId);
      if (route !== undefined || peerId === self) return route;
      if (!leaves.has(peerId) && graph.attachedTo(peerId).size > 0) leaves.set(peerId, leafRoute(peerId));
      return leaves.get(peerId);
    },
    routers: () => routers,
  };
}

export type Step =
  /** It is for this node. */
  | { type: 'deliver' }
  /** Any of them; each is told that one hop less is left. */
  | { type: 'forward'; nextHops: readonly PeerId[]; hopsLeft: number }
  | { type: 'refuse'; reason: string };

/** What to do with a stream that comes from a neighbour, or from this node itself (`from` undefined), with so many hops left. */
export function nextStep(
  { self, router, routes }: { self: PeerId; router: 'interior' | 'edge'; routes: Routes },
  { destination, from, hopsLeft }: { destination: PeerId; from: PeerId | undefined; hopsLeft: number },
): Step {
  if (destination === self) return { type: 'deliver' };
  if (router === 'edge' && from !== undefined) return { type: 'refuse', reason: 'an edge node does not forward' };
  const left = Math.min(hopsLeft, routeHopsMax);
  if (!(left >= 1)) return { type: 'refuse', reason: 'it has taken as many hops as it may' };
  // Back where it came from it can only go by two link states that contradict each other.
  const nextHops = (routes.to(destination)?.nextHops ?? []).filter((peerId) => peerId !== from);
  if (nextHops.length === 0) return { type: 'refuse', reason: 'no route to the node is known' };
  return { type: 'forward', nextHops, hopsLeft: left - 1 };
}

/** The same neighbours, those that are overdue last. */
export function overdueLast(neighbours: readonly PeerId[], isOverdue: (peerId: PeerId) => boolean): readonly PeerId[] {
  // Mostly there is nothing to choose.
  if (neighbours.length < 2) return neighbours;
  const overdue = new Set(neighbours.filter(isOverdue));
  return overdue.size === 0 ? neighbours : [...neighbours.filter((peerId) => !overdue.has(peerId)), ...overdue];
}

/**
 * The same step as neighbours are at this moment: those that are overdue come last, and when all are, a far end that is linked here is a way as
 * well, whatever its link costs. Nobody is nearer to it (a loop-free alternate: RFC 5286, section 3).
 */
export function stepNow(step: Step, { destination, isLinked, isOverdue }: StepNow): Step {
  if (step.type !== 'forward') return step;
  const { nextHops } = step;
  const isOther = !nextHops.includes(destination) && isLinked(destination) && nextHops.every(isOverdue);
  return { ...step, nextHops: isOther ? [destination, ...nextHops] : overdueLast(nextHops, isOverdue) };
}

export interface StepNow {
  destination: PeerId;
  isLinked: (peerId: PeerId) => boolean;
  /** As ConnectionFacts says, or because whoever asks had rather go another way. */
  isOverdue: (peerId: PeerId) => boolean;
}

function routeOf({ cost, hops, nextHops }: Label): Route {
  return { costMicroseconds: cost, hops, nextHops };
}

/** Both, in order, without repetition. */
function together(one: readonly PeerId[], other: readonly PeerId[]): readonly PeerId[] {
  if (one === other || (one.length === 1 && other.length === 1 && one[0] === other[0])) return one;
  return [...new Set([...one, ...other])].sort().slice(0, equalNextHopsMax);
}

const before = (one: Label, other: Label): boolean => (one.cost - other.cost || one.hops - other.hops) < 0;

/** Binary heap, the nearest first. */
function push(heap: Label[], label: Label): void {
  let at = heap.push(label) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent] as Label;
    if (!before(label, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = label;
}

function pop(heap: Label[]): Label | undefined {
  const nearest = heap[0];
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return nearest;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1] as Label, heap[child] as Label)) child++;
    const below = heap[child] as Label;
    if (!before(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
  return nearest;
}
