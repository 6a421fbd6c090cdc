// `selvedge stage`: fetches what an application needs to the nodes where it runs or would run, and starts nothing.

import type { Command } from 'commander';
import type { StageView } from '../views.ts';
import { sendManifests } from './apply.ts';
import { type Context, contextOf, print } from './context.ts';
import { formatDuration } from './durations.ts';
import { StageFailedError, UsageError, WaitedInVainError } from './errors.ts';
import type { Host } from './host.ts';
import { waitEveryMs } from './limits.ts';
import { durationOption, listOption, projectOption } from './options.ts';
import { withProgress } from './progress.ts';
import { stagedTable } from './staged-table.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

interface StageOptions {
  project: string;
  file: string[];
  timeout: number;
}

const things = (views: readonly StageView[]) => views.flatMap((view) => view.things);
const isOver = (views: readonly StageView[]): boolean =>
  things(views).every(({ state }) => state === 'staged' || state === 'failed');

function progressText(views: readonly StageView[]): string {
  const all = things(views);
  const there = all.filter(({ state }) => state === 'staged').length;
  const now = all.filter(({ state }) => state === 'pulling').map(({ node, reason }) => `${node}: ${reason}`);
  return printable([`${there} of ${all.length} are there`, ...now].join('; '));
}

function stageText(host: Host, views: readonly StageView[]): string {
  return views
    .map(({ project, application, things: of }) => {
      const name = `${printable(project)}/${printable(application)}`;
      return of.length === 0 ? `${name} needs nothing that is fetched` : `${name}\n${stagedTable(host, of)}`;
    })
    .join('\n\n');
}

function ask(
  { client, host }: Context,
  name: string | undefined,
  { project, file }: StageOptions,
): Promise<StageView[]> {
  if (name !== undefined) return client.stage({ project, application: name });
  return sendManifests(file, host, (documents, source) => client.stage({ documents, source }));
}

export function addStage(program: Command, host: Host): void {
  subcommand(
    program,
    'stage',
    'Fetch the images and modules of an application to the nodes where it runs or would run; nothing is started.\nWhat is not there after a day is given up. Exit code 1 when any of it fails.',
    '$ selvedge stage -f examples/cold-chain/app.yaml\n$ selvedge stage cold-chain --timeout 30m',
  )
    .argument('[application]', 'one that is applied')
    .addOption(projectOption())
    .addOption(listOption('-f, --file <file>', 'a manifest that need not be applied'))
    .addOption(durationOption('--timeout <duration>', 'wait no longer; nodes go on', '10m'))
    .action(async (name: string | undefined, options: StageOptions, command: Command) => {
      if ((name === undefined) === (options.file.length === 0))
        throw new UsageError('name one application, or files', {
          action: 'Write `selvedge stage APPLICATION` or `selvedge stage -f FILE`.',
        });
      const context = contextOf(host, command);
      const { clock } = host;
      const deadline = clock.now() + options.timeout;
      let views: StageView[] = [];
      await withProgress(
        host,
        () => progressText(views),
        async () => {
          views = await ask(context, name, options);
          while (!isOver(views) && clock.now() < deadline) {
            await clock.sleep(waitEveryMs);
            views = await Promise.all(
              views.map(({ project, application }) => context.client.staged(project, application)),
            );
          }
        },
      );
      print(context, { ok: things(views).every(({ state }) => state === 'staged'), applications: views }, () =>
        stageText(host, views),
      );
      const failed = things(views).filter(({ state }) => state === 'failed').length;
      if (failed > 0) throw new StageFailedError(failed, things(views).length);
      if (!isOver(views))
        throw new WaitedInVainError(`not everything is there after ${formatDuration(options.timeout)}`, {
          action: 'The nodes go on for a day; the same command waits again.',
          retryable: true,
        });
    });
}
