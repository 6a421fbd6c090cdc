// The logs of all process instances: one object for each, and the look at their sizes. Called by process-engine.ts. A log that grows fast
// is looked at more often, and a quiet one as soon as somebody writes to it; quiet ones cost next to nothing.

import { type FSWatcher, watch } from 'node:fs';
import type { Clock, TimerId } from './clock.ts';
import { LOG_BYTES_MAX, LOG_CHECK_MS, LOG_FLOOD_CHECK_MS, LOG_QUIET_CHECK_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import { createProcessLog, type ProcessLog } from './process-log.ts';

export interface ProcessLogsDependencies {
  clock: Clock;
  open(instance: string): InstanceFolder;
  logger: { warn(fields: Record<string, unknown>, message: string): void } | undefined;
  bytesMax: number | undefined;
}

export interface ProcessLogs {
  of(instance: string): ProcessLog;
  forget(instance: string): void;
  clear(): void;
  /** Keeps them bounded until the signal aborts. */
  maintain(signal: AbortSignal): Promise<void>;
}

interface Entry {
  log: ProcessLog;
  files: string[];
  /** Between the last two looks, and between the last one and the next. */
  delayMs: number;
  lookedAt: number;
  /** On its files while it is quiet. */
  watchers: FSWatcher[];
  failed: boolean;
}

/** When to look again: before half of a file more is written at this rate, and never much later than last time. */
export function nextLookMs(
  { writtenBytes, sinceMs, isWatched }: { writtenBytes: number; sinceMs: number; isWatched: boolean },
  delayMs: number,
  bytesMax: number,
): number {
  const isQuiet = writtenBytes === 0 && isWatched;
  const untilHalfMs =
    writtenBytes === 0 ? Number.POSITIVE_INFINITY : ((bytesMax / 2) * Math.max(1, sinceMs)) / writtenBytes;
  const restMs = Math.min(isQuiet ? LOG_QUIET_CHECK_MS : LOG_CHECK_MS, 2 * delayMs, Math.floor(untilHalfMs));
  return Math.max(LOG_FLOOD_CHECK_MS, restMs);
}

export function createProcessLogs({
  clock,
  open,
  logger,
  bytesMax = LOG_BYTES_MAX,
}: ProcessLogsDependencies): ProcessLogs {
  const entries = new Map<string, Entry>();
  let wake: () => void = () => undefined;

  function unwatch(entry: Entry): void {
    for (const watcher of entry.watchers.splice(0)) watcher.close();
  }

  function soon(entry: Entry): void {
    unwatch(entry);
    entry.lookedAt = clock.now();
    entry.delayMs = LOG_FLOOD_CHECK_MS;
    wake();
  }

  /** The first write is heard of. Where the box gives no watch, the next look comes in its time. */
  function watchQuiet(entry: Entry): void {
    if (entry.watchers.length > 0) return;
    // What was written after the look and before the watch is found by looks that come soon once more.
    entry.delayMs = LOG_FLOOD_CHECK_MS;
    for (const file of entry.files) {
      try {
        const watcher = watch(file, { persistent: false });
        watcher.once('change', () => soon(entry));
        watcher.on('error', () => unwatch(entry));
        entry.watchers.push(watcher);
      } catch {
        unwatch(entry);
        return;
      }
    }
  }

  async function look(instance: string, entry: Entry): Promise<void> {
    const at = clock.now();
    const isWatched = entry.watchers.length === entry.files.length;
    try {
      const written = await entry.log.check();
      const seen = { writtenBytes: written, sinceMs: at - entry.lookedAt, isWatched };
      entry.delayMs = nextLookMs(seen, entry.delayMs, bytesMax);
      entry.failed = false;
      if (written === 0 && entries.get(instance) === entry) watchQuiet(entry);
    } catch (error) {
      if (!entry.failed) logger?.warn({ instance, error }, 'the log of an instance could not be rotated');
      entry.failed = true;
      entry.delayMs = LOG_CHECK_MS;
    }
    entry.lookedAt = at;
  }

  /** Quiet ones come early and together, instead of each in its own turn of the event loop. */
  function isDue({ lookedAt, delayMs }: Entry): boolean {
    return lookedAt + (delayMs > LOG_CHECK_MS ? delayMs / 2 : delayMs) <= clock.now();
  }

  function forget(instance: string): void {
    const entry = entries.get(instance);
    if (entry !== undefined) unwatch(entry);
    entries.delete(instance);
  }

  function rest(delayMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer: TimerId = clock.setTimeout(resolve, delayMs);
    wake = resolve;
    signal.addEventListener('abort', resolve as () => void, { once: true });
    return promise.finally(() => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', resolve as () => void);
    });
  }

  return {
    of(instance) {
      const known = entries.get(instance);
      if (known !== undefined) return known.log;
      const { stdout, stderr } = open(instance);
      const log = createProcessLog({ clock, stdout, stderr, bytesMax });
      const files = [stdout, stderr];
      const entry = { log, files, delayMs: LOG_FLOOD_CHECK_MS, lookedAt: clock.now(), watchers: [], failed: false };
      entries.set(instance, entry);
      wake();
      return log;
    },
    forget,
    clear() {
      for (const instance of [...entries.keys()]) forget(instance);
    },
    async maintain(signal) {
      while (!signal.aborted) {
        for (const [instance, entry] of entries) if (isDue(entry)) await look(instance, entry);
        const dueAt = [...entries.values()].map(({ lookedAt, delayMs }) => lookedAt + delayMs);
        const delayMs = Math.min(LOG_QUIET_CHECK_MS, ...dueAt.map((at) => at - clock.now()));
        await rest(Math.max(1, delayMs), signal);
      }
    },
  };
}
