// Sizes of a terminal as they are told, as an engine wants them: the newest, at a bounded rate. Called by exec-sessions.ts.

import type { TerminalSize } from '../control/exec-frames.ts';
import type { Clock } from './clock.ts';
import { execResizeMs } from './limits.ts';

export interface Resizes {
  tell(size: TerminalSize): void;
  /** For one reader; ends when the signal aborts. */
  sizes: AsyncIterable<TerminalSize>;
}

export function createResizes(clock: Clock, over: AbortSignal): Resizes {
  let newest: TerminalSize | undefined;
  let told = Promise.withResolvers<void>();
  over.addEventListener('abort', () => told.resolve(), { once: true });

  async function* sizes(): AsyncGenerator<TerminalSize> {
    while (!over.aborted) {
      const size = newest;
      newest = undefined;
      if (size === undefined) {
        await told.promise;
        told = Promise.withResolvers();
        if (over.aborted) return;
        continue;
      }
      yield size;
      await clock.sleep(execResizeMs, over).catch(() => undefined);
    }
  }

  return {
    tell(size) {
      newest = size;
      told.resolve();
    },
    sizes: sizes(),
  };
}
