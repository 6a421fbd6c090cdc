// Folders of instances that a killed daemon left: made and never launched, or half removed. Called by the engines, once they know what the
// plan wants. It never touches a planned instance, one that an engine knows, or a volume.

import { readdir } from 'node:fs/promises';
import type { WantedInstance } from './engine.ts';
import type { KeyedQueue } from './keyed-queue.ts';
import { isInstanceName } from './launch-check.ts';

export interface Leftovers {
  want(planned: readonly WantedInstance[]): void;
  /** The engine can be used: looks once, for while a daemon lives it removes what it made. */
  soon(): void;
}

/** `<project>.<application>.<microservice>.<which>`: what somebody else put here is named otherwise. */
const isPlannedName = (name: string): boolean => isInstanceName(name) && name.split('.').length >= 4;

export function createLeftovers({
  root,
  queue,
  ready,
  isLeftover,
  remove,
}: {
  /** Holds a folder for each instance. */
  root: string;
  /** Of the engine: one thing at a time for each instance. */
  queue: KeyedQueue;
  ready(): boolean;
  /** Nothing is known of it but its folder. */
  isLeftover(instance: string): Promise<boolean>;
  remove(instance: string): Promise<void>;
}): Leftovers {
  let wanted: ReadonlySet<string> | undefined;
  let looked = false;

  async function look(): Promise<void> {
    for (const instance of (await readdir(root)).filter(isPlannedName)) {
      await queue.run(instance, async () => {
        if (wanted?.has(instance) === false && ready() && (await isLeftover(instance))) await remove(instance);
      });
    }
  }

  function soon(): void {
    if (looked || wanted === undefined || !ready()) return;
    looked = true;
    // What cannot be looked at or removed now is a few files; the next start looks again.
    look().catch(() => undefined);
  }

  return {
    want(planned) {
      wanted = new Set(planned.map(({ name }) => name));
      soon();
    },
    soon,
  };
}
