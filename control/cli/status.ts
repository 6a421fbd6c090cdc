// `selvedge status`: on a controller the fabric, on a worker that node alone.

import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { ApprovalView, StatusView } from '../views.ts';
import { type Context, contextOf, untilSignal } from './context.ts';
import { formatTime } from './durations.ts';
import type { Host } from './host.ts';
import { watchEveryMs } from './limits.ts';
import { applicationsTable, instancesTable, nodesTable } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

/** A box that belongs to no fabric: its code, and what to do with it. */
function approvalText(host: Host, status: StatusView, { code, expiresAt, waitingAt, trustLan }: ApprovalView): string {
  const waits = waitingAt.map(
    ({ fabricName, fabricId, peerId }) => `- ${printable(fabricName)} (${printable(fabricId)}), ${printable(peerId)}`,
  );
  const known =
    waits.length === 0 ? 'No fabric has answered yet; it goes on looking.' : `Waiting at:\n${waits.join('\n')}`;
  const parts = [
    `${printable(status.node)} belongs to no fabric yet.`,
    `Its code is ${host.style('bold', code)} until ${formatTime(expiresAt).slice(0, 8)}. On a controller of your fabric:\n  selvedge nodes approve ${code}`,
    known,
  ];
  if (trustLan) parts.push('It also joins a fabric that opens a window, when no other fabric answers here.');
  return parts.join('\n\n');
}

export function statusText(host: Host, status: StatusView): string {
  const fabric = `fabric ${printable(status.fabric.name)} (${printable(status.fabric.id)})`;
  const scope = status.scope === 'fabric' ? fabric : `node ${printable(status.node)} of ${fabric}`;
  const well = status.ok ? host.style('green', 'all is well') : host.style('red', 'not all is well');
  if (status.approval !== undefined) return approvalText(host, status, status.approval);
  const parts = [`${scope}: ${well}`];
  for (const notice of status.notices ?? []) parts.push(host.style('yellow', printable(notice)));
  if (!status.controllerReachable) {
    parts.push(host.style('yellow', 'No controller is reachable; this node goes on with the plan that it has.'));
  }
  if (status.problems.length > 0) parts.push(status.problems.map((problem) => `- ${printable(problem)}`).join('\n'));
  parts.push(nodesTable(host, status.nodes));
  if (status.applications.length > 0) parts.push(applicationsTable(host, status.applications));
  const instances = status.nodes.flatMap((node) => node.instances);
  const unplaced = status.applications.flatMap((application) =>
    application.instances.filter((instance) => instance.node === undefined),
  );
  if (instances.length + unplaced.length > 0) parts.push(instancesTable(host, [...instances, ...unplaced]));
  return parts.join('\n\n');
}

/** Shows the status again and again: a fresh screen on a terminal, else each that differs from the one before. */
async function watch(context: Context, signal: AbortSignal): Promise<void> {
  const { host, client, json } = context;
  let shown: StatusView | undefined;
  for (;;) {
    const status = await client.status();
    if (json) {
      if (!isDeepStrictEqual(status, shown)) host.out(JSON.stringify(status));
    } else if (host.columns !== undefined) {
      host.out(`\u001b[2J\u001b[H${formatTime(host.clock.now())}  (Ctrl-C ends this)\n\n${statusText(host, status)}`);
    } else if (!isDeepStrictEqual(status, shown)) {
      host.out(`${formatTime(host.clock.now())}\n${statusText(host, status)}\n`);
    }
    shown = status;
    await host.clock.sleep(watchEveryMs, signal);
  }
}

export function addStatus(program: Command, host: Host): void {
  subcommand(program, 'status', 'Show nodes, applications and what is not well.', '$ selvedge status --watch')
    .option('-w, --watch', 'go on showing it until Ctrl-C; with -o json one line for each change')
    .action(async (options: { watch?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      if (options.watch === true) return await untilSignal(host, (signal) => watch(context, signal));
      const status = await context.client.status();
      context.host.out(context.json ? JSON.stringify(status, undefined, 2) : statusText(host, status));
    });
}
