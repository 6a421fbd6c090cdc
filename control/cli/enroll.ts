// `selvedge enroll open|close|status`: the window in which boxes started with --trust-lan are admitted without proof.

import type { Command } from 'commander';
import type { RouterMode } from '../fabric.ts';
import type { WindowView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { formatDate, formatDuration } from './durations.ts';
import { UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { durationOption, labelOption, listOption, routerOption, wholeNumber } from './options.ts';
import { facts, labelsText } from './render.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

const admissionsMax = 1_000;

interface OpenOptions {
  for: number;
  cidr: string[];
  max: number;
  label: Record<string, string>;
  router: RouterMode;
}

function windowText(host: Host, window: WindowView): string {
  const { until = 0, cidrs = [], max = 0, admitted = [], labels = {}, router = '' } = window;
  if (!window.open) return 'No window is open: boxes are admitted by code or token alone.';
  const left = formatDuration(until - host.clock.now());
  const lines = facts(host, [
    ['until', `${formatDate(until)} (${left})`],
    ['from', cidrs.map(printable).join(' ')],
    ['admitted', `${admitted.length} of ${max}${admitted.length > 0 ? `: ${admitted.map(printable).join(' ')}` : ''}`],
    ['router', router],
    ['labels', labelsText(labels)],
  ]);
  const warning = 'The window is open: boxes started with `selvedge up --trust-lan` join without proof.';
  return `${host.style('yellow', warning)}\n${everywhere(cidrs) ? `${host.style('yellow', fromAnywhere)}\n` : ''}${lines}`;
}

const fromAnywhere =
  'Its range holds every address there is: whoever reaches this controller joins. Give the range of your boxes.';
const everywhere = (cidrs: readonly string[]): boolean => cidrs.some((cidr) => cidr.endsWith('/0'));

export function addEnroll(program: Command, host: Host): void {
  const enroll = subcommand(
    program,
    'enroll',
    'A window in which boxes join without code or token: for a bench or a closed network.',
    '$ selvedge enroll open --for 10m --cidr 192.0.2.0/24 --max 5',
  );
  subcommand(
    enroll,
    'open',
    'Open the window. It closes by itself; boxes must have been started with `selvedge up --trust-lan`.',
    '$ selvedge enroll open --for 10m --cidr 192.0.2.0/24 --max 5 --label site=north',
  )
    .addOption(durationOption('--for <duration>', 'how long', '10m', { from: '10s', to: '1d' }))
    .addOption(listOption('--cidr <range>', 'where boxes may come from, such as 192.0.2.0/24'))
    .option('--max <number>', 'boxes that it admits', wholeNumber(1, admissionsMax), 10)
    .addOption(labelOption('label of the nodes that it admits'))
    .addOption(routerOption('place in the mesh of the nodes that it admits').default('edge'))
    .action(async (options: OpenOptions, command: Command) => {
      const context = contextOf(host, command);
      const { for: forMs, cidr: cidrs, max, label: labels, router } = options;
      if (cidrs.length === 0) {
        const action = 'Add --cidr with the range of your boxes, such as 192.0.2.0/24.';
        throw new UsageError('a window needs to know where boxes may come from', { action });
      }
      const window = await context.client.openWindow({ forMs, cidrs, max, labels, router });
      print(context, window, () => windowText(host, window));
    });
  subcommand(enroll, 'close', 'Close the window.', '$ selvedge enroll close').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const closed = await context.client.closeWindow();
      print(context, closed, () => {
        if (closed.admitted === undefined) return 'No window was open.';
        return `The window is closed; it admitted ${closed.admitted.length}.`;
      });
    },
  );
  subcommand(enroll, 'status', 'Show whether a window is open.', '$ selvedge enroll status -o json').action(
    async (_options: unknown, command: Command) => {
      const context = contextOf(host, command);
      const window = await context.client.window();
      print(context, window, () => windowText(host, window));
    },
  );
}
