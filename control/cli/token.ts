// `selvedge token create`: admits another box.

import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { RouterMode } from '../fabric.ts';
import type { TokenView } from '../views.ts';
import { contextOf, print } from './context.ts';
import { formatDate } from './durations.ts';
import type { Host } from './host.ts';
import { durationOption, labelOption, routerOption, wholeNumber } from './options.ts';
import { withOutFile } from './out-file.ts';
import { labelsText } from './render.ts';
import { subcommand } from './subcommand.ts';

const tokenUsesMax = 1_000;

interface Options {
  uses: number;
  ttl: number;
  label: Record<string, string>;
  router: RouterMode;
  out?: string;
}

/** For who waits at the screen; not on stdout, where a script takes the token from. */
function explain(host: Host, made: TokenView, next: string): void {
  const labels = labelsText(made.labels);
  const what = `admits ${made.uses} ${made.uses === 1 ? 'node' : 'nodes'} (${made.router}${labels && `, ${labels}`})`;
  host.error(host.style('dim', `This token ${what} until ${formatDate(made.expiresAt)}. On the other box:`));
  host.error(host.style('dim', `  ${next}`));
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
    '$ selvedge token create --ttl 10m --label site=north --out token\n# then, with that file on the other box:\n$ selvedge up --token-file token',
  )
    .option('--uses <number>', 'boxes that it admits', wholeNumber(1, tokenUsesMax), 1)
    .addOption(durationOption('--ttl <duration>', 'how long it is valid', '1h', { from: '1m', to: '7d' }))
    .addOption(labelOption('label of the nodes that it admits'))
    .addOption(routerOption('place in the mesh of the nodes that it admits').default('edge'))
    .option('--out <file>', 'write the token to this new file, which its owner alone can read, instead of printing it')
    .action(async (options: Options, command: Command) => {
      const context = contextOf(host, command);
      const { uses, ttl, label, router } = options;
      const create = () => context.client.createToken({ uses, ttlMs: ttl, labels: label, router });
      if (options.out !== undefined) {
        const path = resolve(host.workingFolder, options.out);
        const made = await withOutFile(path, async () => {
          const { token, ...view } = await create();
          await writeFile(path, `${token}\n`);
          return { token, view };
        });
        return print(context, { ...made.view, path }, () => {
          explain(
            host,
            { ...made.view, token: made.token },
            'selvedge up --token-file FILE     (with a copy of this file)',
          );
          return `The token is in ${path}.`;
        });
      }
      const made = await create();
      print(context, made, () => {
        explain(host, made, 'SELVEDGE_TOKEN=… selvedge up     (or --token-file FILE)');
        return made.token;
      });
    });
}
