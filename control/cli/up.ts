// `selvedge up`: this box's daemon, in the foreground or detached. The program's entry into node-runtime, and the only file of
// control that imports it.

import type { Command } from 'commander';
import type { Daemon, DaemonEvent, DaemonOptions } from '../../node-runtime/daemon.ts';
import { keepHeapDense } from '../../node-runtime/dense-heap.ts';
import { boxOptionNames, boxOptions } from '../box-options.ts';
import { asJson, type Context, contextOf } from './context.ts';
import { checkDaemonSettings, type DaemonSettings, withDaemonOptions } from './daemon-options.ts';
import { formatTime } from './durations.ts';
import { DaemonFailedError, NoDaemonError } from './errors.ts';
import type { Host } from './host.ts';
import { sameSignalMs } from './limits.ts';
import { type CountedStart, createCountedStart } from './start-pause.ts';
import { subcommand } from './subcommand.ts';
import { downStatus } from './systemd-unit.ts';
import { printable } from './table.ts';
import { startDetached } from './up-detach.ts';
import { asStartFailure } from './up-failure.ts';
import { readToken } from './up-token.ts';

export interface UpOptions extends DaemonSettings {
  detach?: boolean;
  exitWithParent?: boolean;
  supervised?: boolean;
}

const forcedStatus = 130;

function eventText(host: Host, event: DaemonEvent): string {
  const colour = event.type === 'problem' || event.type === 'refused' ? 'red' : 'cyan';
  const type = host.style(colour, printable(event.type).padEnd(11));
  return `${host.style('dim', formatTime(event.at))}  ${type}  ${printable(event.message)}`;
}

async function refuseWhenRunning({ client, dataFolder }: Context): Promise<void> {
  try {
    await client.ping();
  } catch (error) {
    if (error instanceof NoDaemonError) return;
    throw error;
  }
  throw new DaemonFailedError(`a daemon already runs on ${dataFolder}`, {
    action: 'See `selvedge status`; end it with `selvedge down`, or choose another data folder with --data.',
  });
}

interface Signals {
  /** Whether one came. */
  readonly came: boolean;
  undo(): void;
}

/** Stops it at the first signal; ends the process at a second one that is not the same Ctrl-C. */
function obeySignals({ host, json }: Context, daemon: Daemon, failed: (error: unknown) => void): Signals {
  let firstAt: number | undefined;
  const undo = host.onSignal((signal) => {
    const now = host.clock.now();
    if (firstAt === undefined) {
      firstAt = now;
      if (!json) host.error(`${signal}: stopping; what runs here goes on. Once more ends this at once.`);
      daemon.stop().catch(failed);
    } else if (now - firstAt > sameSignalMs) host.exit(forcedStatus);
  });
  return {
    get came() {
      return firstAt !== undefined;
    },
    undo,
  };
}

/** Resolves when the daemon has ended, with whether a signal had asked for it (else `selvedge down` had). */
async function runDaemon(
  context: Context,
  options: DaemonOptions,
  { exitWithParent, counted }: { exitWithParent: boolean; counted: CountedStart | undefined },
): Promise<boolean> {
  const { host, client } = context;
  keepHeapDense();
  const { startDaemon } = await import('../../node-runtime/daemon.ts');
  // A daemon outlives the reader of its output.
  host.onOutputClosed(() => {});
  const daemon = await startDaemon(options);
  counted?.started();
  const { promise: failure, reject: failed } = Promise.withResolvers<never>();
  const signals = obeySignals(context, daemon, failed);
  if (exitWithParent) {
    host.onInputEnd(() => void client.down(true).catch(() => daemon.stop().catch(failed)));
  }
  try {
    await Promise.race([daemon.closed, failure]);
    await counted?.forget();
    return signals.came;
  } finally {
    signals.undo();
  }
}

async function up(options: UpOptions, context: Context): Promise<void> {
  const { host, dataFolder, json } = context;
  checkDaemonSettings(options);
  const counted = options.supervised === true ? createCountedStart(host) : undefined;
  if ((await counted?.wait()) === false) return;
  const token = await readToken(options, host);
  await refuseWhenRunning(context);
  if (options.detach === true) return await startDetached({ options, token, context });
  // Workloads inherit the daemon's environment; the token is not theirs.
  delete host.env['SELVEDGE_TOKEN'];
  const daemonOptions: DaemonOptions = {
    dataFolder,
    labels: options.label,
    found: options.found === true,
    join: options.join,
    port: options.port,
    options: Object.fromEntries(
      boxOptions.flatMap((option) => (options[option] === undefined ? [] : [[option, options[option]]])),
    ),
    ...(options.forget !== undefined && { forget: options.forget }),
    ...(options.linkCost !== undefined && { linkCostsMs: options.linkCost }),
    ...(options.keepAlive !== undefined && { keepAlivesMs: options.keepAlive }),
    ...(options.name !== undefined && { name: options.name }),
    ...(options.router !== undefined && { router: options.router }),
    ...(options.fabric !== undefined && { fabricName: options.fabric }),
    ...(token !== undefined && { token }),
    ...(options.trustLan === true && { trustLan: true }),
    onEvent: (event) => host.out(json ? asJson(event) : eventText(host, event)),
  };
  let bySignal: boolean;
  try {
    bySignal = await runDaemon(context, daemonOptions, { exitWithParent: options.exitWithParent === true, counted });
  } catch (error) {
    throw asStartFailure(error);
  }
  // Whoever supervises it starts it again, unless it was ended on purpose.
  if (options.supervised === true && !bySignal) host.exit(downStatus);
}

export function addUp(program: Command, host: Host): void {
  withDaemonOptions(
    subcommand(
      program,
      'up',
      'Run the daemon of this box. Without options it goes on as before, or shows a code by which a fabric on the LAN can approve it.\n' +
        `${boxOptions.map((option) => `--${boxOptionNames[option]}`).join(', ')} are kept for later starts: given again, an option replaces what was kept of it, and --forget takes it back. --link-cost and --keep-alive count for this start alone.`,
      '$ selvedge up --found                              # the first box\n' +
        '$ selvedge up --name press-4                       # the others: `selvedge nodes approve CODE` on the first\n' +
        '$ selvedge up --token-file token --name press-4    # … or with a token\n' +
        '$ selvedge up --join 192.0.2.7:7433 --token-file token --detach',
    ),
  )
    .option('--detach', 'go on in the background; its output goes to selvedge.log in the data folder')
    .addOption(program.createOption('--supervised', 'say by the exit status that `down` ended it').hideHelp())
    .addOption(program.createOption('--exit-with-parent', 'end with all workloads when stdin ends').hideHelp())
    .action(async (options: UpOptions, command: Command) => await up(options, contextOf(host, command)));
}
