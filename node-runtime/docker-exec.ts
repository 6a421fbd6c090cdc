// Commands inside containers. Called by docker-engine.ts. Docker cannot end one: whoever is given up is killed from here, where its
// process can be seen; until it is gone no other command is begun in that container, so that they never pile up.

import { readFile } from 'node:fs/promises';
import type { ContainerExec, DockerClient } from './docker-client.ts';
import type { ExecOptions, Execution } from './engine.ts';
import { ExecFailedError } from './errors.ts';
import { createExecOutput, feedInput, readFrames } from './exec-streams.ts';
import { sendSignal } from './process-table.ts';

export interface DockerExec {
  exec(instance: string, container: string, command: string[], options: ExecOptions): Promise<Execution>;
}

/** Docker's own answers for what is no program, or none that can be run. */
const notRunnable = [126, 127];

export function createDockerExec({ docker }: { docker(): DockerClient }): DockerExec {
  /** By container: commands that were given up. */
  const givenUp = new Map<string, ContainerExec>();

  /** Whether it is gone. One that is just being started has no process yet: it is killed the next time. */
  async function end(container: string, running: ContainerExec): Promise<boolean> {
    givenUp.set(container, running);
    const { Running, Pid } = await running.inspect();
    if (!Running) givenUp.delete(container);
    // Docker's number means this process only where both see the same processes.
    else if (await isOf(container, Pid)) sendSignal(Pid, 'SIGKILL');
    return !Running;
  }

  return {
    async exec(instance, container, command, options) {
      const { signal, session } = options;
      signal.throwIfAborted();
      const program = command[0] ?? '';
      const before = givenUp.get(container);
      if (before !== undefined && !(await end(container, before)))
        throw new ExecFailedError(instance, program, 'an earlier command hangs there');
      const running = await docker().exec(container, command, { input: session !== undefined }, signal);
      const output = createExecOutput(options);
      const ended = Promise.withResolvers<void>();
      const giveUp = () => ended.reject(signal.reason);
      signal.addEventListener('abort', giveUp, { once: true });
      readFrames(running.stream, output).then(ended.resolve);
      if (session !== undefined) feedInput(session.input, running.stream).catch(() => undefined);
      try {
        await ended.promise;
        const { ExitCode, Running } = await running.inspect();
        if (Running) await end(container, running);
        const said = output.text();
        if (ExitCode !== null && notRunnable.includes(ExitCode) && said.includes('OCI runtime exec failed'))
          throw new ExecFailedError(instance, program, said.trim());
        return { status: ExitCode ?? undefined, signal: undefined, output: said };
      } catch (error) {
        if (signal.aborted) await end(container, running).catch(() => undefined);
        throw error;
      } finally {
        signal.removeEventListener('abort', giveUp);
        running.stream.destroy();
      }
    },
  };
}

async function isOf(container: string, pid: number): Promise<boolean> {
  const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return pid > 1 && groups.includes(container);
}
