// Counts the starts of this node, so that announcements of an earlier start can never be replayed as newer. Called by member.ts.
// It never counts down: what is damaged is made anew above all that can have been.

import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';

export const bootCounterFile = 'boot-counter';

/** Seconds since 1970 exceed any number of starts; a clock before this (2026) is not set, and its seconds prove nothing. */
const plausibleClockMs = Date.UTC(2026, 0, 1);

/** The starts so far; undefined when none was counted. Throws DamagedFileError. The file names its node: `<count> <peer id>`. */
export async function readBootCounter(disk: Disk, peerId: string): Promise<number | undefined> {
  const stored = await disk.read(bootCounterFile);
  if (stored === undefined) return undefined;
  const match = /^(\d{1,15}) (\S+)\n$/.exec(Buffer.from(stored).toString('utf8'));
  if (match === null) throw new DamagedFileError(bootCounterFile, 'it holds no count of starts');
  if (match[2] !== peerId) throw new DamagedFileError(bootCounterFile, `it is of another node, peer ${match[2]}`);
  return Number(match[1]);
}

/**
 * The number of this start; durable when it resolves. A damaged file (or a missing one, when `expected`) is replaced by the seconds
 * since 1970, and `onRebuilt` is told; throws DamagedFileError when the clock is not set.
 */
export async function nextBootCounter(input: {
  disk: Disk;
  peerId: string;
  nowMs: number;
  expected: boolean;
  onRebuilt(reason: string): void;
}): Promise<number> {
  const { disk, peerId, nowMs, expected, onRebuilt } = input;
  let last: number | undefined;
  try {
    last = await readBootCounter(disk, peerId);
    if (last === undefined && expected) throw new DamagedFileError(bootCounterFile, 'it is missing');
  } catch (error) {
    if (!(error instanceof DamagedFileError) || nowMs < plausibleClockMs) throw error;
    last = Math.floor(nowMs / 1000);
    onRebuilt(`${error.message}; it was made anew`);
  }
  const next = (last ?? 0) + 1;
  await disk.write(bootCounterFile, `${next} ${peerId}\n`);
  return next;
}
