// One life of a simulated daemon: its clock, store and disk, which stop dead when it crashes. What that daemon was waiting for never
// comes, so nothing of it goes on beside its successor, as after `kill -9`. Called by sim-node.ts.

import type { Database, Store } from '../control/store.ts';
import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Disk } from '../node-runtime/disk.ts';
import { type SimClock, sleepWith } from './sim-clock.ts';

export interface SimLife {
  readonly alive: () => boolean;
  readonly clock: Clock;
  /** The same store; closing it is the end of the daemon alone, the box keeps it. */
  store(kept: Store): Store;
  disk(kept: Disk): Disk;
  end(): void;
}

const never = new Promise<never>(() => undefined);

/**
 * `offsetMs`: how far this box's clock is ahead of the world's, now. `onEffect` is called before and after each effect on store and disk:
 * a box that is to crash there does so.
 */
export function createSimLife(
  clock: SimClock,
  { offsetMs = () => 0, onEffect }: { offsetMs?: () => number; onEffect?: () => void } = {},
): SimLife {
  let alive = true;
  const timers = new Set<TimerId>();

  /** What the dead asked for is not done; what they were waiting for is not told. */
  async function ask<T>(work: () => Promise<T>): Promise<T> {
    if (alive) onEffect?.();
    if (!alive) return never;
    try {
      const answer = await work();
      if (alive) onEffect?.();
      return alive ? answer : await never;
    } catch (error) {
      if (!alive) return never;
      throw error;
    }
  }

  const setTimer = (run: () => void, delayMs: number): TimerId => {
    if (!alive) return undefined;
    const timer = clock.setTimeout(() => {
      timers.delete(timer);
      run();
    }, delayMs);
    timers.add(timer);
    return timer;
  };
  const clearTimer = (timer: TimerId): void => {
    timers.delete(timer);
    clock.clearTimeout(timer);
  };

  const database = (kept: Database): Database => ({
    name: kept.name,
    get: (id) => ask(() => kept.get(id)),
    leaves: (id) => ask(() => kept.leaves(id)),
    list: (prefix) => ask(() => kept.list(prefix)),
    put: (document) => ask(() => kept.put(document)),
    update: (id, change) => ask(() => kept.update(id, change)),
    remove: (id, rev) => ask(() => kept.remove(id, rev)),
    subscribe: (listener) =>
      kept.subscribe((change) => {
        if (alive) listener(change);
      }),
    peer: {
      ...kept.peer,
      bulkDocs: (request, options) => ask(() => kept.peer.bulkDocs(request, options)),
      put: (document) => ask(() => kept.peer.put(document)),
    },
  });

  return {
    alive: () => alive,
    clock: {
      now: () => clock.now() + offsetMs(),
      elapsed: () => clock.elapsed(),
      setTimeout: setTimer,
      clearTimeout: clearTimer,
      sleep: (delayMs, signal) => sleepWith({ setTimeout: setTimer, clearTimeout: clearTimer }, delayMs, signal),
    },
    store(kept) {
      const opened = new Map<string, Database>();
      return {
        open: (name) =>
          ask(async () => {
            const own = opened.get(name) ?? database(await kept.open(name));
            if (!opened.has(name)) opened.set(name, own);
            return opened.get(name) ?? own;
          }),
        destroy: (name) =>
          ask(async () => {
            opened.delete(name);
            await kept.destroy(name);
          }),
        close: () => kept.close(),
      };
    },
    disk: (kept) => ({
      read: (path) => ask(() => kept.read(path)),
      write: (path, content) => ask(() => kept.write(path, content)),
      append: (path, line) => ask(() => kept.append(path, line)),
      list: (folder) => ask(() => kept.list(folder)),
      remove: (path) => ask(() => kept.remove(path)),
    }),
    end() {
      alive = false;
      for (const timer of timers) clock.clearTimeout(timer);
      timers.clear();
    },
  };
}
