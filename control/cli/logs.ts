// `selvedge logs`: what an instance has written.

import type { Command } from 'commander';
import { contextOf, untilSignal } from './context.ts';
import { findInstance } from './find-instance.ts';
import type { Host } from './host.ts';
import { wholeNumber } from './options.ts';
import { subcommand } from './subcommand.ts';

const tailMax = 10_000;

export function addLogs(program: Command, host: Host): void {
  subcommand(program, 'logs', 'Show what an instance has written.', '$ selvedge logs monitor -f --tail 20')
    .argument('<instance>', 'its name, or as much of it as is unique')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'lines from the past', wholeNumber(0, tailMax), 200)
    .action(async (name: string, options: { follow?: boolean; tail: number }, command: Command) => {
      const { client, json } = contextOf(host, command);
      const instance = await findInstance(client, name);
      await untilSignal(host, async (signal) => {
        const wanted = { tail: options.tail, follow: options.follow === true };
        for await (const line of client.logs(instance.name, wanted, signal)) {
          if (json) host.out(JSON.stringify(line));
          else if (line.stream === 'stderr') host.error(line.text);
          else host.out(line.text);
        }
      });
    });
}
