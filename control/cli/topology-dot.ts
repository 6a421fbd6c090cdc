// A topology in the DOT language (graphviz.org/doc/info/lang.html). Pure. Names come from others: each is quoted, and none can end its
// quotes, begin an escape of a label, or steer a terminal.

import type { TopologyLink, TopologyView } from '../topology.ts';
import { bytesText } from './hardware-text.ts';
import { printable } from './table.ts';
import { costText } from './units.ts';

/** In quotes `"` ends, and a backslash begins what labels replace (`\N`, `\l`). */
const quoted = (text: string): string => `"${printable(text).replace(/[\\"]/g, '\\$&')}"`;

/** Lines of a label; each is text. */
const label = (lines: readonly string[]): string =>
  `"${lines
    .filter((line) => line !== '')
    .map((line) => quoted(line).slice(1, -1))
    .join('\\n')}"`;

const styles: Record<TopologyLink['state'], string> = { up: 'solid', 'one-sided': 'dashed', stale: 'dotted' };

/** An undirected graph; one cluster for each island when there are several. */
export function topologyDot({ fabric, nodes, links, islands }: TopologyView): string {
  const lines = [`graph ${quoted(fabric.name)} {`, '  node [shape=box, fontname="sans-serif"];'];
  // By peer id, of which there is one each: names of a view that a node gives of itself are what others say.
  const idOf = new Map(nodes.map(({ name, peerId }) => [name, peerId]));
  for (const { name, peerId, router, controller, state } of nodes) {
    const more = [controller ? `${router}, controller` : router, state === 'connected' ? '' : 'not heard'];
    const style = [...(router === 'interior' ? ['bold'] : []), ...(state === 'connected' ? [] : ['dotted'])];
    lines.push(`  ${quoted(peerId)} [label=${label([name, ...more])}, style=${quoted(style.join(',') || 'solid')}];`);
  }
  for (const {
    nodes: [one, other],
    state,
    costMicroseconds,
    bytes,
    through,
  } of links) {
    const about = label([
      costMicroseconds === undefined ? '' : costText(costMicroseconds),
      bytes === undefined ? '' : bytesText(bytes[0] + bytes[1]),
      through === undefined ? '' : `through ${through}`,
    ]);
    const ends = [one, other].map((name) => quoted(idOf.get(name) ?? name)).join(' -- ');
    lines.push(`  ${ends} [label=${about}, style=${styles[state] ?? 'dotted'}];`);
  }
  for (const [index, island] of islands.entries()) {
    const members = island.map((name) => quoted(idOf.get(name) ?? name)).join('; ');
    lines.push(`  subgraph ${quoted(`cluster_${index}`)} { label=${label([`island ${index + 1}`])}; ${members} }`);
  }
  return [...lines, '}'].join('\n');
}
