// `selvedge install`: this box's daemon as a systemd unit, enabled and running. It writes the unit, the data folder and the token's
// file, founds the fabric if told to, and takes back what it wrote when the daemon does not come up.

import { chown, lstat, mkdir } from 'node:fs/promises';
import type { Command } from 'commander';
import type { StatusView } from '../views.ts';
import { type Context, contextOf, print } from './context.ts';
import { checkDaemonSettings, type DaemonSettings, withDaemonOptions } from './daemon-options.ts';
import { InstallError, NoDaemonError, UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { foundOnce } from './install-founding.ts';
import { type Account, accountOf } from './install-user.ts';
import { installJoinMs, installRestartsMax, installStartMs, waitEveryMs } from './limits.ts';
import { subcommand } from './subcommand.ts';
import { createSystemd, type Systemd } from './systemd.ts';
import { settingsDifferences, settingsOf, type UnitSettings, unitName, unitText } from './systemd-unit.ts';
import { daemonEnvironment, daemonNodeOptions, scriptPath, upArguments } from './up-detach.ts';
import { readToken } from './up-token.ts';

export interface InstallOptions extends DaemonSettings {
  user?: string;
}

/** What was there before: nothing, the same unit, or an older version's. */
type Before = 'nothing' | 'same' | 'older';

/** Rejects with InstallError when this cannot be done here. Called by uninstall.ts too. */
export async function requireSystemd(host: Host, systemd: Systemd, what: string): Promise<void> {
  if (!(await systemd.runsThisBox())) {
    throw new InstallError('this box is not run by systemd', {
      action: 'Let what runs it start `selvedge up`; or start it by hand with `selvedge up --detach`.',
    });
  }
  if (host.userId !== 0) throw new InstallError(`${what} needs root`, { action: 'Run it with sudo.' });
}

function settingsFor(options: InstallOptions, dataFolder: string): UnitSettings {
  // Founding is done once, by hand: a box that lost its data must not found another fabric by itself.
  const { found: _, fabric: __, ...lasting } = options;
  if (/[\\/]_npx[\\/]/.test(scriptPath)) {
    throw new InstallError('npx keeps the program in a folder that it clears', {
      action: 'Install it first: `npm install -g selvedge`.',
    });
  }
  const command = [
    process.execPath,
    ...daemonNodeOptions,
    scriptPath,
    ...upArguments(lasting, dataFolder),
    '--supervised',
  ];
  // A line break would end the line of the unit, and begin a setting of somebody else's.
  const odd = [...command, dataFolder].find((text) => /\p{Cc}/u.test(text));
  if (odd !== undefined) {
    throw new UsageError(`a control character in ${JSON.stringify(odd)}`, { action: 'Leave it out.' });
  }
  return {
    command,
    ...(options.user !== undefined && options.user !== 'root' && { user: options.user }),
    dataFolder,
    environment: daemonEnvironment,
  };
}

async function compare(systemd: Systemd, settings: UnitSettings): Promise<Before> {
  const text = await systemd.readUnit();
  if (text === undefined) return 'nothing';
  const there = settingsOf(text);
  if (there === undefined) {
    throw new InstallError(`${systemd.unitPath} is there, and \`selvedge install\` did not write it`, {
      action: 'Remove it, or go on using it.',
    });
  }
  const differences = settingsDifferences(there, settings);
  if (differences.length > 0) {
    throw new InstallError(`${unitName} is installed with other settings; ${differences.join('; ')}`, {
      action: 'To change them: `selvedge uninstall --keep-workloads`, then install again; data and workloads stay.',
    });
  }
  return text === unitText(settings) ? 'same' : 'older';
}

/** The data folder, closed for others, owned by whom the daemon runs as. */
async function prepareFolder(dataFolder: string, { name, uid, gid }: Account): Promise<void> {
  const first = await mkdir(dataFolder, { recursive: true, mode: 0o700 });
  if (first !== undefined) return await chown(dataFolder, uid, gid);
  const found = await lstat(dataFolder);
  if (!found.isDirectory())
    throw new InstallError(`${dataFolder} is no folder`, { action: 'Name another with --data.' });
  if (found.uid !== uid) {
    throw new InstallError(`${dataFolder} does not belong to ${name}`, {
      action: `Choose another folder, another --user, or \`chown -R ${name} ${dataFolder}\`.`,
    });
  }
}

async function answers({ client }: Context): Promise<boolean> {
  try {
    await client.ping();
    return true;
  } catch (error) {
    if (error instanceof NoDaemonError) return false;
    throw error;
  }
}

/** Resolves once the socket answers; rejects with the end of the daemon's journal when it does not. Called by uninstall.ts too. */
export async function untilItAnswers(context: Context, systemd: Systemd): Promise<void> {
  const { clock } = context.host;
  const startedAt = clock.now();
  while (clock.now() < startedAt + installStartMs) {
    if (await answers(context).catch(() => false)) return;
    if ((await systemd.state()) === 'failed' || (await systemd.restarts()) >= installRestartsMax) break;
    await clock.sleep(waitEveryMs);
  }
  const said = await systemd.journal(startedAt);
  throw new InstallError(`the daemon does not come up${said === '' ? '' : `; it said:\n${said}`}`, {
    action: `See \`journalctl -u ${unitName}\`.`,
    retryable: true,
  });
}

/** Its status once it belongs to a fabric, or after a while without. */
async function untilJoined({ client, host: { clock } }: Context, waits: boolean): Promise<StatusView> {
  const deadline = clock.now() + (waits ? installJoinMs : 0);
  for (;;) {
    const status = await client.status();
    if (status.fabric.id !== '' || clock.now() >= deadline) return status;
    await clock.sleep(waitEveryMs);
  }
}

export async function install(options: InstallOptions, context: Context, systemd: Systemd): Promise<void> {
  const { host, dataFolder } = context;
  checkDaemonSettings(options);
  await requireSystemd(host, systemd, 'installing');
  const token = await readToken(options, host);
  if (token !== undefined && !/^[\w.:+/=-]+$/.test(token)) {
    throw new UsageError('that is no token', { action: 'Make one with `selvedge token create`.' });
  }
  const settings = settingsFor(options, dataFolder);
  const account = await accountOf(options.user ?? 'root');
  const before = await compare(systemd, settings);
  const running = before !== 'nothing' && (await systemd.state()) === 'active';
  if (!running && (await answers(context))) {
    throw new InstallError(`a daemon that systemd did not start runs on ${dataFolder}`, {
      action: 'End it with `selvedge down`, and install again: what it runs goes on.',
    });
  }
  await prepareFolder(dataFolder, account);
  if (options.found === true && !running) await foundOnce(context, upArguments(options, dataFolder), account);
  try {
    if (token !== undefined) await systemd.writeToken(token);
    if (before !== 'same') await systemd.writeUnit(unitText(settings));
    await systemd.enable();
    // A token is read at the start.
    if (running && token !== undefined && (await untilJoined(context, false)).fabric.id === '') await systemd.stop();
    await systemd.start();
    await untilItAnswers(context, systemd);
  } catch (error) {
    if (before === 'nothing') await takeBack(systemd);
    throw error;
  }
  const status = await untilJoined(context, token !== undefined || options.trustLan === true);
  const joined = status.fabric.id !== '';
  // Used up: nothing of it needs to stay.
  if (joined) await systemd.removeToken();
  report(context, { systemd, before, status, joined });
}

async function takeBack(systemd: Systemd): Promise<void> {
  await systemd.stop().catch(() => undefined);
  await systemd.removeUnit().catch(() => undefined);
  await systemd.removeToken();
}

function report(
  context: Context,
  { systemd, before, status, joined }: { systemd: Systemd; before: Before; status: StatusView; joined: boolean },
): void {
  const { dataFolder } = context;
  const { node, fabric } = status;
  const unit = { nothing: 'installed', same: 'unchanged', older: 'updated' }[before];
  print(context, { unit: systemd.unitPath, change: unit, dataFolder, node, joined, fabric }, () =>
    [
      {
        nothing: `${unitName} is installed; it runs, and starts at each boot.`,
        same: `${unitName} was installed like this already, and runs.`,
        older: `${unitName} is brought up to date, and runs; \`systemctl restart selvedge\` lets all of it take effect.`,
      }[before],
      joined
        ? `This box is ${node} of the fabric ${fabric.name}.`
        : 'This box belongs to no fabric yet; it goes on looking for one. `selvedge status` shows its code, or why not.',
    ].join('\n'),
  );
}

export function addInstall(program: Command, host: Host): void {
  withDaemonOptions(
    subcommand(
      program,
      'install',
      'Let systemd run the daemon of this box: now, at each boot, and again whenever it ends. Needs root.\n' +
        'The options are those of `up`. Running it again with the same options changes nothing.',
      '$ sudo selvedge install --found                           # the first box\n' +
        '$ sudo selvedge install --token-file token --name press-4   # the others',
    ),
  )
    .option('--user <name>', 'run it as this user (default: root; what others than root lack: see docs/install.md)')
    .action(async (options: InstallOptions, command: Command) => {
      await install(options, contextOf(host, command), createSystemd());
    });
}
