// What holds for commands at a terminal, and for what a session leaves, in every engine. Called by the tests of the engines.

import type { ExecutionContext } from 'ava';
import type { TerminalSize } from '../../control/exec-frames.ts';
import type { ExecOptions, Execution } from '../../node-runtime/engine.ts';
import { eventually } from '../eventually.ts';
import { gone, lives, pidsWith } from './process-world.ts';

export type Exec = (command: string[], options: ExecOptions) => Promise<Execution>;

/** Values as somebody pushes them, to the end. */
function pushed<T>() {
  const waiting: T[] = [];
  let told = Promise.withResolvers<void>();
  let ended = false;
  return {
    push(value: T) {
      waiting.push(value);
      told.resolve();
    },
    end() {
      ended = true;
      told.resolve();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (ended) return;
        else {
          await told.promise;
          told = Promise.withResolvers();
        }
      }
    },
  };
}

/** Somebody at a terminal of 100 columns and 30 rows, or one who types to none. */
export function sit(exec: Exec, command: string[], size: TerminalSize | 'none' = { columns: 100, rows: 30 }) {
  const typed = pushed<Uint8Array>();
  const resizes = pushed<TerminalSize>();
  const leaving = new AbortController();
  const streams = { stdout: '', stderr: '' };
  const ended = exec(command, {
    signal: leaving.signal,
    outputBytesMax: 0,
    session: {
      input: typed,
      async output(stream, bytes) {
        streams[stream] += Buffer.from(bytes).toString();
      },
      ...(size !== 'none' && { terminal: { ...size, type: 'xterm-256color', resizes } }),
    },
  });
  ended.catch(() => undefined);
  return {
    ended,
    type: (text: string) => typed.push(Buffer.from(text)),
    endInput: () => typed.end(),
    resize: (to: TerminalSize) => resizes.push(to),
    leave: () => leaving.abort(new Error('gone')),
    printed: () => streams.stdout,
    warned: () => streams.stderr,
    says: (what: RegExp) =>
      eventually(() => what.exec(streams.stdout) ?? undefined, { what: `${what} in what was printed` }).catch(
        (error: unknown) => {
          throw new Error(`${(error as Error).message}: ${JSON.stringify(streams)}`);
        },
      ),
  };
}

/** `sh` is the engine's shell, and `pids` finds processes of the box by their command line. */
export async function assertTerminals(t: ExecutionContext, exec: Exec, sh: string): Promise<void> {
  const asked = 'tty; echo "term $TERM"; stty size; trap "stty size" WINCH; echo on; while :; do sleep 0.1; done';
  const first = sit(exec, [sh, '-c', asked]);
  await first.says(/\/dev\/pts\/\d+\r\n/);
  await first.says(/term xterm-256color\r\n/);
  await first.says(/on\r\n/);
  first.resize({ columns: 132, rows: 43 });
  await first.says(/43 132\r\n/);
  first.type('\x03');
  const interrupted = await first.ended;
  t.is(interrupted.status ?? interrupted.signal, interrupted.status === undefined ? 'SIGINT' : 130);

  const sized = sit(exec, [sh, '-c', 'until [ "$(stty size)" = "30 100" ]; do sleep 0.05; done; echo sized; exit 7']);
  t.deepEqual(await sized.ended, { status: 7, signal: undefined, output: '' });
  t.regex(sized.printed(), /sized/);

  // An interactive shell, twice at once: what is typed is echoed, Ctrl-C ends the program and not the shell, Ctrl-D ends that.
  const shells = [1, 2].map((number) => ({ number, shell: sit(exec, [sh, '-i']) }));
  for (const { number, shell } of shells) {
    shell.type(`echo it is $((40 + ${number}))\r`);
    await shell.says(new RegExp(`echo it is .*it is ${40 + number}`, 's'));
    shell.type('sleep 1000; echo never-"printed"\r');
  }
  for (const { shell } of shells) {
    await shell.says(/sleep 1000/);
    await eventually(
      () => {
        // What is typed ahead goes with Ctrl-C.
        shell.type('\x03');
        shell.type('echo and-"then"\r');
        return /and-then/.test(shell.printed());
      },
      { everyMs: 200, what: 'the shell to go on' },
    );
    t.notRegex(shell.printed(), /never-printed/);
    shell.type('exit 5\r');
    t.is((await shell.ended).status, 5);
  }
  const copy = sit(exec, [sh, '-c', 'cat > /dev/null; echo over']);
  copy.type('words\r\x04');
  t.is((await copy.ended).status, 0);
  t.regex(copy.printed(), /over\r\n$/);

  const much = sit(exec, [sh, '-c', 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i"; done']);
  t.is((await much.ended).status, 0);
  t.is(much.printed().match(/line \d+\r\n/g)?.length, 20_000, 'all of it, to the last line');
  t.regex(much.printed(), /line 20000\r\n$/);
}

/** Who goes away takes the command along, and all that it started, also what made a session of its own. */
export async function assertNothingLeft(t: ExecutionContext, exec: Exec, sh: string): Promise<void> {
  for (const size of ['none', { columns: 80, rows: 24 }] as const) {
    for (const leaves of [true, false]) {
      const name = `${8_000_000 + process.pid * 4 + (size === 'none' ? 0 : 1) + (leaves ? 0 : 2)}`;
      const started = `trap "" HUP; setsid sleep ${name} > /dev/null 2>&1 < /dev/null & `;
      const session = sit(exec, [sh, '-c', `${started} echo begun; ${leaves ? 'sleep 1000' : 'sleep 0.5'}`], size);
      await session.says(/begun/);
      const pids = await eventually(async () => {
        const found = await pidsWith(`sleep\0${name}`);
        return found.length > 0 ? found : undefined;
      });
      if (leaves) {
        session.leave();
        await t.throwsAsync(session.ended, { message: 'gone' });
      } else t.is((await session.ended).status, 0);
      for (const pid of pids) {
        await gone(pid);
        t.false(await lives(pid));
      }
    }
  }
}
