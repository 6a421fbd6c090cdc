// The graph of the fabric as its nodes' documents tell it: nodes, links, islands, and who cannot reach whom. Pure; called by
// status-reader.ts and, for one node alone, by the composition. What two nodes say of one link is put together and never averaged; what
// is old is said to be old.

import type { ObservedLink, ObservedNode, RouterMode } from './fabric.ts';
import { topologyLinksMax, unreachedShownMax } from './limits.ts';
import type { FabricFacts } from './status.ts';
import { pathsFrom } from './topology-paths.ts';

export interface TopologyNode {
  name: string;
  peerId: string;
  router: RouterMode;
  controller: boolean;
  /** Whether the node that answers hears it now. */
  state: 'connected' | 'unreachable';
  /** When it was heard last, while it is not. */
  lastSeenAt?: number;
  /** When it said what is known of its links, by its own clock. */
  saidAt?: number;
  /** Number of the island that it is on: 0 has the node that answers. */
  island: number;
  links: number;
  /** From the node that answers, over links that are up; undefined where no way is known. */
  route?: TopologyRoute;
}

export interface TopologyRoute {
  /** Undefined where the cost of a link on it is not known. */
  costMicroseconds?: number;
  /** The nodes between, in order. */
  through: string[];
}

export interface TopologyLink {
  nodes: [string, string];
  /** `one-sided`: only one end says so although both are heard. `stale`: as neither end that says so is heard any more. */
  state: 'up' | 'one-sided' | 'stale';
  /** Why it is not simply up; empty when it is. */
  reason: string;
  /** The dearer of what both ends say. */
  costMicroseconds?: number;
  roundTripMs?: number;
  since?: number;
  /** It is no link of its own: that node, or more, carry it. */
  through?: string;
  /** Why not directly, in the words of each end that has tried. */
  indirect?: { node: string; reason: string }[];
  /** From the first to the second and back, since it was opened. */
  bytes?: [number, number];
}

/** A node wants a link and has none. */
export interface UnreachedPeer {
  node: string;
  peer: string;
  reason: string;
  since: number;
}

export interface TopologyView {
  scope: 'fabric' | 'node';
  fabric: { id: string; name: string };
  /** The node that answers. */
  node: string;
  nodes: TopologyNode[];
  links: TopologyLink[];
  /** Links beyond what one answer holds. */
  linksLeftOut: number;
  unreached: UnreachedPeer[];
  /** Names by island, when there is more than one; the first has the node that answers. */
  islands: string[][];
}

export type TopologyFacts = Pick<FabricFacts, 'fabric' | 'self' | 'nodes' | 'mailboxes' | 'linked' | 'lastSeenAt'>;

interface Said {
  by: string;
  link: ObservedLink;
}

/** What both ends say of one link. */
interface Pair {
  first: string;
  second: string;
  /** By the end that says it. */
  said: Map<string, ObservedLink>;
}

/** Every link by its ends' names in order. A node speaks of its own links alone, once of each, and of members alone. */
function pairsOf({ nodes, mailboxes }: TopologyFacts): Pair[] {
  const names = new Map(nodes.flatMap(({ peerId, name, revoked }) => (revoked ? [] : [[peerId, name]])));
  const pairs = new Map<string, Pair>();
  const all = nodes.flatMap(({ name, revoked }): Said[] =>
    revoked ? [] : (mailboxes.get(name)?.node?.links ?? []).map((link) => ({ by: name, link })),
  );
  for (const { by, link } of all) {
    const other = names.get(link.peerId);
    if (other === undefined || other === by) continue;
    const [first, second] = by < other ? [by, other] : [other, by];
    const key = JSON.stringify([first, second]);
    const pair: Pair = pairs.get(key) ?? { first, second, said: new Map() };
    pairs.set(key, pair);
    if (!pair.said.has(by)) pair.said.set(by, link);
  }
  return [...pairs.values()].sort((one, other) =>
    one.first === other.first ? (one.second < other.second ? -1 : 1) : one.first < other.first ? -1 : 1,
  );
}

/** Undefined when who is heard says that there is none. */
function linkOf({ first, second, said }: Pair, heard: (node: string) => boolean, nameOf: (peerId: string) => string) {
  const ends = [first, second];
  const fresh = ends.filter(heard);
  const sayers = ends.filter((end) => said.has(end));
  const freshSayers = sayers.filter(heard);
  const judged = ((): Pick<TopologyLink, 'state' | 'reason'> | undefined => {
    if (freshSayers.length === 2) return { state: 'up', reason: '' };
    const [sayer] = freshSayers;
    const other = ends.find((end) => end !== sayer);
    if (sayer === undefined)
      return fresh.length > 0
        ? undefined
        : { state: 'stale', reason: `as ${sayers.join(' and ')} said when last heard` };
    if (heard(other ?? '')) return { state: 'one-sided', reason: `${sayer} says so, ${other} does not` };
    return { state: 'up', reason: `${sayer} says so; ${other} is not heard` };
  })();
  if (judged === undefined) return undefined;
  const counted = (freshSayers.length > 0 ? freshSayers : sayers).flatMap((end) => said.get(end) ?? []);
  const most = (values: (number | undefined)[]): number | undefined => {
    const known = values.filter((value) => value !== undefined);
    return known.length === 0 ? undefined : Math.max(...known);
  };
  const costMicroseconds = most(counted.map((link) => link.costMicroseconds));
  const roundTripMs = most(counted.map((link) => link.roundTripMs));
  const since = most(counted.map((link) => link.since));
  const carrier = counted.find(({ through }) => through !== undefined)?.through;
  const indirect = (freshSayers.length > 0 ? freshSayers : sayers).flatMap((node) => {
    const { through, indirect: why } = said.get(node) ?? {};
    return through === undefined || why === undefined ? [] : [{ node, reason: why }];
  });
  const bytes = bytesOf(said.get(first), said.get(second));
  const link: TopologyLink = {
    nodes: [first, second],
    ...judged,
    ...(costMicroseconds !== undefined && { costMicroseconds }),
    ...(roundTripMs !== undefined && { roundTripMs }),
    ...(since !== undefined && { since }),
    ...(carrier !== undefined && { through: nameOf(carrier) }),
    ...(indirect.length > 0 && { indirect }),
    ...(bytes !== undefined && { bytes }),
  };
  return link;
}

function bytesOf(one: ObservedLink | undefined, other: ObservedLink | undefined): [number, number] | undefined {
  const there = [one?.sentBytes, other?.receivedBytes].filter((count) => count !== undefined);
  const back = [one?.receivedBytes, other?.sentBytes].filter((count) => count !== undefined);
  // Both ends count, and speak at different times: the later one has more.
  return there.length > 0 && back.length > 0 ? [Math.max(...there), Math.max(...back)] : undefined;
}

/** Number of the island of each node: what is linked, or was when last heard. */
function islandsOf(names: readonly string[], links: readonly TopologyLink[], self: string): Map<string, number> {
  const neighbours = new Map<string, string[]>(names.map((name) => [name, []]));
  for (const {
    nodes: [one, other],
  } of links) {
    neighbours.get(one)?.push(other);
    neighbours.get(other)?.push(one);
  }
  const islands = new Map<string, number>();
  let count = 0;
  for (const start of [self, ...names]) {
    if (islands.has(start) || !neighbours.has(start)) continue;
    const queue = [start];
    islands.set(start, count);
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      for (const next of neighbours.get(name) ?? []) {
        if (islands.has(next)) continue;
        islands.set(next, count);
        queue.push(next);
      }
    }
    count += 1;
  }
  return islands;
}

/** When it was heard last: as this node knows, or as what it wrote says. */
export function lastHeardAt(
  peerId: string,
  observed: ObservedNode | undefined,
  lastSeenAt: TopologyFacts['lastSeenAt'],
): number | undefined {
  return lastSeenAt?.(peerId) ?? observed?.at;
}

export function topologyOf(facts: TopologyFacts): TopologyView {
  const { fabric, self, mailboxes, linked } = facts;
  const members = facts.nodes.filter(({ revoked }) => revoked === undefined);
  const nameByPeer = new Map(members.map(({ peerId, name }) => [peerId, name]));
  const nameOf = (peerId: string): string => nameByPeer.get(peerId) ?? peerId;
  const heardOnes = new Set(
    members.filter(({ name, peerId }) => name === self || linked(peerId)).map(({ name }) => name),
  );
  const heard = (name: string): boolean => heardOnes.has(name);
  const links = pairsOf(facts).flatMap((pair) => linkOf(pair, heard, nameOf) ?? []);
  const names = members.map(({ name }) => name);
  const islands = islandsOf(names, links, self);
  const routes = pathsFrom(self, members, links);
  const nodes = members.map((record): TopologyNode => {
    const { name, peerId, router, controller } = record;
    const observed = mailboxes.get(name)?.node;
    const seenAt = heard(name) ? undefined : lastHeardAt(peerId, observed, facts.lastSeenAt);
    const route = routes.get(name);
    return {
      ...{ name, peerId, router, controller, state: heard(name) ? 'connected' : 'unreachable' },
      ...(seenAt !== undefined && { lastSeenAt: seenAt }),
      ...(observed?.at !== undefined && { saidAt: observed.at }),
      island: islands.get(name) ?? 0,
      links: 0,
      ...(route !== undefined && name !== self && { route }),
    };
  });
  const byName = new Map(nodes.map((node) => [node.name, node]));
  for (const end of links.flatMap((link) => link.nodes)) {
    const node = byName.get(end);
    if (node !== undefined) node.links += 1;
  }
  const unreached = members.flatMap(({ name }) =>
    (heard(name) ? (mailboxes.get(name)?.node?.unreached ?? []) : []).map(({ peerId, reason, since }) => ({
      ...{ node: name, peer: nameOf(peerId), reason, since },
    })),
  );
  const grouped = Object.values(Object.groupBy(nodes, ({ island }) => island)).map((some = []) =>
    some.map(({ name }) => name),
  );
  return {
    ...{ scope: 'fabric', fabric, node: self, nodes },
    links: links.slice(0, topologyLinksMax),
    linksLeftOut: Math.max(0, links.length - topologyLinksMax),
    unreached: unreached.slice(0, unreachedShownMax),
    islands: grouped.length > 1 ? grouped : [],
  };
}

/** Of one node, as it knows itself: its own links, and the ways that it has. */
export function nodeTopologyOf({
  fabric,
  node,
  peerId,
  router,
  controller,
  links,
  unreached,
  routes,
  now,
}: Pick<TopologyView, 'fabric' | 'node'> &
  Pick<TopologyNode, 'peerId' | 'router' | 'controller'> & {
    links: readonly ObservedLink[];
    unreached: NonNullable<ObservedNode['unreached']>;
    /** By peer id, of others than this node, with the neighbours that are next. */
    routes: ReadonlyMap<string, { costMicroseconds: number; nextHops: readonly string[] }>;
    now: number;
  }): TopologyView {
  const names = new Map([[peerId, node], ...links.map((link): [string, string] => [link.peerId, link.node])]);
  const nameOf = (of: string): string => names.get(of) ?? of;
  const far = new Map<string, TopologyNode>();
  for (const link of links) {
    far.set(link.peerId, {
      ...{ name: link.node, peerId: link.peerId, router: link.router ?? 'edge', controller: false, state: 'connected' },
      ...{ island: 0, links: 1 },
    });
  }
  for (const [to, { costMicroseconds, nextHops }] of routes) {
    const known: TopologyNode = far.get(to) ?? {
      ...{
        name: nameOf(to),
        peerId: to,
        router: 'interior',
        controller: false,
        state: 'unreachable',
        island: 0,
        links: 0,
      },
    };
    const through = nextHops.filter((hop) => hop !== to).map(nameOf);
    far.set(to, { ...known, route: { costMicroseconds, through } });
  }
  const own: TopologyNode = {
    ...{ name: node, peerId, router, controller, state: 'connected', saidAt: now, island: 0, links: links.length },
  };
  return {
    ...{ scope: 'node', fabric, node, nodes: [own, ...far.values()], linksLeftOut: 0, islands: [] },
    links: links.map(({ node: name, costMicroseconds, roundTripMs, since, through, indirect, ...link }) => ({
      ...{ nodes: [node, name], state: 'up', reason: '' },
      ...(costMicroseconds !== undefined && { costMicroseconds }),
      ...(roundTripMs !== undefined && { roundTripMs }),
      ...(since !== undefined && { since }),
      ...(through !== undefined && { through: nameOf(through) }),
      ...(indirect !== undefined && { indirect: [{ node, reason: indirect }] }),
      ...(link.sentBytes !== undefined &&
        link.receivedBytes !== undefined && { bytes: [link.sentBytes, link.receivedBytes] }),
    })),
    unreached: unreached.map((one) => ({ node, peer: nameOf(one.peerId), reason: one.reason, since: one.since })),
  };
}
