// Who waits for the end of which instance. Called by process-engine.ts and process-launch.ts.
// It only looks; it starts and ends nobody.

import type { Clock } from './clock.ts';
import type { Exit } from './engine.ts';
import { EngineStoppedError, InstanceUnknownError } from './errors.ts';
import { isInstanceName } from './launch-check.ts';
import { ORPHAN_POLL_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import { createShimLooks } from './process-shims.ts';
import { readStanding, type Standing } from './process-standing.ts';
import type { ProcessStat, ProcessTable } from './process-table.ts';
import { type FolderWatch, watchFolder } from './process-watch.ts';

export interface ProcessWaits {
  /** Rejects with InstanceUnknownError, EngineStoppedError, or the signal's reason. */
  untilEnded(instance: string, signal?: AbortSignal): Promise<Exit>;
  /** Wakes who waits for an instance; with an end that is about to be forgotten, tells those who wait for that launch. */
  notify(instance: string, ended?: Standing & { kind: 'ended' }): void;
}

export interface ProcessWaitsDependencies {
  clock: Clock;
  table: ProcessTable;
  open(instance: string): InstanceFolder;
  stopping: AbortSignal;
}

interface Waiter {
  launchId: string | undefined;
  exit: Exit | undefined;
  wake(): void;
}

export function createProcessWaits({ clock, table, open, stopping }: ProcessWaitsDependencies): ProcessWaits {
  const waiters = new Map<string, Set<Waiter>>();
  const shims = createShimLooks({ clock, table });

  /** Nothing was written and the shim is there: reading everything again would be most of what an idle node does. */
  async function disturbed({ pid, startTicks }: ProcessStat, watch: FolderWatch, either: AbortSignal): Promise<void> {
    const end = shims.watch({ pid, startTicks, boot: table.boot }, watch.wake);
    try {
      await watch.changed(undefined, either);
    } finally {
      end();
    }
  }

  async function wait(
    folder: InstanceFolder,
    instance: string,
    waiter: Waiter,
    watch: FolderWatch,
    either: AbortSignal,
  ) {
    for (;;) {
      const standing = await readStanding(folder, table, clock);
      if (waiter.exit !== undefined) return waiter.exit;
      if (standing.kind === 'absent' || standing.kind === 'unbegun') throw new InstanceUnknownError(instance);
      if (standing.kind === 'ended') return standing.exit;
      waiter.launchId ??= standing.launch.launchId;
      if (waiter.launchId !== standing.launch.launchId) {
        // Ended and launched again between two looks, by another engine object: nobody can know how it ended.
        return { status: undefined, signal: undefined, at: clock.now() };
      }
      if (standing.shim === undefined) await watch.changed(ORPHAN_POLL_MS, either);
      else await disturbed(standing.shim, watch, either);
    }
  }

  return {
    async untilEnded(instance, signal) {
      if (!isInstanceName(instance)) throw new InstanceUnknownError(instance);
      const either = signal === undefined ? stopping : AbortSignal.any([signal, stopping]);
      const folder = open(instance);
      // Before the first look, so that nothing falls between them.
      const watch = watchFolder(folder.run, clock);
      const waiter: Waiter = { launchId: undefined, exit: undefined, wake: watch.wake };
      const others = waiters.get(instance) ?? new Set();
      waiters.set(instance, others.add(waiter));
      try {
        return await wait(folder, instance, waiter, watch, either);
      } catch (error) {
        throw stopping.aborted && signal?.aborted !== true ? new EngineStoppedError() : error;
      } finally {
        watch.close();
        others.delete(waiter);
        if (others.size === 0 && waiters.get(instance) === others) waiters.delete(instance);
      }
    },

    notify(instance, ended) {
      for (const waiter of waiters.get(instance) ?? []) {
        if (ended !== undefined && ended.launch.launchId === waiter.launchId) waiter.exit = ended.exit;
        waiter.wake();
      }
    },
  };
}
