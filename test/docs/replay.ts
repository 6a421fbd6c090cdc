// Types the documentation's commands on boxes, one after the other, as its reader would: fills in what an earlier command printed,
// looks again while the answer is not there yet, leaves a daemon in the foreground running. Called by the stories' tests.

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';
import type { Box, Boxes } from './box.ts';
import { missingLine } from './looks-like.ts';
import { findNotRunHere } from './not-run-here.ts';
import type { DocumentedCommand } from './pages.ts';

/** For a busy box with two cores. */
const deadlineMs = 60_000;
const lookAgainMs = 300;

const codes = /\bthe code of this box is (\S+?);|nodes approve ([0-9A-Z]{2}(?:-[0-9A-Z]+){3})/g;

/** What a reader puts in the place of these words: the last that any command has printed. */
const placeholders: [word: RegExp, printed: RegExp][] = [
  [/\b(?:CODE|K7-ABCD-EFGH-JK)\b/g, codes],
  [/\bADDRESS:PORT\b/g, /^listens .* on (\S+:\d+)/gm],
];

const looks =
  /^(?:sudo )?(?:selvedge (?:status|nodes (?:list|pending|describe)|apps|describe|logs|events|enroll status)|curl)\b/;
const staysInForeground =
  /^(?:sudo )?selvedge (?:up\b(?!.*--detach)|(?:logs|events|status)\b.*(?: -f| --follow| --watch)\b)/;

function lastOf(pattern: RegExp, text: string): string | undefined {
  return [...text.matchAll(pattern)]
    .at(-1)
    ?.slice(1)
    .find((group) => group !== undefined);
}

export interface Replay {
  /** Throws with what was printed when it is not what the documentation shows. */
  type(command: DocumentedCommand): Promise<void>;
}

/** One command as it is typed, and what has come of it so far. */
interface Typed {
  command: DocumentedCommand;
  box: Box;
  run: string;
  expected: number;
  status: number | undefined;
  printed: string;
  /** The first shown line that was not printed. */
  missing(): string | undefined;
}

async function inForeground(typed: Typed): Promise<void> {
  const { box, run } = typed;
  const isUp = /selvedge up\b/.test(run);
  const running = box.start(run);
  void running.ended.then((status) => {
    typed.status = status;
  });
  await eventually(
    async () => {
      typed.printed = running.printed();
      if (typed.status !== undefined) throw new Error('it ended');
      if (isUp) await access(join(box.data, 'selvedge.sock'));
      return (isUp || typed.printed !== '') && typed.missing() === undefined;
    },
    { deadlineMs, what: 'it to print what is shown' },
  );
  if (isUp) return;
  running.interrupt();
  await running.ended;
}

async function toItsEnd(typed: Typed): Promise<void> {
  const { box, run, command, expected } = typed;
  await eventually(
    async () => {
      const running = box.start(run);
      typed.status = await running.ended;
      typed.printed = running.printed();
      return typed.status === expected && typed.missing() === undefined;
    },
    // What changes something is typed once.
    { deadlineMs: looks.test(command.text) ? deadlineMs : 0, everyMs: lookAgainMs, what: 'what is shown' },
  );
}

function failure(typed: Typed, error: Error): Error {
  const { command, box, status, expected, printed } = typed;
  const missing = typed.missing();
  const lines = [
    `${command.page}:${command.line}: ${box.name}$ ${command.text}`,
    `${error.message}; exit status ${status}, expected ${expected}`,
    ...(missing === undefined ? [] : [`not printed: ${missing}`]),
    `printed:\n${printed}`,
  ];
  return new Error(lines.join('\n'), { cause: error });
}

export function createReplay(t: ExecutionContext, { boxes, defaultBox }: { boxes: Boxes; defaultBox: string }): Replay {
  let seen = '';
  const known = new Set<string>();

  function filledIn(text: string): string {
    const code = lastOf(codes, seen);
    let filled = text.replace(/(?<![\w-])K7(?![\w-])/g, code?.slice(0, 2) ?? 'K7');
    for (const [word, printed] of placeholders) {
      if (filled.search(word) < 0) continue;
      const value = lastOf(printed, seen);
      if (value === undefined) throw new Error(`nothing was printed that could stand for ${word.source}: ${text}`);
      filled = filled.replace(word, value);
    }
    return filled;
  }

  /** Undefined when it is left out. */
  function begin(command: DocumentedCommand): Typed | undefined {
    const { text, shown, box = defaultBox } = command;
    for (const word of [box, ...text.split(/[\s=]+/)]) {
      if (/[a-z]/.test(word)) known.add(word);
    }
    const standIn = findNotRunHere(text);
    const run = standIn ? standIn.entry.instead?.(standIn.match, boxes.folder) : filledIn(text);
    if (run === undefined) return undefined;
    return {
      command,
      box: boxes.box(box),
      run,
      expected: shown.some((one) => one.startsWith('error:')) ? 1 : 0,
      status: undefined,
      printed: '',
      missing() {
        return missingLine(shown, this.printed, known);
      },
    };
  }

  return {
    async type(command) {
      const where = `${command.page}:${command.line}`;
      const typed = begin(command);
      if (typed === undefined) return t.log(`${where} left out: ${command.text}`);
      const startedAt = performance.now();
      try {
        await (staysInForeground.test(typed.run) ? inForeground(typed) : toItsEnd(typed));
      } catch (error) {
        throw failure(typed, error as Error);
      }
      seen += `${typed.printed}\n`;
      const [first] = command.text.split('\n');
      t.log(`${where} ${typed.box.name}$ ${first} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
      if (process.env['SELVEDGE_DOCS_PRINT']) t.log(typed.printed);
    },
  };
}
