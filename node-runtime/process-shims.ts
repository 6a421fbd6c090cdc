// Looks at the shims of all instances that somebody waits for, together: a timer for each would wake an idle node ten times a second
// for nothing. Called by process-wait.ts. It wakes who waits, and decides nothing.

import type { Clock, TimerId } from './clock.ts';
import { EXIT_POLL_MS, EXIT_QUIET_LOOKS_MAX } from './limits.ts';
import type { ProcessIdentity, ProcessTable } from './process-table.ts';

export interface ShimLooks {
  /** Calls `wake` when the shim is not there at a look, and after so many looks that all should be read again. Ends with what it returns. */
  watch(shim: ProcessIdentity, wake: () => void): () => void;
}

interface Watched {
  shim: ProcessIdentity;
  looks: number;
  wake(): void;
}

export function createShimLooks({ clock, table }: { clock: Clock; table: Pick<ProcessTable, 'alive'> }): ShimLooks {
  const watched = new Set<Watched>();
  let timer: TimerId | undefined;
  let looking = false;

  async function look(): Promise<void> {
    timer = undefined;
    looking = true;
    for (const one of [...watched]) {
      one.looks += 1;
      const isThere = (await table.alive(one.shim)) !== undefined;
      if (watched.has(one) && (!isThere || one.looks >= EXIT_QUIET_LOOKS_MAX)) one.wake();
    }
    looking = false;
    lookLater();
  }

  function lookLater(): void {
    if (watched.size > 0 && !looking) timer ??= clock.setTimeout(() => void look(), EXIT_POLL_MS);
  }

  return {
    watch(shim, wake) {
      const one = { shim, looks: 0, wake };
      watched.add(one);
      lookLater();
      return () => {
        watched.delete(one);
        if (watched.size > 0) return;
        clock.clearTimeout(timer);
        timer = undefined;
      };
    },
  };
}
