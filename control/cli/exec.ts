// `selvedge exec`: a command beside an instance, with this terminal's stdin, stdout and stderr, or at a terminal of its own, and its
// exit status.

import type { Command } from 'commander';
import { contextOf } from './context.ts';
import { CommandEndedError, UsageError } from './errors.ts';
import { openTerminal } from './exec-terminal.ts';
import { findInstance } from './find-instance.ts';
import type { Host } from './host.ts';
import { subcommand } from './subcommand.ts';

const examples = `$ selvedge exec monitor -- ls -l
$ selvedge exec monitor -- sh -c 'cat > note' < note
$ selvedge exec -it monitor -- sh`;

/** What shells answer for a command that Ctrl-C ended. */
const interruptedStatus = 130;

interface ExecFlags {
  stdin?: boolean;
  tty?: boolean;
}

export function addExec(program: Command, host: Host): void {
  subcommand(program, 'exec', 'Run a command beside an instance, inside its container if it has one.', examples)
    .argument('<instance>', 'its name, or as much of it as is unique')
    .argument('<command...>', 'program and arguments, after --')
    .option('-t, --tty', 'at a terminal of its own, which has the size and the TERM of this one')
    .option('-i, --stdin', 'type to it; without --tty that is always so')
    .addHelpText(
      'after',
      `
The command has the folder, user, environment and names of the instance. Its exit status is that of this command (128 and the number
for a signal of a process); 1 also when it could not be run. Ctrl-C ends it; with -it all keys go to the program, Ctrl-C and Ctrl-D too.
What it started ends with it. Each use is an event when it begins and when it has ended, without arguments and without what is typed.`,
    )
    .action(async (name: string, words: string[], options: ExecFlags, command: Command) => {
      if (options.tty && options.stdin && host.terminal === undefined) {
        throw new UsageError('-it needs a terminal: stdin or stdout is none here', {
          action: 'Leave --tty out to hand over a file or a pipe.',
        });
      }
      const { client } = contextOf(host, command);
      const instance = await findInstance(client, name);
      const interrupted = new AbortController();
      const undo = host.onSignal(() => interrupted.abort());
      const terminal = options.tty ? openTerminal(host, options.stdin === true) : undefined;
      try {
        const status = await client.exec(
          { instance: instance.name, command: words, ...(terminal && { terminal: terminal.described }) },
          {
            input: terminal === undefined || options.stdin ? host.input() : undefined,
            resizes: terminal?.resizes,
            output: (stream, bytes) => host.write(stream, bytes),
          },
          interrupted.signal,
        );
        if (status !== 0) throw new CommandEndedError(status);
      } catch (error) {
        if (interrupted.signal.aborted) throw new CommandEndedError(interruptedStatus);
        throw error;
      } finally {
        terminal?.close();
        undo();
      }
    });
}
