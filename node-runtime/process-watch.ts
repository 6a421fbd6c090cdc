// Waits for something to change in a folder. Called by process-engine.ts for the records that a shim writes.
// The kernel's watch answers at once; a slow look now and then covers watches that it drops or has none left of.

import { type FSWatcher, watch } from 'node:fs';
import type { Clock } from './clock.ts';

export interface FolderWatch {
  /** Resolves at the first change since the last call, at `wake`, or after `pollMs` where that is given; rejects when the signal aborts. */
  changed(pollMs: number | undefined, signal: AbortSignal): Promise<void>;
  wake(): void;
  close(): void;
}

/** One waiter at a time. The folder need not exist: then only polls and `wake` answer. */
export function watchFolder(folder: string, clock: Clock): FolderWatch {
  let dirty = false;
  let notify: (() => void) | undefined;
  const wake = () => {
    dirty = true;
    notify?.();
  };

  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(folder, { persistent: false }, wake);
    watcher.on('error', () => watcher?.close());
  } catch {
    // No inotify watch to be had (fs.inotify.max_user_watches), or no folder.
  }

  return {
    wake,
    close: () => watcher?.close(),
    changed(pollMs, signal) {
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const finish = (settle: () => void) => {
          clock.clearTimeout(timer);
          signal.removeEventListener('abort', abort);
          notify = undefined;
          dirty = false;
          settle();
        };
        const abort = () => finish(() => reject(signal.reason));
        const waitMs = dirty ? 0 : pollMs;
        const timer = waitMs === undefined ? undefined : clock.setTimeout(() => finish(resolve), waitMs);
        signal.addEventListener('abort', abort, { once: true });
        if (!dirty) notify = () => finish(resolve);
      });
    },
  };
}
