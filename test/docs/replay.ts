// Types the documentation's commands on boxes, one after the other, as its reader would: fills in what an earlier command printed,
// looks again while the answer is not there yet, leaves a daemon in the foreground running. Called by the stories' tests.

import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';
import type { Boxes, Running } from './box.ts';
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
  [/\bTOKEN\b/g, /\b(sv1_\w+)/g],
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

  async function inForeground(running: Running, command: DocumentedCommand, state: string): Promise<void> {
    const isUp = /selvedge up\b/.test(command.text);
    let over: number | undefined;
    void running.ended.then((status) => {
      over = status;
    });
    await eventually(
      async () => {
        if (over !== undefined) throw new Error(`it ended with ${over}`);
        if (isUp) await access(join(state, 'selvedge.sock'));
        if (!isUp && running.printed() === '') throw new Error('it prints nothing');
        const missing = missingLine(command.shown, running.printed(), known);
        if (missing !== undefined) throw new Error(`not printed: ${missing}`);
        return true;
      },
      { deadlineMs, what: 'it to print what is shown' },
    );
    if (isUp) return;
    running.interrupt();
    await running.ended;
  }

  return {
    async type(command) {
      const { page, line, text, shown, box: name = defaultBox } = command;
      for (const word of text.split(/[\s=]+/)) {
        if (/[a-z]/.test(word)) known.add(word);
      }
      known.add(name);
      const stand = findNotRunHere(text);
      if (stand && stand.entry.instead === undefined) return t.log(`${page}:${line} left out: ${text}`);
      const box = boxes.box(name);
      let printed = '';
      let status: number | undefined;
      const startedAt = performance.now();
      const expected = shown.some((one) => one.startsWith('error:')) ? 1 : 0;
      try {
        const filled = filledIn(text);
        const run = stand ? (stand.entry.instead?.(stand.match, boxes.folder) ?? '') : filled;
        if (staysInForeground.test(run)) {
          const running = box.start(run);
          try {
            await inForeground(running, command, join(box.home, '..', 'var-lib', 'selvedge'));
          } finally {
            printed = running.printed();
          }
          status = expected;
        } else {
          await eventually(
            async () => {
              const running = box.start(run);
              status = await running.ended;
              printed = running.printed();
              const missing = stand === undefined && missingLine(shown, printed, known);
              return status === expected && !missing;
            },
            // What changes something is typed once.
            { deadlineMs: looks.test(text) ? deadlineMs : 0, everyMs: lookAgainMs, what: 'what is shown' },
          );
        }
      } catch (error) {
        const { message, cause } = error as Error;
        const missing = missingLine(shown, printed, known);
        throw new Error(
          [
            `${page}:${line}: ${name}$ ${text}`,
            `${message}${cause instanceof Error ? `: ${cause.message}` : ''}; exit status ${status}, expected ${expected}`,
            ...(missing === undefined ? [] : [`not printed: ${missing}`]),
            `printed:\n${printed}`,
          ].join('\n'),
          { cause: error },
        );
      }
      if (process.env['SELVEDGE_DOCS_PRINT']) t.log(printed);
      seen += `${printed}\n`;
      t.log(
        `${page}:${line} ${name}$ ${text.split('\n')[0]} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`,
      );
    },
  };
}
