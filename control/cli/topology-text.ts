// A topology as tables: what is not as it should be first, as much as fits a screen or two unless all is wanted. Pure but for the host's
// colours, size and clock. Called by topology.ts.

import type { TopologyLink, TopologyNode, TopologyView } from '../topology.ts';
import { formatDate } from './durations.ts';
import { bytesText } from './hardware-text.ts';
import type { Host } from './host.ts';
import { topologyRowsShown } from './limits.ts';
import { age, coloured } from './render.ts';
import { indented, printable, table } from './table.ts';
import { costText } from './units.ts';

/** The rows that are shown, what is not well first, and a line that says how many are not. */
export function shownRows<T>(
  items: readonly T[],
  { all, isWell, rows = topologyRowsShown }: { all: boolean; isWell: (item: T) => boolean; rows?: number },
): { shown: T[]; more: string[] } {
  const ranked = [...items.filter((item) => !isWell(item)), ...items.filter(isWell)];
  const shown = all ? ranked : ranked.slice(0, rows);
  const left = items.length - shown.length;
  return { shown, more: left === 0 ? [] : [`and ${left} more (--all shows them)`] };
}

function wayText({ name, route }: TopologyNode, self: string): string {
  if (name === self) return 'this node';
  if (route === undefined) return '';
  const through = route.through.length === 0 ? 'directly' : `through ${route.through.map(printable).join(', ')}`;
  return route.costMicroseconds === undefined ? through : `${costText(route.costMicroseconds)} ${through}`;
}

function nodeRows(host: Host, topology: TopologyView, nodes: readonly TopologyNode[]): string[][] {
  return nodes.map((node) => [
    printable(node.name),
    // Of a worker's view: one that it only has a way to.
    topology.scope === 'node' && node.links === 0 && node.name !== topology.node ? 'known' : coloured(host, node.state),
    node.controller ? `${node.router}, controller` : node.router,
    String(node.links),
    age(host, node.lastSeenAt),
    wayText(node, topology.node),
  ]);
}

/** Who carries it, and why: one reason, of the end that comes first, is enough for a line. */
function throughText({ nodes, through, indirect = [] }: TopologyLink): string {
  if (through === undefined) return '';
  const [first] = indirect;
  const far = nodes.find((name) => name !== first?.node) ?? '';
  const why = first && `, as ${printable(first.node)} does not reach ${printable(far)}: ${printable(first.reason)}`;
  return `through ${printable(through)}${why ?? ''}`;
}

function linkRows(host: Host, links: readonly TopologyLink[]): string[][] {
  return links.map((link) => {
    const {
      nodes: [one, other],
      state,
      reason,
      costMicroseconds,
      roundTripMs,
      since,
      bytes,
    } = link;
    return [
      `${printable(one)} - ${printable(other)}`,
      state === 'up' ? host.style('green', state) : host.style('yellow', printable(state)),
      costMicroseconds === undefined ? '' : costText(costMicroseconds),
      roundTripMs === undefined ? '' : `${roundTripMs.toFixed(1)} ms`,
      bytes === undefined ? '' : bytesText(bytes[0] + bytes[1]),
      age(host, since),
      [throughText(link), printable(reason)].filter((text) => text !== '').join('; '),
    ];
  });
}

export function topologyText(host: Host, topology: TopologyView, { all }: { all: boolean }): string {
  const { fabric, node, scope, islands } = topology;
  const where = scope === 'fabric' ? '' : `, as ${printable(node)} knows it`;
  const parts = [
    `fabric ${printable(fabric.name)}${where}: ${topology.nodes.length} nodes, ${topology.links.length + topology.linksLeftOut} links`,
  ];
  if (islands.length > 1) {
    const { shown, more } = shownRows(islands, { all, isWell: () => true });
    const lines = shown.map((names, index) => {
      const some = shownRows(names, { all, isWell: () => true, rows: 20 });
      return indented(host, `island ${index + 1}: ${[...some.shown.map(printable), ...some.more].join(', ')}`, 2);
    });
    parts.push([`${islands.length} islands, with no link between them:`, ...lines, ...more].join('\n'));
  }
  const nodes = shownRows(topology.nodes, { all, isWell: ({ state }) => state === 'connected' });
  const nodeColumns = [
    ...['NODE', 'STATE', 'ROUTER', 'LINKS'],
    { title: 'HEARD AGO', drop: 1 },
    { title: 'WAY', drop: 9 },
  ];
  parts.push([table(host, nodeColumns, nodeRows(host, topology, nodes.shown)), ...nodes.more].join('\n'));
  const links = shownRows(topology.links, { all, isWell: ({ state }) => state === 'up' });
  const linkColumns = [
    ...['LINK', 'STATE', 'COST'],
    { title: 'ROUND TRIP', drop: 1 },
    { title: 'BYTES', drop: 3 },
    { title: 'FOR', drop: 2 },
    { title: 'REMARK', drop: 9 },
  ];
  if (topology.links.length > 0) {
    const leftOut = topology.linksLeftOut > 0 ? [`${topology.linksLeftOut} links are left out of the answer.`] : [];
    parts.push([table(host, linkColumns, linkRows(host, links.shown)), ...links.more, ...leftOut].join('\n'));
  }
  const unreached = shownRows(topology.unreached, { all, isWell: () => true });
  if (topology.unreached.length > 0) {
    const rows = unreached.shown.map((one) => [
      printable(one.node),
      printable(one.peer),
      formatDate(one.since),
      printable(one.reason),
    ]);
    parts.push([table(host, ['NODE', 'CANNOT LINK TO', 'SINCE', 'REASON'], rows), ...unreached.more].join('\n'));
  }
  return parts.join('\n\n');
}
