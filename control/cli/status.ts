// `selvedge status`: on a controller the fabric, on a worker that node alone.

import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { InstanceView, NodeView, StatusView } from '../views.ts';
import { type Context, contextOf, untilSignal } from './context.ts';
import { formatTime } from './durations.ts';
import type { Host } from './host.ts';
import { screenRowsMin, watchEveryMs } from './limits.ts';
import { withProgress } from './progress.ts';
import { applicationsTable, instancesTable, nodesTable } from './render.ts';
import { subcommand } from './subcommand.ts';
import { indented, printable } from './table.ts';

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
  const connected = nodes.filter(({ state }) => state === 'connected').length;
  const ready = applications.filter((application) => application.ready).length;
  const parts = [counted(instances.length, 'instance', instances.filter(isWell).length, 'ready')];
  if (scope === 'fabric') {
    parts.unshift(
      counted(nodes.length, 'node', connected, 'connected'),
      counted(applications.length, 'application', ready, 'ready'),
    );
  }
  return parts.join(' · ');
}

/** What is not well first; then of the rest as many as there is room for. Says how many are left out. */
function section<T>(
  host: Host,
  items: readonly T[],
  isGood: (item: T) => boolean,
  room: number,
  show: (items: T[]) => string,
): { text: string; lines: number } {
  if (items.length === 0) return { text: '', lines: 0 };
  const chosen = new Set(
    [...items.filter((item) => !isGood(item)), ...items.filter(isGood)].slice(0, Math.max(room, 1)),
  );
  const shown = items.filter((item) => chosen.has(item));
  const left = items.filter((item) => !chosen.has(item));
  const bad = left.filter((item) => !isGood(item)).length;
  const more = `and ${left.length} more${bad === 0 ? ', all well' : `, ${bad} of them not well`} (--all shows them)`;
  const text = show(shown) + (left.length === 0 ? '' : `\n${host.style('dim', more)}`);
  return { text, lines: text.split('\n').length + 1 };
}

/** Is all well, and if not, what and why: on one screen, unless `all` is asked for or there is no screen. */
export function statusText(host: Host, status: StatusView, { all = false }: { all?: boolean } = {}): string {
  const fabric = `fabric ${printable(status.fabric.name)} (${printable(status.fabric.id)})`;
  const scope = status.scope === 'fabric' ? fabric : `node ${printable(status.node)} of ${fabric}`;
  const well = status.ok ? host.style('green', 'all is well') : host.style('red', 'not all is well');
  const instances = allInstances(status);
  const head = [`${scope}: ${well}`, host.style('dim', summary(status, instances))];
  if (!status.controllerReachable) {
    head.push(host.style('yellow', 'No controller is reachable; this node goes on with the plan that it has.'));
  }
  const limited = !all && host.rows !== undefined;
  // The prompt takes a line, and so does the end of the last table.
  let room = limited ? Math.max(screenRowsMin, host.rows ?? 0) - head.length - 2 : Number.POSITIVE_INFINITY;
  const take = (part: number): number =>
    limited ? Math.max(2, Math.floor(room * part) - 3) : Number.POSITIVE_INFINITY;
  const parts = [head.map((line) => indented(host, line, 0)).join('\n')];
  const add = ({ text, lines }: { text: string; lines: number }): void => {
    if (text !== '') parts.push(text);
    room -= lines;
  };
  add(
    section(
      host,
      status.problems,
      () => false,
      take(1 / 2),
      (problems) =>
        problems
          .map((problem) => `${host.style('red', '-')} ${indented(host, printable(problem), 2).trimStart()}`)
          .join('\n'),
    ),
  );
  const isNodeWell = (node: NodeView): boolean => node.state === 'connected' && node.upToDate;
  add(section(host, status.nodes, isNodeWell, take(1 / 3), (nodes) => nodesTable(host, nodes)));
  add(
    section(
      host,
      status.applications,
      ({ ready }) => ready,
      take(1 / 2),
      (some) => applicationsTable(host, some),
    ),
  );
  add(section(host, instances, isWell, take(1), (some) => instancesTable(host, some)));
  return parts.join('\n\n');
}

/** Shows the status again and again: a fresh screen on a terminal, else each that differs from the one before. */
async function watch(context: Context, all: boolean, signal: AbortSignal): Promise<void> {
  const { host, client, json } = context;
  let shown: StatusView | undefined;
  for (;;) {
    const status = await client.status();
    const text = (): string => statusText(host, status, { all });
    if (json) {
      if (!isDeepStrictEqual(status, shown)) host.out(JSON.stringify(status));
    } else if (host.columns !== undefined) {
      // Over the last one, line by line: clearing first would flicker.
      const lines = `${formatTime(host.clock.now()).slice(0, 8)}  (Ctrl-C ends this)\n${text()}`.split('\n');
      const rows = all ? lines : lines.slice(0, (host.rows ?? lines.length + 1) - 1);
      host.out(`\u001b[H${rows.map((line) => `${line}\u001b[K`).join('\n')}\u001b[J`);
    } else if (!isDeepStrictEqual(status, shown)) {
      host.out(`${formatTime(host.clock.now())}\n${text()}\n`);
    }
    shown = status;
    await host.clock.sleep(watchEveryMs, signal);
  }
}

export function addStatus(program: Command, host: Host): void {
  subcommand(program, 'status', 'Show nodes, applications and what is not well.', '$ selvedge status --watch')
    .option('-w, --watch', 'go on showing it until Ctrl-C; with -o json one line for each change')
    .option('--all', 'show every node, application and instance, however many')
    .action(async (options: { watch?: boolean; all?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      const all = options.all === true;
      if (options.watch === true) {
        if (host.columns !== undefined && !context.json) host.out('\u001b[2J\u001b[H');
        return await untilSignal(host, (signal) => watch(context, all, signal));
      }
      const status = await withProgress(host, 'asking the daemon', () => context.client.status());
      context.host.out(context.json ? JSON.stringify(status, undefined, 2) : statusText(host, status, { all }));
    });
}
