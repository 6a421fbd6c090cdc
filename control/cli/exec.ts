// `selvedge exec`: a command beside an instance, with this terminal's stdin, stdout and stderr, and its exit status.

import type { Command } from 'commander';
import { contextOf } from './context.ts';
import { CommandEndedError } from './errors.ts';
import { findInstance } from './find-instance.ts';
import type { Host } from './host.ts';
import { subcommand } from './subcommand.ts';

const examples = `$ selvedge exec monitor -- ls -l
$ selvedge exec monitor -- sh -c 'cat > note' < note`;

/** What shells answer for a command that Ctrl-C ended. */
const interruptedStatus = 130;

export function addExec(program: Command, host: Host): void {
  subcommand(program, 'exec', 'Run a command beside an instance, inside its container if it has one.', examples)
    .argument('<instance>', 'its name, or as much of it as is unique')
    .argument('<command...>', 'program and arguments, after --')
    .addHelpText(
      'after',
      `
The command has the folder, user, environment and names of the instance, and no terminal. Its exit status is that of this command
(128 and the number for a signal of a process); 1 also when it could not be run. Ctrl-C ends it. Each use is an event, without arguments.`,
    )
    .action(async (name: string, words: string[], _options: unknown, command: Command) => {
      const { client } = contextOf(host, command);
      const instance = await findInstance(client, name);
      const interrupted = new AbortController();
      const undo = host.onSignal(() => interrupted.abort());
      try {
        const status = await client.exec(
          instance.name,
          words,
          { input: host.input(), output: (stream, bytes) => host.write(stream, bytes) },
          interrupted.signal,
        );
        if (status !== 0) throw new CommandEndedError(status);
      } catch (error) {
        if (interrupted.signal.aborted) throw new CommandEndedError(interruptedStatus);
        throw error;
      } finally {
        undo();
      }
    });
}
