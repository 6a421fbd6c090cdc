// `selvedge wait`: until an application is ready. Also called by the demo.

import { type Command, Option } from 'commander';
import type { ApplicationView } from '../views.ts';
import type { Client } from './client.ts';
import { contextOf, print } from './context.ts';
import { formatDuration } from './durations.ts';
import { WaitedInVainError } from './errors.ts';
import type { Host } from './host.ts';
import { waitEveryMs } from './limits.ts';
import { durationOption, projectOption } from './options.ts';
import { withProgress } from './progress.ts';
import { subcommand } from './subcommand.ts';
import { printable } from './table.ts';

export interface WaitOptions {
  client: Client;
  host: Host;
  project: string;
  name: string;
  timeoutMs: number;
  everyMs?: number;
  signal?: AbortSignal;
}

/** Why it is not ready, for each instance. */
function reasons(application: ApplicationView): string {
  const lines = application.instances
    .filter((instance) => !instance.ready)
    .map(
      (one) => `  ${one.name} on ${one.node ?? 'no node'}: ${one.state}${one.reason === '' ? '' : `: ${one.reason}`}`,
    );
  return [printable(application.reason), ...lines.map(printable)].filter((line) => line !== '').join('\n');
}

/** Resolves once all instances of the newest generation are ready; throws WaitedInVainError with the reasons. */
export async function waitReady({
  client,
  host,
  project,
  name,
  timeoutMs,
  everyMs,
  signal,
}: WaitOptions): Promise<ApplicationView> {
  const deadline = host.clock.now() + timeoutMs;
  for (;;) {
    const application = await client.application(project, name);
    if (application.ready) return application;
    if (host.clock.now() >= deadline) {
      throw new WaitedInVainError(`${name} is not ready after ${formatDuration(timeoutMs)}: ${reasons(application)}`, {
        action: `See \`selvedge describe app ${name}\` and \`selvedge logs INSTANCE\`.`,
        retryable: true,
      });
    }
    await host.clock.sleep(everyMs ?? waitEveryMs, signal);
  }
}

function waiting(name: string, application: ApplicationView | undefined): string {
  if (application === undefined) return `waiting for ${name}`;
  const ready = application.instances.filter((instance) => instance.ready).length;
  return `${name}: ${ready} of ${application.instances.length} instances ready; ${printable(application.reason)}`;
}

export function addWait(program: Command, host: Host): void {
  subcommand(program, 'wait', 'Wait until an application is ready.', '$ selvedge wait cold-chain --timeout 2m')
    .argument('<application>', 'its name')
    .addOption(projectOption())
    .addOption(new Option('--for <condition>', 'what to wait for').choices(['ready']).default('ready'))
    .addOption(durationOption('--timeout <duration>', 'give up after this', '60s'))
    .action(async (name: string, options: { project: string; timeout: number }, command: Command) => {
      const context = contextOf(host, command);
      const { project, timeout: timeoutMs } = options;
      let last: ApplicationView | undefined;
      const client: Client = {
        ...context.client,
        application: async (...asked) => {
          last = await context.client.application(...asked);
          return last;
        },
      };
      const application = await withProgress(
        host,
        () => waiting(name, last),
        () => waitReady({ client, host, project, name, timeoutMs }),
      );
      print(context, application, () => `${name} is ready: ${application.instances.length} instances.`);
    });
}
