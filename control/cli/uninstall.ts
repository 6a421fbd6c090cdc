// `selvedge uninstall`: ends what this box runs and its daemon, and removes the unit; the data folder only when told to.

import { lstat, readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { createClient } from './client.ts';
import { type Context, contextOf, type GlobalOptions, print } from './context.ts';
import { socketPathOf } from './data-folder.ts';
import { InstallError, NoDaemonError, UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { requireSystemd, untilItAnswers } from './install.ts';
import { uninstallWorkloadsMs, waitEveryMs } from './limits.ts';
import { subcommand } from './subcommand.ts';
import { createSystemd, type Systemd } from './systemd.ts';
import { settingsOf, unitName } from './systemd-unit.ts';

export interface UninstallOptions {
  purge?: boolean;
  keepWorkloads?: boolean;
}

/** The same context on the data folder that the unit names. */
function onFolder(context: Context, dataFolder: string): Context {
  return { ...context, dataFolder, client: createClient({ socketPath: socketPathOf(dataFolder) }) };
}

/** Only a daemon knows all that it runs, and ends it in order: one that is down is started for that. */
async function endWorkloads(context: Context, systemd: Systemd): Promise<void> {
  const { client, host } = context;
  const running = await client.ping().then(
    () => true,
    () => false,
  );
  if (!running) {
    try {
      await systemd.start();
      await untilItAnswers(context, systemd);
    } catch (error) {
      throw new InstallError(`what this box runs cannot be ended: ${(error as Error).message}`, {
        action: 'Mend the daemon, or leave workloads as they are with --keep-workloads.',
        cause: error,
      });
    }
  }
  await client.down(true);
  const deadline = host.clock.now() + uninstallWorkloadsMs;
  while (!['inactive', 'failed'].includes(await systemd.state())) {
    if (host.clock.now() > deadline) {
      throw new InstallError('the daemon still waits for a workload to end', { action: 'See `selvedge status`.' });
    }
    await host.clock.sleep(waitEveryMs);
  }
}

/** Refuses what does not look like a data folder: a wrong --data must not remove anything else. */
async function checkPurge(dataFolder: string): Promise<boolean> {
  const found = await lstat(dataFolder).catch(() => undefined);
  if (found === undefined) return false;
  const names = found.isDirectory() ? await readdir(dataFolder) : [];
  const ours = found.isDirectory() && (names.length === 0 || names.includes('identity.pem'));
  if (!ours || dirname(dataFolder) === '/') {
    throw new InstallError(`${dataFolder} does not look like a data folder of Selvedge; nothing was removed`, {
      action: 'Look at it, and remove it by hand.',
    });
  }
  return true;
}

async function refuseWhenRunning({ client, dataFolder }: Context): Promise<void> {
  try {
    await client.ping();
  } catch (error) {
    if (error instanceof NoDaemonError) return;
    throw error;
  }
  throw new InstallError(`a daemon that systemd did not start runs on ${dataFolder}`, {
    action: 'End it first: `selvedge down --workloads`.',
  });
}

export async function uninstall(
  { purge = false, keepWorkloads = false }: UninstallOptions,
  { context: given, dataGiven, systemd }: { context: Context; dataGiven: boolean; systemd: Systemd },
): Promise<void> {
  if (purge && keepWorkloads) {
    throw new UsageError('--purge removes the folders that workloads run in', {
      action: 'Leave --keep-workloads out.',
    });
  }
  await requireSystemd(given.host, systemd, 'uninstalling');
  const text = await systemd.readUnit();
  const settings = text === undefined ? undefined : settingsOf(text);
  if (text !== undefined && settings === undefined) {
    throw new InstallError(`\`selvedge install\` did not write ${systemd.unitPath}`, { action: 'Remove it by hand.' });
  }
  if (settings !== undefined && dataGiven && settings.dataFolder !== given.dataFolder) {
    throw new UsageError(`${unitName} runs on ${settings.dataFolder}, not on ${given.dataFolder}`, {
      action: 'Leave --data out.',
    });
  }
  const context = settings === undefined ? given : onFolder(given, settings.dataFolder);
  const { dataFolder } = context;
  const purges = purge && (await checkPurge(dataFolder));
  if (settings === undefined && purges) await refuseWhenRunning(context);
  if (settings !== undefined) {
    if (!keepWorkloads) await endWorkloads(context, systemd);
    await systemd.stop();
    await systemd.removeUnit();
    await systemd.removeToken();
  }
  if (purges) await rm(dataFolder, { recursive: true, force: true, maxRetries: 5 });
  print(context, { removed: settings !== undefined, purged: purges, dataFolder }, () =>
    [
      settings === undefined ? `${unitName} is not installed.` : `${unitName} is removed.`,
      keepWorkloads && settings !== undefined ? 'What it ran goes on; the next daemon on this folder adopts it.' : '',
      purges ? `${dataFolder} is removed.` : `The data stays in ${dataFolder}.`,
    ]
      .filter((line) => line !== '')
      .join('\n'),
  );
}

export function addUninstall(program: Command, host: Host): void {
  subcommand(
    program,
    'uninstall',
    'Undo `install`: end what this box runs and its daemon, and remove the unit. The data stays. Needs root.',
    '$ sudo selvedge uninstall\n$ sudo selvedge uninstall --purge',
  )
    .option('--purge', 'remove the data folder too: keys, certificates, and all that the box knew of its fabric')
    .option('--keep-workloads', 'leave what it runs as it is')
    .action(async (options: UninstallOptions, command: Command) => {
      const dataGiven = command.optsWithGlobals<GlobalOptions>().data !== undefined;
      await uninstall(options, { context: contextOf(host, command), dataGiven, systemd: createSystemd() });
    });
}
