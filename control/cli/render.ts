// Views as text: the tables that several commands print. Pure but for the host's colours and clock.

import type { ApplicationView, InstanceView, NodeView, PendingView } from '../views.ts';
import { formatDuration } from './durations.ts';
import type { Host } from './host.ts';
import { printable, table } from './table.ts';

const good = new Set(['running', 'completed', 'connected', 'ready', 'staged']);
const bad = new Set(['failed', 'backingOff', 'unreachable', 'unplaced', 'not ready']);

export function coloured(host: Host, state: string): string {
  if (good.has(state)) return host.style('green', state);
  return host.style(bad.has(state) ? 'red' : 'yellow', printable(state));
}

/** How long ago, or nothing. */
export function age(host: Host, at: number | undefined): string {
  return at === undefined ? '' : formatDuration(host.clock.now() - at);
}

export function labelsText(labels: Record<string, string>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${printable(key)}=${printable(value)}`)
    .join(' ');
}

export function nodesTable(host: Host, nodes: NodeView[]): string {
  const rows = nodes.map((node) => [
    printable(node.name),
    coloured(host, node.state),
    node.controller ? `${node.router}, controller` : node.router,
    String(node.links.length),
    String(node.instances.length),
    node.state === 'revoked' ? '' : node.upToDate ? 'yes' : host.style('yellow', 'no'),
    age(host, node.lastSeenAt),
  ]);
  const columns = [...['NODE', 'STATE', 'ROUTER', 'LINKS', 'INSTANCES', 'UP TO DATE'], { title: 'SEEN AGO', drop: 1 }];
  return table(host, columns, rows);
}

export function pendingTable(host: Host, pending: PendingView[]): string {
  const rows = pending.map(({ handle, name, address, platform, labels, trustLan, since, peerId }) => [
    printable(handle),
    printable(name),
    printable(address),
    printable(`${platform.os} ${platform.arch}`),
    labelsText(labels),
    trustLan ? 'yes' : 'no',
    age(host, since),
    printable(peerId),
  ]);
  return table(host, ['HANDLE', 'NAME', 'ADDRESS', 'PLATFORM', 'LABELS', 'TRUSTS LAN', 'WAITS FOR', 'PEER ID'], rows);
}

export function instancesTable(host: Host, instances: InstanceView[]): string {
  const rows = instances.map((instance) => [
    printable(instance.name),
    printable(instance.node ?? '-'),
    printable(instance.engine),
    coloured(host, instance.state),
    instance.ready ? host.style('green', 'yes') : 'no',
    instance.pid === undefined ? '' : String(instance.pid),
    String(instance.restarts),
    age(host, instance.since),
    reasonText(host, instance),
  ]);
  const columns = [
    ...['INSTANCE', 'NODE'],
    { title: 'ENGINE', drop: 2 },
    ...['STATE', 'READY'],
    { title: 'PID', drop: 1 },
    { title: 'RESTARTS', drop: 3 },
    { title: 'FOR', drop: 4 },
    { title: 'REASON', drop: 9 },
  ];
  return table(host, columns, rows);
}

function reasonText(host: Host, instance: InstanceView): string {
  const next = instance.nextTryAt === undefined ? undefined : instance.nextTryAt - host.clock.now();
  const retry = next === undefined || next <= 0 ? '' : `; next try in ${formatDuration(next)}`;
  return `${printable(instance.reason)}${retry}`;
}

export function applicationsTable(host: Host, applications: ApplicationView[]): string {
  const rows = applications.map((application) => [
    printable(application.name),
    printable(application.project),
    coloured(host, application.ready ? 'ready' : 'not ready'),
    String(application.generation),
    `${application.instances.filter((instance) => instance.ready).length}/${application.instances.length}`,
    age(host, application.appliedAt),
    printable(application.reason),
  ]);
  const columns = [
    ...['APPLICATION', 'PROJECT', 'STATE'],
    { title: 'GENERATION', drop: 2 },
    'READY',
    { title: 'APPLIED AGO', drop: 1 },
    { title: 'REASON', drop: 9 },
  ];
  return table(host, columns, rows);
}

/** `name  value` lines; nothing for values that are not there. */
export function facts(host: Host, pairs: [string, string | undefined][]): string {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  return shown.map(([name, value]) => `${host.style('bold', name.padEnd(width))}${value}`).join('\n');
}
