// `selvedge nodes list` and `nodes describe`.

import type { Command } from 'commander';
import type { NodeView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { age, coloured, facts, instancesTable, labelsText, nodesTable } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';

export function nodeText(host: Host, node: NodeView): string {
  const version = node.version;
  const parts = [
    facts(host, [
      ['node', printable(node.name)],
      ['peer id', printable(node.peerId)],
      ['state', coloured(host, node.state)],
      ['router', node.controller ? `${node.router}, controller` : node.router],
      ['labels', labelsText(node.labels)],
      ['engines', node.engines.map(printable).join(' ')],
      ['admitted', node.admittedAt === undefined ? undefined : formatDate(node.admittedAt)],
      ['seen', node.lastSeenAt === undefined ? undefined : `${age(host, node.lastSeenAt)} ago`],
      ['plan', version && `generation ${version.generation} (epoch ${version.epoch}, term ${version.term})`],
      ['up to date', node.upToDate ? 'yes' : 'no'],
      ['addresses', node.addresses.map(printable).join('\n').replaceAll('\n', ' ')],
    ]),
  ];
  if (node.links.length > 0) {
    const rows = node.links.map((link) => [
      printable(link.node),
      link.kind,
      link.roundTripMs === undefined ? '' : `${link.roundTripMs.toFixed(1)} ms`,
      printable(link.peerId),
    ]);
    parts.push(table(host, ['LINK TO', 'KIND', 'ROUND TRIP', 'PEER ID'], rows));
  }
  if (node.problems.length > 0) {
    parts.push(
      table(
        host,
        ['AT', 'PROBLEM'],
        node.problems.map(({ at, message }) => [formatDate(at), printable(message)]),
      ),
    );
  }
  if (node.instances.length > 0) parts.push(instancesTable(host, node.instances));
  return parts.join('\n\n');
}

export function addNodes(program: Command, host: Host): void {
  const nodes = subcommand(program, 'nodes', 'The nodes of the fabric.', '$ selvedge nodes list');
  subcommand(nodes, 'list', 'List the nodes.', '$ selvedge nodes list -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const list = await context.client.nodes();
      print(context, list, () => nodesTable(host, list));
    },
  );
  subcommand(nodes, 'describe', 'Show all about one node.', '$ selvedge nodes describe edge-1')
    .argument('<name>', 'name of the node')
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const node = await context.client.node(name);
      print(context, node, () => nodeText(host, node));
    });
}
