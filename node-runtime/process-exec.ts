// A command beside a process workload: the same names, folder, user and environment, in a session of its own. Called by
// process-engine.ts. It says nothing about the workload, and nothing of the command is left when it has ended.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readlink } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { carryEnvironment } from './carried-environment.ts';
import type { Clock, TimerId } from './clock.ts';
import type { ExecOptions, Execution } from './engine.ts';
import { ExecFailedError, ExecLeftError, InstanceNotRunningError } from './errors.ts';
import { makeExecMark } from './exec-mark.ts';
import { createExecOutput, feedInput, readOutput } from './exec-streams.ts';
import { withInheritedMask } from './file-modes.ts';
import { workloadEnvironment } from './launch-check.ts';
import { EXEC_OUTPUT_LOOKS_MAX, EXEC_OUTPUT_WAIT_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import type { Names } from './process-names.ts';
import type { NetworkTools } from './process-network.ts';
import type { ShimTools } from './process-shim.ts';
import { coverDescriptors } from './process-spawn.ts';
import { LAUNCH_VARIABLE, type Standing } from './process-standing.ts';
import { type ProcessTable, sendSignal } from './process-table.ts';
import { atTerminal, findTerminalTools, followSizes } from './process-terminal.ts';
import type { ProcessUsers } from './process-user.ts';

export interface ProcessExec {
  clock: Clock;
  table: ProcessTable;
  tools: ShimTools;
  standing: Standing & { kind: 'running' };
  folder: InstanceFolder;
  names: Names;
  users: ProcessUsers;
  /** Undefined where programs share the network of the box. */
  networks: Pick<NetworkTools, 'enter'> | undefined;
  nodeExecutableFolder: string;
  /** The workload's variables that are secret. */
  secretEnv: Record<string, string>;
}

export async function execBeside(beside: ProcessExec, command: string[], options: ExecOptions): Promise<Execution> {
  const { clock, table, tools, standing, folder, users } = beside;
  const { signal, session } = options;
  const terminal = session?.terminal;
  signal.throwIfAborted();
  const { launchId, env: given, instance, runAs } = standing.launch;
  const mark = makeExecMark({ clock, table });
  const { TERM, ...workload } = workloadEnvironment(
    { ...beside.secretEnv, ...given },
    process.env,
    beside.nodeExecutableFolder,
  );
  // At a terminal it is the terminal's.
  const variables = { ...workload, ...(TERM !== undefined && terminal === undefined && { TERM }) };
  const marks = { [LAUNCH_VARIABLE]: launchId, ...mark.env };
  const carried = carryEnvironment(tools.shell, variables, marks);
  const environment = runAs === undefined ? { ...variables, ...marks } : carried.env;
  const cwd = await folderOf(standing, folder);
  // The scripts are in what its user does not see.
  const own = runAs === undefined ? command : users.wrap(runAs, cwd, undefined, carried.unpack(command));
  const found = [tools.shell, `${tools.scripts}/exec.sh`, ...own];
  const named = await inItsNetwork(beside, found);
  const terminalTools = terminal && (await findTerminalTools());
  const line =
    terminal === undefined || terminalTools === undefined
      ? { command: named, env: environment }
      : atTerminal(terminalTools, tools, terminal, named, environment);
  const cover = await coverDescriptors();
  let child: ChildProcess;
  try {
    signal.throwIfAborted();
    const [file, ...rest] = line.command as [string, ...string[]];
    const covered = cover.stdio();
    child = withInheritedMask(() =>
      spawn(file, rest, {
        cwd,
        env: line.env,
        // A group of its own: what the command started is ended with it.
        detached: true,
        stdio: [
          ...([session === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] as const),
          ...(terminal === undefined ? covered : ['pipe' as const, ...covered.slice(1)]),
        ],
      }),
    );
  } finally {
    // The child has its own. Nobody waits: what comes before somebody reads is lost.
    cover.close().catch(() => undefined);
  }
  const killGroup = () => void (child.pid !== undefined && sendSignal(-child.pid, 'SIGKILL'));
  const { stdin, stdout, stderr } = child;
  const told = child.stdio[3] as Readable | null | undefined;
  /** Who left the group with our pipes in hand is not waited for. */
  const letGo = () => {
    for (const stream of [stdin, stdout, stderr, terminal && told]) stream?.destroy();
  };
  let late: TimerId | undefined;
  const over = new AbortController();
  signal.addEventListener('abort', killGroup, { once: true });
  try {
    const output = createExecOutput(options);
    const read = Promise.all([
      readOutput(stdout as Readable, 'stdout', output),
      readOutput(stderr as Readable, 'stderr', output),
    ]);
    if (session !== undefined) feedInput(session.input, stdin as Writable).catch(() => undefined);
    if (terminal !== undefined && terminalTools !== undefined)
      followSizes(terminalTools, told as Readable, terminal.resizes, over.signal).catch(() => undefined);
    const [status, ended] = (await once(child, 'exit').catch((error: Error) => {
      throw new ExecFailedError(instance, command[0] ?? '', error.message, { cause: error });
    })) as [number | null, NodeJS.Signals | null];
    over.abort();
    signal.throwIfAborted();
    // What it left would hold the pipes open.
    killGroup();
    // Looking for it takes a walk through /proc, which is too much for each probe.
    if (session !== undefined && !(await mark.end())) throw new ExecLeftError(instance, command[0] ?? '');
    /** The first look may come before what lies in the pipes was read: a busy box runs what is due before it looks at them. */
    const letGoLater = (looks: number, bytes: number | undefined): void => {
      late = clock.setTimeout(() => {
        const quiet = output.bytes() === bytes && !output.waiting();
        // A reader that is slow gets all of it.
        if (output.waiting() || (!quiet && (session !== undefined || looks < EXEC_OUTPUT_LOOKS_MAX)))
          letGoLater(looks + 1, output.bytes());
        else letGo();
      }, EXEC_OUTPUT_WAIT_MS);
    };
    letGoLater(1, undefined);
    await read;
    signal.throwIfAborted();
    return { status: status ?? undefined, signal: ended ?? undefined, output: output.text() };
  } catch (error) {
    if (signal.aborted && !(await mark.end())) throw new ExecLeftError(instance, command[0] ?? '');
    throw error;
  } finally {
    over.abort();
    clock.clearTimeout(late);
    letGo();
    signal.removeEventListener('abort', killGroup);
  }
}

/** With its names, and in its network where it has one. */
async function inItsNetwork({ standing, folder, names, networks }: ProcessExec, command: string[]): Promise<string[]> {
  const hosts = (await folder.hasHosts()) ? folder.hosts : undefined;
  if (standing.launch.network === undefined) return hosts === undefined ? command : names.wrap(hosts, command);
  if (standing.workload === undefined || networks === undefined)
    throw new InstanceNotRunningError(standing.launch.instance);
  return networks.enter(standing.workload.pid, standing.launch.network, hosts, command);
}

/** Where the workload is; its own folder where that is gone. */
async function folderOf({ workload }: Standing & { kind: 'running' }, { folder }: InstanceFolder): Promise<string> {
  if (workload === undefined) return folder;
  const cwd = await readlink(`/proc/${workload.pid}/cwd`).catch(() => folder);
  return access(cwd).then(
    () => cwd,
    () => folder,
  );
}
