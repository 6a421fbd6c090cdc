// Commands inside containers. Called by docker-engine.ts. Docker cannot end one: whoever is given up is killed from here, where its
// processes can be seen; until it is gone no other command is begun in that container, so that they never pile up.

import { readFile } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import type { TerminalSize } from '../control/exec-frames.ts';
import type { Clock } from './clock.ts';
import type { ContainerExec, DockerClient } from './docker-client.ts';
import type { ExecOptions, Execution } from './engine.ts';
import { ExecFailedError, ExecLeftError } from './errors.ts';
import { type ExecMark, makeExecMark } from './exec-mark.ts';
import { createExecOutput, feedInput, readFrames, readOutput } from './exec-streams.ts';
import { execEndMs, execEndRoundMs, execResizeTries, execResizeTryMs } from './limits.ts';
import { sendSignal } from './process-table.ts';

export interface DockerExec {
  exec(instance: string, container: string, command: string[], options: ExecOptions): Promise<Execution>;
}

/** A command that Docker was asked for. */
interface Asked {
  running: ContainerExec;
  mark: ExecMark;
}

/** Docker's own answers for what is no program, or none that can be run. */
const notRunnable = [126, 127];

export function createDockerExec({ docker, clock }: { docker(): DockerClient; clock: Clock }): DockerExec {
  /** By container: commands that were given up. */
  const givenUp = new Map<string, Asked>();

  /** Whether it is gone, with all that it started. One that is just being started has no process yet: it is killed the next time. */
  async function end(container: string, asked: Asked): Promise<boolean> {
    givenUp.set(container, asked);
    const { Running, Pid } = await asked.running.inspect();
    // Docker's number means this process only where both see the same processes.
    if (Running && (await isOf(container, Pid))) sendSignal(Pid, 'SIGKILL');
    const left = await asked.mark.endNow();
    if (Running || left > 0) return false;
    if (givenUp.get(container) === asked) givenUp.delete(container);
    return true;
  }

  async function untilGone(container: string, asked: Asked): Promise<boolean> {
    for (let waitedMs = 0; waitedMs <= execEndMs; waitedMs += execEndRoundMs) {
      if (await end(container, asked)) return true;
      await clock.sleep(execEndRoundMs);
    }
    return false;
  }

  /** Resolves when it runs. A start that nobody waits for any more is ended as soon as it has come about. */
  async function start(container: string, asked: Asked, signal: AbortSignal): Promise<Duplex> {
    const starting = asked.running.start();
    try {
      return await unlessAborted(starting, signal);
    } catch (error) {
      if (signal.aborted) {
        givenUp.set(container, asked);
        const late = async (stream: Duplex) => {
          stream.destroy();
          await untilGone(container, asked);
        };
        starting.then(late).catch(() => undefined);
      }
      throw error;
    }
  }

  async function resize({ resize: tell }: ContainerExec, size: TerminalSize, ended: AbortSignal): Promise<void> {
    for (let tries = 0; tries < execResizeTries && !ended.aborted; tries++) {
      try {
        return await tell(size);
      } catch {
        await clock.sleep(execResizeTryMs, ended).catch(() => undefined);
      }
    }
  }

  async function followSizes(running: ContainerExec, options: ExecOptions, ended: AbortSignal): Promise<void> {
    const terminal = options.session?.terminal;
    if (terminal === undefined) return;
    await resize(running, terminal, ended);
    for await (const size of terminal.resizes) await resize(running, size, ended);
  }

  return {
    async exec(instance, container, command, options) {
      const { signal, session } = options;
      signal.throwIfAborted();
      const program = command[0] ?? '';
      const before = givenUp.get(container);
      if (before !== undefined && !(await end(container, before)))
        throw new ExecFailedError(instance, program, 'an earlier command hangs there');
      const mark = makeExecMark({ clock });
      const terminal = session?.terminal;
      const env = { ...mark.env, ...(terminal && { TERM: terminal.type }) };
      const input = session !== undefined;
      const running = await docker().exec(container, { command, input, env, terminal }, signal);
      const asked = { running, mark };
      const stream = await start(container, asked, signal);
      const output = createExecOutput(options);
      const over = new AbortController();
      const read = terminal === undefined ? readFrames(stream, output) : readOutput(stream, 'stdout', output);
      if (session !== undefined) feedInput(session.input, stream).catch(() => undefined);
      followSizes(running, options, over.signal).catch(() => undefined);
      try {
        await unlessAborted(read, signal);
        const { ExitCode, Running } = await running.inspect();
        // Looking for what it left takes a walk through /proc, which is too much for each probe.
        if ((Running || session !== undefined) && !(await untilGone(container, asked)))
          throw new ExecLeftError(instance, program);
        const said = output.text();
        if (ExitCode !== null && notRunnable.includes(ExitCode) && said.includes('OCI runtime exec failed'))
          throw new ExecFailedError(instance, program, said.trim());
        return { status: ExitCode ?? undefined, signal: undefined, output: said };
      } catch (error) {
        if (signal.aborted && !(await untilGone(container, asked).catch(() => true)))
          throw new ExecLeftError(instance, program);
        throw error;
      } finally {
        over.abort();
        stream.destroy();
      }
    },
  };
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const giveUp = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

async function isOf(container: string, pid: number): Promise<boolean> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return pid > 1 && groups.includes(container);
}
