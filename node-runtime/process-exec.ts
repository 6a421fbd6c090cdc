// A command beside a process workload: the same names, folder, user and environment, in a session of its own. Called by
// process-engine.ts. It says nothing about the workload, and nothing of the command is left when it has ended.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import type { Clock, TimerId } from './clock.ts';
import type { ExecOptions, Execution } from './engine.ts';
import { ExecFailedError } from './errors.ts';
import { createExecOutput, feedInput, readOutput } from './exec-streams.ts';
import { workloadEnvironment } from './launch-check.ts';
import { EXEC_OUTPUT_WAIT_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import type { Names } from './process-names.ts';
import { coverDescriptors } from './process-spawn.ts';
import { LAUNCH_VARIABLE, type Standing } from './process-standing.ts';
import { sendSignal } from './process-table.ts';
import type { ProcessUsers } from './process-user.ts';

export interface ProcessExec {
  clock: Clock;
  standing: Standing & { kind: 'running' };
  folder: InstanceFolder;
  names: Names;
  users: ProcessUsers;
  nodeExecutableFolder: string;
}

export async function execBeside(
  { clock, standing, folder, names, users, nodeExecutableFolder }: ProcessExec,
  command: string[],
  options: ExecOptions,
): Promise<Execution> {
  const { signal, session } = options;
  signal.throwIfAborted();
  const { launchId, env, instance, runAs } = standing.launch;
  const pid = standing.workload?.pid;
  const cwd = pid === undefined ? folder.folder : await readlink(`/proc/${pid}/cwd`).catch(() => folder.folder);
  const own = runAs === undefined ? command : users.wrap(runAs, cwd, undefined, command);
  const named = (await folder.hasHosts()) ? names.wrap(folder.hosts, own) : own;
  const [file, ...rest] = named as [string, ...string[]];
  const cover = await coverDescriptors();
  const child = spawn(file, rest, {
    cwd,
    env: { ...workloadEnvironment(env, process.env, nodeExecutableFolder), [LAUNCH_VARIABLE]: launchId },
    // A group of its own: what the command started is ended with it.
    detached: true,
    stdio: [session === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', ...cover.stdio()],
  });
  const kill = () => void (child.pid !== undefined && sendSignal(-child.pid, 'SIGKILL'));
  /** Who left the group with our pipes in hand is not waited for. */
  const letGo = () => {
    child.stdin?.destroy();
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  let late: TimerId | undefined;
  signal.addEventListener('abort', kill, { once: true });
  try {
    const output = createExecOutput(options);
    const read = Promise.all([
      readOutput(child.stdout as Readable, 'stdout', output),
      readOutput(child.stderr as Readable, 'stderr', output),
    ]);
    if (session !== undefined) feedInput(session.input, child.stdin as Writable).catch(() => undefined);
    const [status, ended] = (await once(child, 'exit').catch((error: Error) => {
      throw new ExecFailedError(instance, command[0] ?? '', error.message, { cause: error });
    })) as [number | null, NodeJS.Signals | null];
    signal.throwIfAborted();
    // What it left in its group would hold the pipes open.
    kill();
    const letGoLater = (): void => {
      // A reader that is slow gets all of it.
      late = clock.setTimeout(() => (output.waiting() ? letGoLater() : letGo()), EXEC_OUTPUT_WAIT_MS);
    };
    letGoLater();
    await read;
    signal.throwIfAborted();
    return { status: status ?? undefined, signal: ended ?? undefined, output: output.text() };
  } finally {
    clock.clearTimeout(late);
    letGo();
    signal.removeEventListener('abort', kill);
    await cover.close();
  }
}
