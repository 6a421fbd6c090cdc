// `selvedge logs`: what an instance has written.

import { type Command, InvalidArgumentError } from 'commander';
import { asJson, contextOf, untilSignal } from './context.ts';
import { formatDate, parseSince } from './durations.ts';
import { findLog } from './find-instance.ts';
import type { Host } from './host.ts';
import { wholeNumber } from './options.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

const tailMax = 10_000;
const grepCharactersMax = 256;

const examples = `$ selvedge logs monitor -f --tail 20
$ selvedge logs monitor --since 10m --grep error --ignore-case
$ selvedge logs monitor --since 2026-03-01T12:00:00Z -o json`;

interface LogOptions {
  follow?: boolean;
  tail: number;
  since?: number;
  grep?: string;
  ignoreCase?: boolean;
}

export function addLogs(program: Command, host: Host): void {
  subcommand(program, 'logs', 'Show what an instance has written.', examples)
    .argument('<instance>', 'its name, or as much of it as is unique; also one that was removed lately')
    .option('-f, --follow', 'go on until Ctrl-C')
    .option('--tail <lines>', 'lines from the past: the last ones that fit the rest', wholeNumber(0, tailMax), 200)
    .option(
      '--since <time>',
      "none older than this: 10m, 1h30m, or a time such as 2026-03-01T12:00:00Z, by the node's clock",
      parseSince(host.clock.now()),
    )
    .option('--grep <text>', 'only lines that contain this text; a text, no pattern', searchText)
    .option('--ignore-case', 'with --grep: capital and small letters are the same')
    .action(async (name: string, options: LogOptions, command: Command) => {
      const { client, json } = contextOf(host, command);
      const instance = await findLog(client, name);
      if ('goneAt' in instance) {
        const { name: whole, node, goneAt } = instance;
        const about = `${printable(whole)} is gone since ${formatDate(goneAt)}`;
        host.error(`${about}; these are its last lines, kept on ${printable(node)}:`);
      }
      await untilSignal(host, async (signal) => {
        const { tail, follow = false, since, grep, ignoreCase } = options;
        for await (const line of client.logs(instance.name, { tail, follow, since, grep, ignoreCase }, signal)) {
          if (json) host.out(asJson(line));
          else if (line.stream === 'stderr') host.error(line.text);
          else host.out(line.text);
        }
      });
    });
}

function searchText(text: string): string {
  if (text.length === 0 || text.length > grepCharactersMax) {
    throw new InvalidArgumentError(`Give a text of 1 to ${grepCharactersMax} characters.`);
  }
  return text;
}
