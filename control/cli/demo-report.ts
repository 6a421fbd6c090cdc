// What the demo says at its end: the table and hints for a reader, the one JSON object for a program. Called by demo.ts.

import { join } from 'node:path';
import type { InstanceView } from '../views.ts';
import type { DemoDaemon } from './demo-daemon.ts';
import type { DemoState } from './demo-fabric.ts';
import type { DemoFolder } from './demo-folder.ts';
import type { Host } from './host.ts';
import { demoLogLinesShown } from './limits.ts';
import { coloured } from './render.ts';
import { printable, table } from './table.ts';

export interface DemoResult {
  ok: true;
  nodes: number;
  joinMs: number[];
  applyToReadyMs: number;
  requests: { sent: number; ok: number };
  instances: Pick<InstanceView, 'name' | 'node' | 'engine' | 'state' | 'pid'>[];
  dashboard: string;
  /** Null with --keep: the line is printed while everything still runs. */
  teardownMs: number | null;
}

export function resultOf(state: DemoState, teardownMs: number | null): DemoResult {
  return {
    ok: true,
    nodes: state.daemons.length,
    joinMs: state.joinMs,
    applyToReadyMs: state.applyToReadyMs,
    requests: { ...state.requests },
    instances: state.instances.map(({ name, node, engine, state: runState, pid }) => ({
      name,
      ...(node !== undefined && { node }),
      engine,
      state: runState,
      ...(pid !== undefined && { pid }),
    })),
    dashboard: state.dashboard,
    teardownMs,
  };
}

export function whatRunsWhere(host: Host, { instances }: DemoState): string {
  const rows = instances.map((instance) => [
    printable(instance.microservice),
    instance.node ?? '',
    instance.engine,
    coloured(host, instance.state),
    String(instance.pid ?? ''),
    printable(instance.name),
  ]);
  return table(host, ['MICROSERVICE', 'NODE', 'ENGINE', 'STATE', 'PID', 'INSTANCE'], rows);
}

export function whatNext(host: Host, state: DemoState, folder: DemoFolder): string {
  const control = `npx selvedge --data ${join(folder.path, 'control')}`;
  const edge = `npx selvedge --data ${join(folder.path, 'edge-1')}`;
  return [
    `Dashboard: ${host.style(['bold', 'underline'], state.dashboard)}`,
    '',
    'To try next, in another terminal in this folder:',
    `  ${control} status --watch`,
    `  ${control} logs monitor -f`,
    `  ${control} describe app cold-chain`,
    `  ${control} events`,
    `  ${edge} status          # what an edge node knows by itself`,
    '',
    'Ctrl-C stops everything and leaves nothing behind.',
  ].join('\n');
}

/** The end of each node's output, for a failure. */
export function logsText(daemons: readonly DemoDaemon[]): string {
  return daemons
    .map((daemon) => {
      const lines = daemon
        .log()
        .slice(-demoLogLinesShown)
        .map((line) => `    ${printable(line)}`);
      const state = daemon.end === undefined ? 'runs' : daemon.end;
      return [`  ${daemon.name} (${state}); the end of its log:`, ...lines].join('\n');
    })
    .join('\n');
}
