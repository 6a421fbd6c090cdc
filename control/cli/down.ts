// `selvedge down`: ends this box's daemon, and with --workloads what it runs.

import type { Command } from 'commander';
import { type Context, contextOf } from './context.ts';
import { DaemonFailedError, NoDaemonError } from './errors.ts';
import type { Host } from './host.ts';
import { downMs, waitEveryMs } from './limits.ts';
import { withProgress } from './progress.ts';
import { subcommand } from './subcommand.ts';

async function gone({ client, host }: Context): Promise<void> {
  const deadline = host.clock.now() + downMs;
  while (host.clock.now() < deadline) {
    try {
      await client.ping();
    } catch (error) {
      if (error instanceof NoDaemonError) return;
    }
    await host.clock.sleep(waitEveryMs);
  }
  throw new DaemonFailedError('the daemon still answers', {
    action: 'Look at its output; its process can be ended with SIGTERM, and workloads go on without it.',
  });
}

export function addDown(program: Command, host: Host): void {
  subcommand(program, 'down', 'End the daemon of this box; what it runs goes on.', '$ selvedge down --workloads')
    .option('--workloads', 'end what it runs too')
    .action(async (options: { workloads?: boolean }, command: Command) => {
      const context = contextOf(host, command);
      await withProgress(host, 'ending the daemon', async () => {
        await context.client.down(options.workloads === true);
        await gone(context);
      });
      host.out(
        options.workloads === true
          ? 'The daemon and its workloads have ended.'
          : 'The daemon has ended; its workloads go on.',
      );
    });
}
