// The last lines of instances that were removed: what an operator reads after the instance is gone. One small file each in the folder
// `gone-logs`, bounded in number, bytes and age. Called by engines.ts. It never holds up a removal: what fails is told, not thrown.

import type { Clock, TimerId } from './clock.ts';
import type { Disk } from './disk.ts';
import type { LogLine, LogQuery } from './engine.ts';
import { InstanceUnknownError } from './errors.ts';
import { isInstanceName } from './launch-check.ts';
import {
  goneLogAgeMsMax,
  goneLogBytesFreeMin,
  goneLogBytesFreePartMin,
  goneLogBytesMax,
  goneLogLookMs,
  goneLogsMax,
} from './limits.ts';
import { lineFilter } from './log-filter.ts';

export interface GoneInstance {
  instance: string;
  /** Milliseconds since 1970. */
  goneAt: number;
}

export interface KeptLogs {
  /** Removes what is too old, now and then, and while room is short the oldest until there is some. Idempotent. */
  start(): void;
  stop(): void;
  /** Replaces what was kept of an instance of that name. Never rejects. */
  keep(instance: string, lines: AsyncIterable<LogLine>): Promise<void>;
  /** The one of that name, or the last to go of those of which it is a part. */
  find(name: string): Promise<GoneInstance | undefined>;
  /** Rejects with InstanceUnknownError when nothing is kept. */
  read(instance: string, query: LogQuery): AsyncGenerator<LogLine, void, undefined>;
}

const folder = 'gone-logs';
/** Time first, in a fixed width: names are sorted by it. */
const timeDigits = 15;

interface KeptFile extends GoneInstance {
  path: string;
}

function kept(name: string): KeptFile[] {
  const match = /^(\d{15})-(.+)\.jsonl$/.exec(name);
  const instance = match?.[2] ?? '';
  return isInstanceName(instance) ? [{ instance, goneAt: Number(match?.[1]), path: `${folder}/${name}` }] : [];
}

/** None where the file is damaged. A line without a time has none in the file either. */
function readLine(text: string): LogLine[] {
  try {
    return [{ at: undefined, ...(JSON.parse(text) as Omit<LogLine, 'at'>) }];
  } catch {
    return [];
  }
}

export function createKeptLogs({
  disk,
  clock,
  space,
  onProblem,
}: {
  disk: Disk;
  clock: Clock;
  /** Of the volume that they are on. */
  space?: () => Promise<{ bytesFree: number; bytes: number }>;
  onProblem(message: string): void;
}): KeptLogs {
  /** Oldest first, without those that are too old. */
  const all = async (): Promise<KeptFile[]> => (await disk.list(folder)).flatMap(kept);
  const isFresh = ({ goneAt }: KeptFile): boolean => clock.now() - goneAt < goneLogAgeMsMax;
  const fresh = async (): Promise<KeptFile[]> => (await all()).filter(isFresh);

  let timer: TimerId | undefined;
  let stopped = true;

  async function hasRoom(): Promise<boolean> {
    if (space === undefined) return true;
    const { bytesFree, bytes } = await space();
    return bytesFree >= Math.min(goneLogBytesFreeMin, bytes * goneLogBytesFreePartMin);
  }

  /** While other things need the room more, none is kept: whether there is room now. */
  async function makeRoom(): Promise<boolean> {
    for (const { path } of await all()) {
      if (await hasRoom()) return true;
      await disk.remove(path);
    }
    return hasRoom();
  }

  async function tidy(): Promise<void> {
    try {
      for (const one of await all()) if (!isFresh(one)) await disk.remove(one.path);
      await makeRoom();
    } catch {
      // The disk has trouble, which box-health.ts tells; the next look tries again.
    }
    if (!stopped) timer = clock.setTimeout(() => void tidy(), goneLogLookMs);
  }

  /** The last lines that fit. */
  async function textOf(lines: AsyncIterable<LogLine>): Promise<string> {
    const held: string[] = [];
    let bytes = 0;
    for await (const line of lines) {
      const text = `${JSON.stringify(line)}\n`;
      held.push(text);
      bytes += Buffer.byteLength(text);
      while (bytes > goneLogBytesMax) bytes -= Buffer.byteLength(held.shift() ?? '');
    }
    return held.join('');
  }

  return {
    start() {
      if (!stopped) return;
      stopped = false;
      void tidy();
    },
    stop() {
      stopped = true;
      clock.clearTimeout(timer);
    },

    async keep(instance, lines) {
      try {
        if (!(await makeRoom())) throw new Error('too little room is left on the disk');
        const text = await textOf(lines);
        const path = `${folder}/${String(clock.now()).padStart(timeDigits, '0')}-${instance}.jsonl`;
        await disk.write(path, text);
        const others = (await all()).filter((one) => one.path !== path);
        const excess = others.length + 1 - goneLogsMax;
        for (const [index, one] of others.entries()) {
          if (index < excess || one.instance === instance || !isFresh(one)) await disk.remove(one.path);
        }
      } catch (error) {
        if (error instanceof InstanceUnknownError) return;
        onProblem(`the last lines of ${instance} could not be kept: ${(error as Error).message}`);
      }
    },

    async find(name) {
      const there = await fresh();
      const found =
        there.findLast(({ instance }) => instance === name) ??
        there.findLast(({ instance }) => `.${instance}.`.includes(`.${name}.`));
      return found && { instance: found.instance, goneAt: found.goneAt };
    },

    async *read(instance, query) {
      const found = (await fresh()).findLast((one) => one.instance === instance);
      const content = found && (await disk.read(found.path));
      if (content === undefined) throw new InstanceUnknownError(instance);
      const lines = Buffer.from(content)
        .toString('utf8')
        .split('\n')
        .filter((text) => text !== '')
        .flatMap(readLine)
        .filter(lineFilter(query));
      yield* query.tail <= 0 ? [] : lines.slice(-query.tail);
    },
  };
}
