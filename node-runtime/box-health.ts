// Watches what the box gives this node: does the disk take writes and how fast, are descriptors left, is the clock right. What stands in the way is a condition
// for as long as it holds. Called by member.ts, which shows conditions in the status of this node and tells linked ones. It writes
// nothing while all is well: the node's own writes are looked at.

import type { Box } from './box.ts';
import {
  type ConditionId,
  type Judgement,
  judgeClock,
  judgeDescriptors,
  judgeDisk,
  judgeSpeed,
} from './box-conditions.ts';
import type { Clock, TimerId } from './clock.ts';
import type { Disk } from './disk.ts';
import { boxLookMs, boxWatchMs } from './limits.ts';

export interface BoxHealth {
  /** The disk, looked at. */
  readonly disk: Disk;
  /** One sentence each. */
  conditions(): string[];
  /** Something could not be stored: find out whether the box is why. */
  suspect(): void;
  start(): void;
  stop(): void;
}

/** Written to see whether the disk takes writes again. */
const probeFile = 'disk-probe';

export function createBoxHealth(dependencies: {
  clock: Clock;
  disk: Disk;
  /** Without one only the disk is looked at. */
  box: Box | undefined;
  /** How many instances are planned here; asked for between `start` and `stop`. */
  instances?: () => number;
  /** When this node's certificate is valid; asked for between `start` and `stop`. */
  span?: () => { beginMs: number; endMs: number } | undefined;
  /** A condition began, or is over. */
  onChanged(id: ConditionId, now: Judgement, before: Judgement): void;
}): BoxHealth {
  const { clock, disk, box, onChanged } = dependencies;
  const found = new Map<ConditionId, string>();
  /** When the writes that have not come back began. */
  const waiting = new Set<{ since: number }>();
  let lastMs: number[] = [];
  let failure: unknown;
  let bytesFree: number | undefined;
  let timer: TimerId | undefined;
  let dueAt = Number.POSITIVE_INFINITY;
  let looking = false;
  let probing = false;
  let stopped = true;

  function set(id: ConditionId, now: Judgement): void {
    const before = found.get(id);
    if (now === undefined) found.delete(id);
    else found.set(id, now);
    // The figures in it change all the time: that is no news.
    if ((now === undefined) !== (before === undefined)) onChanged(id, now, before);
  }

  function judge(): void {
    const oldest = Math.min(...[...waiting].map(({ since }) => since));
    set('disk', judgeDisk(box?.dataFolder ?? '', bytesFree, failure));
    set('disk-slow', judgeSpeed(lastMs, waiting.size === 0 ? 0 : clock.now() - oldest));
  }

  async function written(work: () => Promise<void>): Promise<void> {
    const one = { since: clock.now() };
    waiting.add(one);
    // A write that hangs is seen by the next look.
    try {
      await work();
      failure = undefined;
    } catch (error) {
      // A mistake in a path, or a file that is too large, is no condition of the box; want of descriptors is another one.
      const { id, cause } = error as { id?: unknown; cause?: NodeJS.ErrnoException };
      if (id === 'disk-failed' && cause?.code !== 'EMFILE') failure = error;
      else if (id === 'disk-failed') lookWithin(boxWatchMs);
      throw error;
    } finally {
      waiting.delete(one);
      lastMs = [...lastMs.slice(-1), clock.now() - one.since];
      judge();
      if (found.size > 0) lookWithin(boxWatchMs);
    }
  }

  const watched: Disk = {
    ...disk,
    write: (path, content) => written(() => disk.write(path, content)),
    append: (path, line) => written(() => disk.append(path, line)),
  };

  /** One at a time: a disk that hangs is not given more to do. */
  async function probe(): Promise<void> {
    if (probing) return;
    probing = true;
    try {
      await watched.write(probeFile, 'A file that Selvedge writes to see whether it can. It may be removed.\n');
      await disk.remove(probeFile);
    } catch {
      // `written` has noted it.
    } finally {
      probing = false;
    }
  }

  async function look(): Promise<void> {
    if (box !== undefined) {
      const [space, writable, descriptors] = await Promise.allSettled([
        box.space(),
        box.checkWritable(),
        box.descriptors(),
      ]);
      bytesFree = space.status === 'fulfilled' ? space.value.bytesFree : undefined;
      if (writable.status === 'rejected') failure ??= writable.reason;
      if (descriptors.status === 'fulfilled')
        set('descriptors', judgeDescriptors(descriptors.value, dependencies.instances?.()));
      else if ((descriptors.reason as NodeJS.ErrnoException).code === 'EMFILE') {
        set('descriptors', judgeDescriptors(undefined));
      }
    }
    set('clock', judgeClock(clock.now(), dependencies.span?.()));
    judge();
    // Not waited for: it may hang, and the look after this one tells so.
    if (failure !== undefined || found.has('disk-slow')) void probe();
  }

  /** The next look comes in at most so long. */
  function lookWithin(delayMs: number): void {
    const at = clock.now() + delayMs;
    if (stopped || looking || at >= dueAt) return;
    clock.clearTimeout(timer);
    dueAt = at;
    timer = clock.setTimeout(() => {
      dueAt = Number.POSITIVE_INFINITY;
      looking = true;
      look().finally(() => {
        looking = false;
        lookWithin(found.size > 0 || waiting.size > 0 ? boxWatchMs : boxLookMs);
      });
    }, delayMs);
  }

  return {
    disk: watched,
    conditions: () => [...found.values()],
    suspect() {
      if (!stopped) void probe();
    },
    start() {
      if (!stopped) return;
      stopped = false;
      lookWithin(0);
    },
    stop() {
      stopped = true;
      clock.clearTimeout(timer);
    },
  };
}
