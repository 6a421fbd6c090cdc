// The cheapest ways over the links that documents tell of, as routers find them (mesh/routes.ts) who know each other's link states at first
// hand: least cost, and no way through an edge node. Pure; called by topology.ts and trace.ts. It explains; no stream goes by it.

import type { RouterMode } from './fabric.ts';
import { unknownLinkCostMicroseconds } from './limits.ts';
import type { TopologyLink, TopologyRoute } from './topology.ts';

interface Way {
  /** With a guess for what is not known. */
  cost: number;
  known: boolean;
  through: string[];
}

/** Whether streams are carried by it: others are carried themselves, or are told of by one end alone. */
const carries = ({ state, through }: TopologyLink): boolean => state === 'up' && through === undefined;

/** By name, of everybody whom `from` can reach, itself among them. */
export function pathsFrom(
  from: string,
  nodes: readonly { name: string; router: RouterMode }[],
  links: readonly TopologyLink[],
): Map<string, TopologyRoute> {
  const forwards = new Set(nodes.flatMap(({ name, router }) => (router === 'interior' ? [name] : [])));
  const neighbours = new Map<string, { to: string; costMicroseconds: number | undefined }[]>();
  for (const {
    nodes: [one, other],
    costMicroseconds,
  } of links.filter(carries)) {
    neighbours.set(one, [...(neighbours.get(one) ?? []), { to: other, costMicroseconds }]);
    neighbours.set(other, [...(neighbours.get(other) ?? []), { to: one, costMicroseconds }]);
  }
  const ways = new Map<string, Way>([[from, { cost: 0, known: true, through: [] }]]);
  // Edge nodes are ends of ways: only routers wait for their turn, of which there are few.
  const waiting = new Set([from]);
  while (waiting.size > 0) {
    const costOf = (name: string): number => ways.get(name)?.cost ?? Number.POSITIVE_INFINITY;
    const near = [...waiting].reduce((best, name) => (costOf(name) < costOf(best) ? name : best));
    waiting.delete(near);
    const way = ways.get(near);
    if (way === undefined) continue;
    for (const { to, costMicroseconds } of neighbours.get(near) ?? []) {
      const cost = way.cost + (costMicroseconds ?? unknownLinkCostMicroseconds);
      if (cost >= costOf(to)) continue;
      const through = near === from ? [] : [...way.through, near];
      ways.set(to, { cost, known: way.known && costMicroseconds !== undefined, through });
      if (forwards.has(to)) waiting.add(to);
    }
  }
  return new Map(
    [...ways].map(([name, { cost, known, through }]) => [name, { ...(known && { costMicroseconds: cost }), through }]),
  );
}
