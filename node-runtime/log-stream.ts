// One log file that somebody else appends to, and the one file that was rotated away from it, as a single stream of bytes
// with positions that only grow. Called by process-log.ts.

import {
  appendFileSync,
  closeSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createKeyedQueue } from './keyed-queue.ts';
import { LOG_CUT_BYTES_MAX, LOG_LINE_BYTES_MAX } from './limits.ts';

export interface LogStream {
  /** The first position that can still be read. */
  start(): Promise<number>;
  /** The position behind the last byte, and when the file was last written, in milliseconds since 1970. */
  end(): Promise<{ position: number; modifiedMs: number }>;
  /** Bytes from `position`, or from the first one after it that is still there; empty at the end. */
  read(position: number, bytesMax: number): Promise<{ position: number; bytes: Buffer }>;
  /** Moves the end of the content to `<path>.1` when it is larger, which has twice as much at most; see process-log.ts for what that may lose. */
  rotate(bytesMax: number): Promise<void>;
}

export function createLogStream(path: string): LogStream {
  const previous = `${path}.1`;
  /** Position of the current file's first byte; the previous file ends there. Unknown until the first look. */
  let base: number | undefined;
  let previousSize = 0;
  let lastSize = 0;
  // A read in the middle of a rotation would see a file twice or not at all.
  const queue = createKeyedQueue();
  const exclusive = <T>(work: () => Promise<T>) => queue.run(path, work);

  function look(): { base: number; size: number; first: number; modifiedMs: number } {
    if (base === undefined) {
      previousSize = sizeOf(previous).size;
      base = previousSize;
    }
    const { size, modifiedMs } = sizeOf(path);
    if (size < lastSize) {
      // Somebody else truncated it: what it holds now is new, and the old file no longer ends where it begins.
      base += lastSize;
      previousSize = 0;
    }
    lastSize = size;
    return { base, size, first: base - previousSize, modifiedMs };
  }

  return {
    start: () =>
      exclusive(async () => {
        return look().first;
      }),

    end: () =>
      exclusive(async () => {
        const now = look();
        return { position: now.base + now.size, modifiedMs: now.modifiedMs };
      }),

    read: (position, bytesMax) =>
      exclusive(async () => {
        const now = look();
        const from = Math.max(position, now.first);
        if (from < now.base) {
          const bytes = await readAt(previous, from - now.first, Math.min(bytesMax, now.base - from));
          if (bytes.byteLength > 0) return { position: from, bytes };
        }
        const current = Math.max(from, now.base);
        const available = Math.max(0, now.base + now.size - current);
        return { position: current, bytes: await readAt(path, current - now.base, Math.min(bytesMax, available)) };
      }),

    rotate: (bytesMax) =>
      exclusive(async () => {
        const now = look();
        // An older version, or a daemon that was away, may have left any size.
        if (previousSize > 2 * bytesMax) previousSize = (await keepEnd(previous, previousSize, bytesMax)).bytes;
        if (now.size <= bytesMax) return;
        // A writer that is faster than the copy would keep us there: of what it is ahead by then the end alone is kept.
        const copied = await keepEnd(path, now.size, bytesMax);
        const last = cut(path, copied.end);
        appendFileSync(previous, last);
        base = now.base + copied.end + last.byteLength;
        previousSize = copied.bytes + last.byteLength;
        lastSize = 0;
      }),
  };

  /**
   * A file as `<path>.1`: all of it, or the last `bytesMax` bytes from the beginning of a line on where it has more than twice these; with
   * what is appended meanwhile up to twice these. In this order a crash in between leaves lines twice instead of nowhere.
   */
  async function keepEnd(file: string, size: number, bytesMax: number): Promise<{ end: number; bytes: number }> {
    const begin = size > 2 * bytesMax ? await lineAfter(file, size - bytesMax) : 0;
    const endMax = begin + 2 * bytesMax;
    const copy = `${previous}.tmp`;
    await pipeline(createReadStream(file, { start: begin, end: size - 1 }), createWriteStream(copy, { mode: 0o600 }));
    let end = size;
    while (end < endMax) {
      const more = await readAt(file, end, Math.min(1024 * 1024, endMax - end));
      if (more.byteLength === 0) break;
      await appendTo(copy, more);
      end += more.byteLength;
    }
    await rename(copy, previous);
    return { end, bytes: end - begin };
  }
}

/** Empties the file and answers its end beyond `from`, from the beginning of a line on. At once, so that next to nothing is written in between. */
function cut(path: string, from: number): Buffer {
  const file = openSync(path, 'r+');
  try {
    const size = fstatSync(file).size;
    const begin = Math.max(from, size - LOG_CUT_BYTES_MAX);
    const buffer = Buffer.alloc(Math.max(0, size - begin));
    const bytes = buffer.subarray(0, readSync(file, buffer, 0, buffer.byteLength, begin));
    ftruncateSync(file, 0);
    return begin === from ? bytes : bytes.subarray(bytes.indexOf(0x0a) + 1);
  } finally {
    closeSync(file);
  }
}

/** Where the first line begins that begins there or later; there, where a line is longer than one may be. */
async function lineAfter(path: string, offset: number): Promise<number> {
  const newline = (await readAt(path, offset - 1, LOG_LINE_BYTES_MAX)).indexOf(0x0a);
  return newline < 0 ? offset : offset + newline;
}

/**
 * Of a file that a workload holds open the kernel answers from memory: a turn in the thread pool would cost seven times what the
 * answer does, twice a second for each instance.
 */
function sizeOf(path: string): { size: number; modifiedMs: number } {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    return { size: found?.size ?? 0, modifiedMs: found?.mtimeMs ?? 0 };
  } catch {
    return { size: 0, modifiedMs: 0 };
  }
}

async function readAt(path: string, offset: number, bytesMax: number): Promise<Buffer> {
  if (bytesMax === 0) return Buffer.alloc(0);
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch {
    return Buffer.alloc(0);
  }
  try {
    const buffer = Buffer.alloc(bytesMax);
    const { bytesRead } = await file.read(buffer, 0, bytesMax, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function appendTo(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, 'a');
  try {
    await file.writeFile(bytes);
  } finally {
    await file.close();
  }
}
