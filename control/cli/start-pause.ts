// How long a daemon that a supervisor starts again and again waits before it starts. Called by up.ts under systemd, whose own pause between
// two starts does not grow (in version 252; RestartSteps came later) and stays short, so that a daemon which ran is back at once. The
// count of starts is a file in the folder that systemd gives the unit: kept when it starts the daemon again by itself, removed when
// somebody ends the unit. Without such a folder, or when it cannot be written, nothing waits: a daemon that can start does.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { startLastsMs, startPauseMs, startPauseMsMax } from './limits.ts';

/** After so many starts in a row that did not last. The first of them is nothing unusual: systemd's own second is enough. */
export function pauseAfter(starts: number): number {
  return starts < 2 ? 0 : Math.min(startPauseMs * 2 ** (starts - 2), startPauseMsMax);
}

export interface CountedStart {
  /** Resolves when the daemon may start; false when a signal ended the wait. */
  wait(): Promise<boolean>;
  /** It has started: lasts it for a while, the next start is a first one again. */
  started(): void;
  /** It was ended on purpose: so is the next. */
  forget(): Promise<void>;
}

export function createCountedStart({ clock, env, onSignal, error }: Host): CountedStart {
  // systemd.exec(5): one folder, for the unit names one.
  const folder = env['RUNTIME_DIRECTORY'];
  const file = folder === undefined ? undefined : join(folder, 'starts');

  async function counted(): Promise<number> {
    if (file === undefined) return 0;
    try {
      const before = Number(await readFile(file, 'utf8').catch(() => '0'));
      const starts = Number.isSafeInteger(before) && before > 0 ? before : 0;
      await writeFile(file, String(starts + 1), { mode: 0o600 });
      return starts;
    } catch {
      return 0;
    }
  }

  async function forget(): Promise<void> {
    if (file !== undefined) await rm(file, { force: true }).catch(() => undefined);
  }

  return {
    async wait() {
      const starts = await counted();
      const pauseMs = pauseAfter(starts);
      if (pauseMs === 0) return true;
      error(
        `The last ${starts} starts did not last ${startLastsMs / 1000} s each: this one waits ${pauseMs / 1000} s. What it ran goes on.`,
      );
      const ending = new AbortController();
      const undo = onSignal(() => ending.abort());
      try {
        await clock.sleep(pauseMs, ending.signal);
        return true;
      } catch {
        await forget();
        return false;
      } finally {
        undo();
      }
    },
    started: () => void clock.setTimeout(() => void forget(), startLastsMs),
    forget,
  };
}
