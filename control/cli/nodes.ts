// `selvedge nodes list`, `describe`, `pending`, `approve` and `deny`.

import type { Command } from 'commander';
import type { RouterMode } from '../fabric.ts';
import type { NodeView, PendingView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { labelOption, routerOption } from './options.ts';
import { age, coloured, facts, instancesTable, labelsText, nodesTable, pendingTable } from './render.ts';
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

function pendingText(host: Host, pending: PendingView[]): string {
  if (pending.length === 0) return 'No box waits for approval. `selvedge up` on a new box makes it ask.';
  return `${pending.length} ${pending.length === 1 ? 'box waits' : 'boxes wait'} for approval; names and platforms are what they say of themselves:\n${pendingTable(host, pending)}`;
}

interface ApproveOptions {
  name?: string;
  label: Record<string, string>;
  router: RouterMode;
}

/** How boxes without a token become nodes. */
function addApproval(nodes: Command, host: Host): void {
  subcommand(nodes, 'pending', 'List the boxes that wait for approval.', '$ selvedge nodes pending -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const pending = await context.client.pending();
      print(context, pending, () => pendingText(host, pending));
    },
  );
  subcommand(
    nodes,
    'approve',
    'Admit the box that shows this code (`selvedge up` on it prints the code, `selvedge status` there repeats it).',
    '$ selvedge nodes approve K7-ABCD-EFGH-JK --name press-4 --label site=north',
  )
    .argument('<code>', 'the code that the box shows; case, dashes and blanks do not matter')
    .option('--name <name>', 'name of the node (default: what the box calls itself)')
    .addOption(labelOption('label of the node'))
    .addOption(routerOption('place in the mesh that it may have').default('edge'))
    .action(async (code: string, { name, label, router }: ApproveOptions, command: Command) => {
      const context = contextOf(host, command);
      // Every box that claims the handle is tried; one that was pushed out of the list gets time to come back.
      if (!context.json) host.error(host.style('dim', 'Asking the boxes that wait under this handle …'));
      const approved = await context.client.approve({
        code,
        labels: label,
        router,
        ...(name !== undefined && { name }),
      });
      print(
        context,
        approved,
        () => `${printable(approved.node)} is a node now (${approved.router}, ${approved.peerId}).`,
      );
    });
  subcommand(
    nodes,
    'deny',
    'Send away the boxes that wait under this handle, name or peer id; they are not listed again for an hour.',
    '$ selvedge nodes deny K7',
  )
    .argument('<who>', 'handle (the first two characters of the code), name, or peer id')
    .action(async (who: string, _options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const denied = await context.client.deny(who);
      print(context, denied, () =>
        denied.map(({ name, handle, peerId }) => `${printable(name)} (${handle}, ${peerId}) was denied.`).join('\n'),
      );
    });
}

export function addNodes(program: Command, host: Host): void {
  const nodes = subcommand(program, 'nodes', 'The nodes of the fabric.', '$ selvedge nodes list');
  subcommand(nodes, 'list', 'List the nodes.', '$ selvedge nodes list -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      if (context.json) return print(context, await context.client.nodes(), () => '');
      const [list, pending] = [await context.client.nodes(), await context.client.pending()];
      const parts = [nodesTable(host, list), ...(pending.length > 0 ? [pendingText(host, pending)] : [])];
      host.out(parts.join('\n\n'));
    },
  );
  subcommand(nodes, 'describe', 'Show all about one node.', '$ selvedge nodes describe edge-1')
    .argument('<name>', 'name of the node')
    .action(async (name: string, _options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const node = await context.client.node(name);
      print(context, node, () => nodeText(host, node));
    });
  addApproval(nodes, host);
}
