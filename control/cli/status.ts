// `selvedge status`: on a controller the fabric, on a worker that node alone.

import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { ApplicationView, InstanceView, NodeView, StatusView } from '../views.ts';
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

/** A heading, one row, how many are left out, and an empty line. */
const sectionLinesMin = 4;

/** Is all well, and if not, what and why: on one screen, unless `all` is asked for or there is no screen. */
export function statusText(host: Host, status: StatusView, { all = false }: { all?: boolean } = {}): string {
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
      isGood: (node) => node.state === 'connected' && node.upToDate,
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
    parts.push(fitting(host, section, rows - used - later));
  }
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
