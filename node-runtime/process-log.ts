// The output of one process instance: two files that the workload appends to by itself, bounded, read from the end and
// followed. Called by process-engine.ts, which calls `check` now and then. It never writes into the files.
//
// Rotation is copy and truncate, because the workload holds the file open: what it writes between the end of the copy
// and the truncation (microseconds, after the copy has caught up) is lost. While no daemon runs nothing is rotated.

import type { Clock } from './clock.ts';
import type { LogLine, LogQuery } from './engine.ts';
import {
  LOG_BYTES_MAX,
  LOG_CHUNK_BYTES,
  LOG_FOLLOW_MS,
  LOG_LINE_BYTES_MAX,
  LOG_LOOKS_MAX,
  LOG_MARKS_MAX,
  LOG_TAIL_BYTES_MAX,
  LOG_TAIL_LINES_MAX,
} from './limits.ts';
import { isFiltered, lineFilter } from './log-filter.ts';
import { createLogStream, type LogStream } from './log-stream.ts';

type StreamName = LogLine['stream'];
const STREAMS: StreamName[] = ['stdout', 'stderr'];

/** How far both streams had come at one time: what orders lines of one against lines of the other. */
interface Mark {
  at: number;
  stdout: number;
  stderr: number;
}

export interface ProcessLog {
  /** Notes the sizes, and rotates what is too large. */
  check(): Promise<void>;
  /**
   * The last lines of both streams in order of arrival as far as marks tell, then new ones. `ended` says whether the
   * workload has ended: then a last line without a newline is delivered too. Ends when the signal aborts.
   */
  read(query: LogQuery, ended: () => Promise<boolean>, signal: AbortSignal): AsyncGenerator<LogLine, void, undefined>;
}

export interface ProcessLogDependencies {
  clock: Clock;
  stdout: string;
  stderr: string;
  bytesMax?: number;
}

export function createProcessLog({
  clock,
  stdout,
  stderr,
  bytesMax = LOG_BYTES_MAX,
}: ProcessLogDependencies): ProcessLog {
  const streams: Record<StreamName, LogStream> = { stdout: createLogStream(stdout), stderr: createLogStream(stderr) };
  const marks: Mark[] = [];

  /**
   * How far both streams are at one time, and which was written to last: of what arrived in between, that one comes second.
   * The first is looked at again after the second, until nothing came in between or it is clear that it never rests.
   */
  async function ends(): Promise<{ positions: Record<StreamName, number>; order: StreamName[]; modifiedMs: number }> {
    let stdout = await streams.stdout.end();
    for (let look = 1; ; look++) {
      const stderr = await streams.stderr.end();
      const again = await streams.stdout.end();
      const order: StreamName[] = stderr.modifiedMs < again.modifiedMs ? ['stderr', 'stdout'] : STREAMS;
      if (again.position === stdout.position || look === LOG_LOOKS_MAX) {
        const modifiedMs = Math.max(stderr.modifiedMs, again.modifiedMs);
        return { positions: { stdout: stdout.position, stderr: stderr.position }, order, modifiedMs };
      }
      stdout = again;
    }
  }

  async function mark(): Promise<Mark> {
    const at = clock.now();
    const { positions, modifiedMs } = await ends();
    const last = marks.at(-1);
    // What is there at the first look came before the files were last written.
    const now = { at: last === undefined ? Math.min(at, modifiedMs) : at, ...positions };
    if (last === undefined || last.stdout !== now.stdout || last.stderr !== now.stderr) {
      marks.push(now);
      if (marks.length > LOG_MARKS_MAX) thinOut();
    }
    return now;
  }

  /** Every other mark of the older half goes: the older a line is, the less exact is its time. */
  function thinOut(): void {
    const half = Math.trunc(marks.length / 2);
    const older = marks.splice(0, half);
    marks.unshift(...older.filter((_, index) => index % 2 === 0));
  }

  /** The first mark that has seen the line that ends at `position`. */
  function seenBy(stream: StreamName, position: number): number {
    let [from, to] = [0, marks.length];
    while (from < to) {
      const middle = Math.trunc((from + to) / 2);
      if ((marks[middle]?.[stream] ?? 0) >= position) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** The last lines, and where following goes on in each stream. */
  async function tail(query: LogQuery, count: number): Promise<{ lines: LogLine[]; next: Record<StreamName, number> }> {
    const upTo = await mark();
    const wanted = lineFilter(query);
    const found: Found[] = [];
    const next = { stdout: upTo.stdout, stderr: upTo.stderr };
    for (const stream of STREAMS) {
      const start = await streams[stream].start();
      const splitter = createSplitter(isFiltered(query) ? start : Math.max(0, upTo[stream] - LOG_TAIL_BYTES_MAX));
      // What begins in the middle of the file begins in the middle of a line.
      let skip = splitter.position() > start;
      const held = createHeld(count);
      const take = (pieces: Piece[]) => {
        for (const { end, text } of pieces) {
          const mark = seenBy(stream, end);
          const latest = marks[mark]?.at;
          // Of what was there before the first mark only the latest time is known.
          const at = mark === 0 ? undefined : latest;
          if (!skip && wanted({ at: latest, stream, text })) held.push({ order: at ?? 0, line: { at, stream, text } });
          skip = false;
        }
      };
      while (count > 0 && splitter.position() < upTo[stream]) {
        const wanted = Math.min(LOG_CHUNK_BYTES, upTo[stream] - splitter.position());
        const chunk = await streams[stream].read(splitter.position(), wanted);
        if (chunk.bytes.byteLength === 0) break;
        take(splitter.push(chunk.position, chunk.bytes));
      }
      if (!query.follow) take(splitter.flush());
      else next[stream] = count > 0 ? splitter.lineStart() : upTo[stream];
      found.push(...held.all());
    }
    found.sort((a, b) => a.order - b.order);
    return { lines: count === 0 ? [] : found.slice(-count).map(({ line }) => line), next };
  }

  return {
    async check() {
      // Most logs are quiet most of the time, and this is asked of each every second.
      const last = marks.at(-1);
      const [stdout, stderr] = [await streams.stdout.end(), await streams.stderr.end()];
      if (last !== undefined && last.stdout === stdout.position && last.stderr === stderr.position) return;
      await mark();
      for (const stream of STREAMS) await streams[stream].rotate(bytesMax);
    },

    async *read(query, ended, signal) {
      const count = Math.min(Math.max(0, Math.trunc(query.tail)), LOG_TAIL_LINES_MAX);
      const first = await tail(query, count);
      yield* first.lines;
      if (!query.follow) return;
      const wants = lineFilter(query);

      const splitters = { stdout: createSplitter(first.next.stdout), stderr: createSplitter(first.next.stderr) };
      while (!signal.aborted) {
        // Asked before reading: what it wrote before its end is then in this round.
        const over = await ended();
        const { positions, order } = await ends();
        let more = false;
        for (const stream of order) {
          const splitter = splitters[stream];
          const wanted = Math.max(0, Math.min(LOG_CHUNK_BYTES, positions[stream] - splitter.position()));
          const chunk = await streams[stream].read(splitter.position(), wanted);
          const pieces = splitter.push(chunk.position, chunk.bytes);
          if (chunk.bytes.byteLength > 0 && splitter.position() < positions[stream]) more = true;
          else if (over) pieces.push(...splitter.flush());
          for (const { text } of pieces) {
            if (signal.aborted) return;
            const line: LogLine = { at: clock.now(), stream, text };
            if (wants(line)) yield line;
          }
        }
        if (more) continue;
        try {
          await clock.sleep(LOG_FOLLOW_MS, signal);
        } catch {
          return;
        }
      }
    },
  };
}

interface Found {
  order: number;
  line: LogLine;
}

/** The last lines of those that are pushed, bounded in number and bytes. */
function createHeld(count: number) {
  const lines: Found[] = [];
  let bytes = 0;
  return {
    push(found: Found): void {
      lines.push(found);
      bytes += found.line.text.length;
      while (lines.length > count || bytes > LOG_TAIL_BYTES_MAX) bytes -= lines.shift()?.line.text.length ?? 0;
    },
    all: () => lines,
  };
}

interface Piece {
  /** Position in the stream behind it. */
  end: number;
  text: string;
}

/** Bytes to lines; a line that is longer than allowed comes in pieces. */
function createSplitter(from: number) {
  let at = from;
  let held: Buffer = Buffer.alloc(0);

  return {
    /** Where the next bytes must come from. */
    position: () => at,
    /** Where the line that is not complete yet begins. */
    lineStart: () => at - held.byteLength,
    push(position: number, bytes: Buffer): Piece[] {
      // A gap: what was between is gone, and so is the meaning of the half line before it.
      if (position !== at) held = Buffer.alloc(0);
      const start = position - held.byteLength;
      const all = held.byteLength === 0 ? bytes : Buffer.concat([held, bytes]);
      const pieces: Piece[] = [];
      let taken = 0;
      for (;;) {
        const newline = all.indexOf(0x0a, taken);
        const length = (newline < 0 ? all.byteLength : newline) - taken;
        if (length > LOG_LINE_BYTES_MAX) {
          pieces.push({
            end: start + taken + LOG_LINE_BYTES_MAX,
            text: textOf(all.subarray(taken, taken + LOG_LINE_BYTES_MAX)),
          });
          taken += LOG_LINE_BYTES_MAX;
        } else if (newline < 0) {
          break;
        } else {
          pieces.push({ end: start + newline + 1, text: textOf(all.subarray(taken, newline)) });
          taken = newline + 1;
        }
      }
      held = Buffer.from(all.subarray(taken));
      at = position + bytes.byteLength;
      return pieces;
    },
    flush(): Piece[] {
      if (held.byteLength === 0) return [];
      const piece = { end: at, text: textOf(held) };
      held = Buffer.alloc(0);
      return [piece];
    },
  };
}

function textOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  return text.endsWith('\r') ? text.slice(0, -1) : text;
}
