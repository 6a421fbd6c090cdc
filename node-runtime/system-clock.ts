// The clock of a real box. Made once by the composition root and by tests of real adapters; nothing else in the product
// reads the time or sets a timer.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from './clock.ts';

/** Node's timers fire at once beyond 2^31-1 ms (24.8 days): a longer wait ends there, and its caller looks again. */
const DELAY_MS_MAX = 2_147_483_647;

/** Wall-clock time and Node's timers. A negative or non-finite delay counts as 0. */
export function createSystemClock(): Clock {
  return {
    now: () => Date.now(),
    elapsed: () => performance.now(),
    setTimeout: (run, delayMs) => setTimeout(run, bounded(delayMs)),
    clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
    async sleep(delayMs, signal) {
      if (signal === undefined) return sleep(bounded(delayMs));
      try {
        await sleep(bounded(delayMs), undefined, { signal });
      } catch (error) {
        throw signal.aborted ? signal.reason : error;
      }
    },
  };
}

function bounded(delayMs: number): number {
  return delayMs > 0 ? Math.min(delayMs, DELAY_MS_MAX) : 0;
}
