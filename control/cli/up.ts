// `selvedge up`: this box's daemon, in the foreground or detached. The program's entry into node-runtime, and the only file of
// control that imports it.

import type { Command } from 'commander';
import type { Daemon, DaemonEvent, DaemonOptions } from '../../node-runtime/daemon.ts';
import type { RouterMode } from '../fabric.ts';
import { type Context, contextOf } from './context.ts';
import { formatTime } from './durations.ts';
import { DaemonFailedError, NoDaemonError, UsageError } from './errors.ts';
import type { Host } from './host.ts';
import { sameSignalMs } from './limits.ts';
import { cidr, collect, labelOption, routerOption, wholeNumber } from './options.ts';
import { keepYoungGenerationSmall } from './small-heap.ts';
import { subcommand } from './subcommand.ts';
import { downStatus } from './systemd-unit.ts';
import { printable } from './table.ts';
import { startDetached } from './up-detach.ts';
import { asStartFailure } from './up-failure.ts';
import { readToken } from './up-token.ts';

export interface UpOptions {
  found?: boolean;
  fabric?: string;
  join: string[];
  token?: string;
  tokenFile?: string;
  name?: string;
  label: Record<string, string>;
  router?: RouterMode;
  port: number;
  containerRange?: string;
  detach?: boolean;
  trustLan?: boolean;
  exitWithParent?: boolean;
  supervised?: boolean;
}

export const defaultPort = 7433;
const forcedStatus = 130;

/** Throws UsageError when options contradict each other. */
export function checkUpOptions(options: UpOptions): void {
  const wrong = (message: string, action: string): never => {
    throw new UsageError(message, { action });
  };
  if (options.fabric !== undefined && options.found !== true) {
    wrong('--fabric names a fabric that is being founded', 'Add --found, or leave --fabric out.');
  }
  const joins = options.token !== undefined || options.tokenFile !== undefined || options.join.length > 0;
  if (options.found === true && joins) {
    wrong('--found makes a new fabric; --join and --token join one', 'Leave one of them out.');
  }
  if (
    options.trustLan === true &&
    (options.found === true || options.token !== undefined || options.tokenFile !== undefined)
  ) {
    wrong('--trust-lan joins a fabric without token', 'Leave it out, or --found and --token.');
  }
  if (options.token !== undefined && options.tokenFile !== undefined) {
    wrong('there is a token in --token and another in --token-file', 'Leave one of them out.');
  }
}

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
async function runDaemon(context: Context, options: DaemonOptions, exitWithParent: boolean): Promise<boolean> {
  const { host, client } = context;
  keepYoungGenerationSmall();
  const { startDaemon } = await import('../../node-runtime/daemon.ts');
  // A daemon outlives the reader of its output.
  host.onOutputClosed(() => {});
  const daemon = await startDaemon(options);
  const { promise: failure, reject: failed } = Promise.withResolvers<never>();
  const signals = obeySignals(context, daemon, failed);
  if (exitWithParent) {
    host.onInputEnd(() => void client.down(true).catch(() => daemon.stop().catch(failed)));
  }
  try {
    await Promise.race([daemon.closed, failure]);
    return signals.came;
  } finally {
    signals.undo();
  }
}

async function up(options: UpOptions, context: Context): Promise<void> {
  const { host, dataFolder, json } = context;
  checkUpOptions(options);
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
    ...(options.containerRange !== undefined && { containerRange: options.containerRange }),
    ...(options.name !== undefined && { name: options.name }),
    ...(options.router !== undefined && { router: options.router }),
    ...(options.fabric !== undefined && { fabricName: options.fabric }),
    ...(token !== undefined && { token }),
    ...(options.trustLan === true && { trustLan: true }),
    onEvent: (event) => host.out(json ? JSON.stringify(event) : eventText(host, event)),
  };
  let bySignal: boolean;
  try {
    bySignal = await runDaemon(context, daemonOptions, options.exitWithParent === true);
  } catch (error) {
    throw asStartFailure(error);
  }
  // Whoever supervises it starts it again, unless it was ended on purpose.
  if (options.supervised === true && !bySignal) host.exit(downStatus);
}

export function addUp(program: Command, host: Host): void {
  subcommand(
    program,
    'up',
    'Run the daemon of this box. Without options it goes on as before, or shows a code by which a fabric on the LAN can approve it.',
    '$ selvedge up --found                              # the first box\n' +
      '$ selvedge up --name press-4                       # the others: `selvedge nodes approve CODE` on the first\n' +
      '$ selvedge up --token-file token --name press-4    # … or with a token\n' +
      '$ selvedge up --join 192.0.2.7:7433 --token-file token --detach',
  )
    .option('--found', 'found a new fabric; this box is its first controller')
    .option('--fabric <name>', 'name of the fabric that is founded')
    .option('--join <address>', 'a node to ask when mDNS does not reach it; may be given several times', collect, [])
    .option(
      '--token <token>',
      'token to join with; other users of this box can see it: prefer SELVEDGE_TOKEN or --token-file',
    )
    .option('--token-file <file>', 'file that holds the token')
    .option(
      '--trust-lan',
      'join without code or token when exactly one fabric answers and its operator has opened a window',
    )
    .option('--name <name>', 'name of this node (default: the host name)')
    .addOption(labelOption('label of this node'))
    .addOption(routerOption('place in the mesh (default: interior for a controller, else what the token says)'))
    .option(
      '--port <number>',
      'TCP port for other nodes; 0 is any; another is taken when it is not free',
      wholeNumber(0, 65_535),
      defaultPort,
    )
    .option('--container-range <cidr>', 'addresses for containers and what they call (default: 198.18.0.0/15)', cidr)
    .option('--detach', 'go on in the background; its output goes to selvedge.log in the data folder')
    .addOption(program.createOption('--supervised', 'say by the exit status that `down` ended it').hideHelp())
    .addOption(program.createOption('--exit-with-parent', 'end with all workloads when stdin ends').hideHelp())
    .action(async (options: UpOptions, command: Command) => await up(options, contextOf(host, command)));
}
