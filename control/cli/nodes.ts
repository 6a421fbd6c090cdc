// `selvedge nodes list`, `describe`, `label`, `pending`, `approve`, `deny`, `revoke` and `remove`.

import { type Command, Option } from 'commander';
import type { RouterMode } from '../fabric.ts';
import type { NodeView, PendingView, RevokedView } from '../views.ts';
import { type Context, contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import { devicesTable, hardwareFacts } from './hardware-text.ts';
import type { Host } from './host.ts';
import { addLabel } from './nodes-label.ts';
import { labelOption, routerOption } from './options.ts';
import { policyFacts } from './policy-text.ts';
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
      ['revoked', node.revoked && `${formatDate(node.revoked.at)} ${printable(node.revoked.reason)}`.trimEnd()],
      ['router', node.controller ? `${node.router}, controller` : node.router],
      ['labels', labelsText(node.labels)],
      ['engines', node.engines.map(printable).join(' ')],
      ...policyFacts(node),
      ...hardwareFacts(node),
      ['admitted', node.admittedAt === undefined ? undefined : formatDate(node.admittedAt)],
      ['seen', node.lastSeenAt === undefined ? undefined : `${age(host, node.lastSeenAt)} ago`],
      ['plan', version && `generation ${version.generation} (epoch ${version.epoch}, term ${version.term})`],
      ['up to date', node.state === 'revoked' ? undefined : node.upToDate ? 'yes' : 'no'],
      ['addresses', node.addresses.map(printable).join('\n').replaceAll('\n', ' ')],
    ]),
  ];
  const devices = devicesTable(host, node);
  if (devices !== undefined) parts.push(devices);
  if (node.links.length > 0) {
    const rows = node.links.map((link) => [
      printable(link.node),
      printable(link.kind),
      link.roundTripMs === undefined ? '' : `${link.roundTripMs.toFixed(1)} ms`,
      printable(link.peerId),
    ]);
    parts.push(table(host, ['LINK TO', 'KIND', 'ROUND TRIP', 'PEER ID'], rows));
  }
  for (const condition of node.conditions ?? []) parts.push(host.style('red', printable(condition)));
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

function revokedText(view: RevokedView): string {
  const { node, peerId, already, removed, instances } = view;
  const lines = [`${printable(node)} (${peerId}) ${already ? 'was revoked already' : 'is revoked'}.`];
  if (removed) lines.push('Its record is removed; its key stays revoked, and its name is free.');
  for (const { name, node: place } of instances) {
    const where =
      place === undefined ? 'has no other place (`selvedge describe` says why)' : `goes to ${printable(place)}`;
    lines.push(`${printable(name)} ${where}.`);
  }
  return lines.join('\n');
}

const revocationMeans = `
A revocation cannot be taken back. Every node of the fabric closes what it has open with this one, and nobody accepts its
certificates, or those of its workloads, any more: within seconds where there is a link, and elsewhere as soon as there is
one again. Its work gets other places where other nodes may run it. What runs on the box itself goes on there, cut off from
the fabric, until somebody ends it on that box (\`selvedge down\`).
The key of the box is never admitted again, by token, approval or open window. A box that is to come back gets an empty data
folder, and joins as a new node.`;

/** How nodes leave. */
function addRevocation(nodes: Command, host: Host): void {
  const reason = () =>
    new Option('--reason <text>', 'why; every node, the ledger and `nodes describe` keep it').default('', 'none');
  subcommand(
    nodes,
    'revoke',
    'Take a node out of the fabric for good: stolen, broken into, or sold. It stays in the list, as revoked.',
    "$ selvedge nodes revoke press-4 --reason 'stolen from hall 2'",
  )
    .argument('<name>', 'name of the node')
    .addOption(reason())
    .addHelpText('after', revocationMeans)
    .action(async (name: string, options: { reason: string }, command: Command) => {
      const context = contextOf(host, command);
      const revoked = await context.client.revokeNode(name, options.reason);
      print(context, revoked, () => revokedText(revoked));
    });
  subcommand(
    nodes,
    'remove',
    'Revoke a node that is gone for good, and forget its record: its name is free again.',
    '$ selvedge nodes remove press-4',
  )
    .argument('<name>', 'name of the node')
    .addOption(reason())
    .addHelpText('after', revocationMeans)
    .action(async (name: string, options: { reason: string }, command: Command) => {
      const context = contextOf(host, command);
      const removed = await context.client.removeNode(name, options.reason);
      print(context, removed, () => revokedText(removed));
    });
}

/** Of a list on one line; `nodes pending` has them all. */
const othersShown = 5;

/** Said before a controller tries: when nobody has the handle, it gives one that was pushed out of the list time to come back. */
async function whatIsTried({ client }: Context, code: string): Promise<string> {
  const pending = await client.pending();
  // As a controller reads what was typed (pki/approval-code.ts), which refuses what is no code at once.
  const plain = code
    .toUpperCase()
    .replaceAll('O', '0')
    .replace(/[IL]/g, '1')
    .replace(/[^0-9A-Z]/g, '');
  const handle = plain.slice(0, 2);
  const its = pending.filter((one) => one.handle === handle).length;
  if (its > 0) return `Asking ${its === 1 ? 'the box that waits' : `the ${its} boxes that wait`} as ${handle} …`;
  const others = pending.map((one) => `${one.handle} (${printable(one.name)})`);
  const more = others.length > othersShown ? ', …' : '';
  const waiting =
    others.length === 0
      ? 'No box waits here now'
      : `No box waits as ${handle} now; these do: ${others.slice(0, othersShown).join(', ')}${more}`;
  return `${waiting}. Trying a few seconds more, for one that is just coming (Ctrl-C ends it) …`;
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
      if (!context.json) host.error(host.style('dim', await whatIsTried(context, code)));
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
  addLabel(nodes, host);
  addApproval(nodes, host);
  addRevocation(nodes, host);
}
