// The output of one container instance: what Docker keeps of it (two bounded files), and what is kept here of containers that were
// replaced and of the engine's own words. Called by docker-engine.ts. It never writes.

import type { Clock } from './clock.ts';
import type { ContainerFacts, DockerClient } from './docker-client.ts';
import type { LogLine, LogQuery } from './engine.ts';
import { InstanceUnknownError } from './errors.ts';
import { DOCKER_RETRY_MS, LOG_TAIL_LINES_MAX } from './limits.ts';
import { isFiltered, lineFilter } from './log-filter.ts';

/** A line, or a piece of a long one, with Docker's time of it: nanoseconds, fixed width, so that text compares as time does. */
export interface StampedLine extends LogLine {
  at: number;
  stamp: string;
}

const headBytes = 8;

/** Takes Docker's stream format apart, however it is cut: a head of 8 bytes (stream, length), then the stamp and the text. */
export function createFrameReader(): (bytes: Buffer) => StampedLine[] {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.byteLength === 0 ? bytes : Buffer.concat([rest, bytes]);
    const lines: StampedLine[] = [];
    while (rest.byteLength >= headBytes) {
      const end = headBytes + rest.readUInt32BE(4);
      if (rest.byteLength < end) break;
      const text = rest.toString('utf8', headBytes, end);
      const space = text.indexOf(' ');
      const stamp = text.slice(0, space);
      lines.push({
        at: Date.parse(stamp),
        stamp,
        stream: rest[0] === 2 ? 'stderr' : 'stdout',
        text: text.slice(space + 1).replace(/\n$/, ''),
      });
      rest = rest.subarray(end);
    }
    return lines;
  };
}

/** Podman tells whole seconds, and keeps nanoseconds. */
const isCoarse = (stamp: string): boolean => stamp !== '' && !stamp.includes('.');

/** Seconds with nanoseconds, as Docker's `since` takes them; no line of that time is left out. */
function sinceOf(stamp: string): string {
  if (stamp === '') return '0';
  const seconds = Math.floor(Date.parse(stamp) / 1_000);
  return isCoarse(stamp) ? `${seconds - 1}.0` : `${seconds}.${/\.(\d+)/.exec(stamp)?.[1]}`;
}

export interface DockerLogSource {
  instance: string;
  clock: Clock;
  docker(): DockerClient;
  /** The container as it is once no launch is under way. */
  find(): Promise<ContainerFacts | undefined>;
  said(): Promise<LogLine[]>;
  /** Resolves when the container started, ended or went, or Docker did; and when the signal aborts. */
  changed(signal: AbortSignal): Promise<void>;
}

export async function* readDockerLog(
  source: DockerLogSource,
  query: LogQuery,
  signal: AbortSignal,
): AsyncGenerator<LogLine, void, undefined> {
  const { docker, find, said, changed, clock } = source;
  const first = await find();
  if (first === undefined) throw new InstanceUnknownError(source.instance);
  const wanted = Math.min(Math.max(query.tail, 0), LOG_TAIL_LINES_MAX);
  const wants = lineFilter(query);
  // At least one line: following begins behind it.
  const asked = isFiltered(query) && wanted > 0 ? 'all' : Math.max(wanted, 1);
  const readLast = async (tail: number | 'all') => createFrameReader()(await docker().logs(first.Id, { tail }));
  let kept = await readLast(asked);
  // Following begins behind as many lines of that second as there are.
  if (query.follow && asked !== 'all' && isCoarse(kept.at(-1)?.stamp ?? '')) kept = await readLast('all');
  const own = await said();
  const all = [...own, ...kept].filter(wants).sort((one, other) => (one.at ?? 0) - (other.at ?? 0));
  for (const { at, stream, text } of wanted === 0 ? [] : all.slice(-wanted)) yield { at, stream, text };
  if (!query.follow) return;

  let last = kept.at(-1)?.stamp ?? '';
  let lastId = first.Id;
  /** Lines of that time, where it is a whole second. */
  let lastCount = kept.filter(({ stamp }) => stamp === last).length;
  let saidUntil = own.at(-1)?.at ?? 0;
  while (!signal.aborted) {
    const change = changed(signal);
    try {
      const facts = await find();
      if (facts === undefined) return;
      const resumedAt = last;
      // Of another container none is known. Pieces of a long line share their stamp.
      let known = isCoarse(last) ? (facts.Id === lastId ? lastCount : 0) : Number.POSITIVE_INFINITY;
      lastId = facts.Id;
      const read = createFrameReader();
      for await (const bytes of await docker().followLogs(facts.Id, { since: sinceOf(last) }, signal)) {
        for (const { at, stream, text, stamp } of read(bytes as Buffer)) {
          // Only what was there before is left out.
          if (stamp < resumedAt || (stamp === resumedAt && known-- > 0)) continue;
          lastCount = stamp === last ? lastCount + 1 : 1;
          last = stamp;
          if (wants({ at, stream, text })) yield { at, stream, text };
          if (signal.aborted) return;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if ((error as { retryable?: boolean }).retryable === false) throw error;
      await clock.sleep(DOCKER_RETRY_MS, signal).catch(() => undefined);
      continue;
    }
    for (const line of await said()) {
      if ((line.at ?? 0) <= saidUntil || line.text === '') continue;
      saidUntil = line.at ?? 0;
      // Kept lines of a container that was replaced have been followed already.
      if (line.stream === 'stderr' && line.text.startsWith('selvedge: ') && wants(line)) yield line;
    }
    await change;
  }
}
