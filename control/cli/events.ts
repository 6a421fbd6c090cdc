// `selvedge events`: what happened in the fabric, from the ledger.

import type { Command } from 'commander';
import type { EventView } from '../views.ts';
import { asJson, type Context, contextOf, print, untilSignal } from './context.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { followEveryMs } from './limits.ts';
import { wholeNumber } from './options.ts';
import { subcommand } from './subcommand.ts';
import { printable, table } from './table.ts';

const limitMax = 1_000;

function eventLine(host: Host, event: EventView): string {
  const type = printable(event.type).padEnd(24);
  return `${formatDate(event.at)}  ${host.style('cyan', type)}  ${printable(event.subject)}  ${printable(event.message)}`;
}

async function follow({ host, client, json }: Context, limit: number, signal: AbortSignal): Promise<void> {
  let events = await client.events({ limit });
  let after: string | undefined;
  for (;;) {
    for (const event of events) host.out(json ? asJson(event) : eventLine(host, event));
    after = events.at(-1)?.id ?? after;
    await host.clock.sleep(followEveryMs, signal);
    events = await client.events(after === undefined ? {} : { after });
  }
}

export function addEvents(program: Command, host: Host): void {
  subcommand(program, 'events', 'Show what happened in the fabric, oldest first.', '$ selvedge events --follow')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--limit <number>', 'the newest so many', wholeNumber(1, limitMax), 50)
    .action(async (options: { follow?: boolean; limit: number }, command: Command) => {
      const context = contextOf(host, command);
      if (options.follow === true) return await untilSignal(host, (signal) => follow(context, options.limit, signal));
      const events = await context.client.events({ limit: options.limit });
      print(context, events, () => {
        const rows = events.map((event) =>
          [formatDate(event.at), event.type, event.subject, event.message].map(printable),
        );
        return table(host, ['AT', 'TYPE', 'SUBJECT', 'MESSAGE'], rows);
      });
    });
}
