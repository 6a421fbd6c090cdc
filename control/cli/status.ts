// `selvedge status`: on a controller the fabric, on a worker that node alone.

import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import type { StatusView } from '../views.ts';
import { asJson, type Context, contextOf, untilSignal } from './context.ts';
import { formatTime } from './durations.ts';
import type { Host } from './host.ts';
import { watchEveryMs } from './limits.ts';
import { withProgress } from './progress.ts';
import { statusText } from './status-text.ts';
import { subcommand } from './subcommand.ts';

/** Shows the status again and again: a fresh screen on a terminal, else each that differs from the one before. */
async function watch(context: Context, all: boolean, signal: AbortSignal): Promise<void> {
  const { host, client, json } = context;
  let shown: StatusView | undefined;
  for (;;) {
    const status = await client.status();
    const text = (): string => statusText(host, status, { all });
    if (json) {
      if (!isDeepStrictEqual(status, shown)) host.out(asJson(status));
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
      context.host.out(context.json ? asJson(status, 2) : statusText(host, status, { all }));
    });
}
