// `selvedge token create`: admits another box.

import type { Command } from 'commander';
import type { RouterMode } from '../fabric.ts';
import { contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { durationOption, labelOption, routerOption, wholeNumber } from './options.ts';
import { labelsText } from './render.ts';
import { subcommand } from './subcommand.ts';

const tokenUsesMax = 1_000;

interface Options {
  uses: number;
  ttl: number;
  label: Record<string, string>;
  router: RouterMode;
}

export function addToken(program: Command, host: Host): void {
  const token = subcommand(
    program,
    'token',
    'Tokens that admit boxes to the fabric.',
    '$ selvedge token create --uses 3',
  );
  subcommand(
    token,
    'create',
    'Make a token. Who has it can join: hand it over like a password.',
    '$ selvedge token create --ttl 10m --label site=north\n# then, on the other box:\n$ selvedge up --token-file token',
  )
    .option('--uses <number>', 'boxes that it admits', wholeNumber(1, tokenUsesMax), 1)
    .addOption(durationOption('--ttl <duration>', 'how long it is valid', '1h', { from: '1m', to: '7d' }))
    .addOption(labelOption('label of the nodes that it admits'))
    .addOption(routerOption('place in the mesh of the nodes that it admits').default('edge'))
    .action(async (options: Options, command: Command) => {
      const context = contextOf(host, command);
      const { uses, ttl, label, router } = options;
      const made = await context.client.createToken({ uses, ttlMs: ttl, labels: label, router });
      print(context, made, () => {
        const labels = labelsText(made.labels);
        const what = `admits ${made.uses} ${made.uses === 1 ? 'node' : 'nodes'} (${made.router}${labels && `, ${labels}`})`;
        host.error(`${host.style('dim', `This token ${what} until ${formatDate(made.expiresAt)}. On the other box:`)}`);
        host.error(host.style('dim', '  SELVEDGE_TOKEN=… selvedge up     (or --token-file FILE)'));
        return made.token;
      });
    });
}
