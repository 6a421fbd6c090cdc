// Work that many events ask for, done at once for the first of them and then once in a while for all the others. Called where strangers send the
// events.

import type { Clock, TimerId } from './clock.ts';

export interface AtMostEvery {
  ask(): void;
  /** What was asked for and is not done yet will not be. */
  stop(): void;
}

export function createAtMostEvery(clock: Clock, pauseMs: number, work: () => void): AtMostEvery {
  let pause: TimerId | undefined;
  let asked = false;

  function run(): void {
    asked = false;
    pause = clock.setTimeout(() => {
      pause = undefined;
      if (asked) run();
    }, pauseMs);
    work();
  }

  return {
    ask() {
      asked = true;
      if (pause === undefined) run();
    },
    stop() {
      clock.clearTimeout(pause);
      pause = undefined;
      asked = false;
    },
  };
}
