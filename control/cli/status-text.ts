// A status as text: on one screen, what is not well first. Called by status.ts. Pure but for the host's colours, size and clock.

import type { ApplicationView, ApprovalView, InstanceView, NodeView, StatusView } from '../views.ts';
import { formatTime } from './durations.ts';
import type { Host } from './host.ts';
import { screenRowsMin } from './limits.ts';
import { policyLine } from './policy-text.ts';
import { applicationsTable, instancesTable, nodesTable } from './render.ts';
import { indented, printable } from './table.ts';

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

/** `3 nodes, 2 connected` */
function counted(count: number, name: string, good: number, word: string): string {
  const all = `${count} ${name}${count === 1 ? '' : 's'}`;
  if (count === 0) return all;
  return good === count ? `${all} ${word}` : `${all}, ${good} ${word}`;
}

const isWell = (instance: InstanceView): boolean => instance.ready || instance.state === 'completed';

function allInstances(status: StatusView): InstanceView[] {
  const unplaced = status.applications.flatMap(({ instances }) => instances.filter(({ node }) => node === undefined));
  return [...status.nodes.flatMap(({ instances }) => instances), ...unplaced];
}

function summary({ nodes, applications, scope }: StatusView, instances: readonly InstanceView[]): string {
  const members = nodes.filter(({ state }) => state !== 'revoked');
  const connected = members.filter(({ state }) => state === 'connected').length;
  const ready = applications.filter((application) => application.ready).length;
  const parts = [counted(instances.length, 'instance', instances.filter(isWell).length, 'ready')];
  if (scope === 'fabric') {
    parts.unshift(
      counted(members.length, 'node', connected, 'connected'),
      counted(applications.length, 'application', ready, 'ready'),
    );
  }
  return parts.join(' · ');
}

interface Section<T> {
  items: readonly T[];
  isGood: (item: T) => boolean;
  show: (items: T[]) => string;
}

/** Of the section as much as fits so many lines, what is not well first, and how many are left out; at least one item. */
function fitting<T>(host: Host, { items, isGood, show }: Section<T>, lines: number): string {
  const ranked = [...items.filter((item) => !isGood(item)), ...items.filter(isGood)];
  for (let count = Math.min(items.length, Math.max(1, lines)); ; count -= 1) {
    const chosen = new Set(ranked.slice(0, count));
    const left = items.length - count;
    const bad = ranked.slice(count).filter((item) => !isGood(item)).length;
    const word = bad === 0 ? ', all well' : bad === left ? '' : `, ${bad} of them not well`;
    const more = left === 0 ? '' : `\n${host.style('dim', `and ${left} more${word} (--all shows them)`)}`;
    const text = show(items.filter((item) => chosen.has(item))) + more;
    if (count <= 1 || text.split('\n').length <= lines) return text;
  }
}

/** A heading, one row whose reason takes two lines, how many are left out, and an empty line. */
const sectionLinesMin = 5;

/** Is all well, and if not, what and why: on one screen, unless `all` is asked for or there is no screen. */
export function statusText(host: Host, status: StatusView, { all = false }: { all?: boolean } = {}): string {
  if (status.approval !== undefined) return approvalText(host, status, status.approval);
  const fabric = `fabric ${printable(status.fabric.name)}`;
  const where = status.scope === 'fabric' ? fabric : `node ${printable(status.node)} of ${fabric}`;
  const verdict = status.ok ? 'all is well' : 'not all is well';
  const withId = `${where} (${printable(status.fabric.id)})`;
  const scope = `${withId}: ${verdict}`.length <= (host.columns ?? Number.POSITIVE_INFINITY) ? withId : where;
  const well = host.style(status.ok ? 'green' : 'red', verdict);
  const instances = allInstances(status);
  const said = (style: 'dim' | 'yellow', text: string): string[] =>
    indented(host, text, 0)
      .split('\n')
      .map((line) => host.style(style, line));
  const head = [`${scope}: ${well}`, ...said('dim', summary(status, instances))];
  const own = status.nodes.find(({ name }) => name === status.node)?.policy;
  const policy = own && policyLine(own);
  if (policy !== undefined) head.push(...said('dim', `On ${printable(status.node)} ${policy}.`));
  for (const notice of status.notices ?? []) head.push(...said('yellow', printable(notice)));
  if (!status.controllerReachable) {
    head.push(...said('yellow', 'No controller is reachable; this node goes on with the plan that it has.'));
  }
  const sections = [
    {
      items: status.problems,
      isGood: () => false,
      show: (some: string[]) =>
        some
          .map((problem) => `${host.style('red', '-')} ${indented(host, printable(problem), 2).trimStart()}`)
          .join('\n'),
    } satisfies Section<string>,
    {
      items: status.nodes,
      isGood: (node) => node.state === 'revoked' || (node.state === 'connected' && node.upToDate),
      show: (some) => nodesTable(host, some),
    } satisfies Section<NodeView>,
    {
      items: status.applications,
      isGood: ({ ready }) => ready,
      show: (some) => applicationsTable(host, some),
    } satisfies Section<ApplicationView>,
    { items: instances, isGood: isWell, show: (some) => instancesTable(host, some) } satisfies Section<InstanceView>,
  ].filter(({ items }) => items.length > 0) as Section<unknown>[];
  const parts = [head.join('\n')];
  // The prompt takes a line.
  const rows = all || host.rows === undefined ? Number.POSITIVE_INFINITY : Math.max(screenRowsMin, host.rows) - 1;
  for (const [index, section] of sections.entries()) {
    const used = parts.join('\n\n').split('\n').length + 1;
    const later = (sections.length - 1 - index) * sectionLinesMin;
    // The first ones take no more than half, so that what they are about can be seen too.
    parts.push(fitting(host, section, Math.min(rows - used - later, index === sections.length - 1 ? rows : rows / 2)));
  }
  return parts.join('\n\n');
}
