// Logs of process instances: bounded, in order, and followed across a rotation.

import { appendFile, mkdtemp, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { LogLine, LogQuery } from '../../node-runtime/engine.ts';
import {
  LOG_BYTES_MAX,
  LOG_CHECK_MS,
  LOG_FLOOD_CHECK_MS,
  LOG_LINE_BYTES_MAX,
  LOG_MARKS_MAX,
  LOG_QUIET_CHECK_MS,
  LOG_TAIL_BYTES_MAX,
} from '../../node-runtime/limits.ts';
import { createProcessLog } from '../../node-runtime/process-log.ts';
import { nextLookMs } from '../../node-runtime/process-logs.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { createProcessWorld } from './process-world.ts';

/** What a tight loop writes between two looks of a box that is busy with other tests comes on top of the files. */
const FLOOD_BYTES_MAX = 150_000_000;

async function createLog(t: { teardown(run: () => Promise<void>): void }, bytesMax = 1_000) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-log-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const clock = createSimClock();
  const stdout = join(folder, 'stdout.log');
  const stderr = join(folder, 'stderr.log');
  const log = createProcessLog({ clock, stdout, stderr, bytesMax });
  const read = async (tail: number, more: Partial<LogQuery> = {}) => {
    const lines: LogLine[] = [];
    for await (const line of log.read({ tail, follow: false, ...more }, async () => true, new AbortController().signal))
      lines.push(line);
    return lines;
  };
  return { clock, stdout, stderr, log, read };
}

const texts = (lines: LogLine[]) => lines.map(({ text }) => text);

test('lines of both streams come in the order in which they arrived, as far as marks tell', async (t) => {
  const { clock, stdout, stderr, log, read } = await createLog(t);
  await log.check();
  for (const [file, text] of [
    [stderr, 'one\n'],
    [stdout, 'two\n'],
    [stderr, 'three\n'],
    [stdout, 'four\n'],
  ] as const) {
    await appendFile(file, text);
    await clock.advance(1_000);
    await log.check();
  }
  const lines = await read(10);
  t.deepEqual(texts(lines), ['one', 'two', 'three', 'four']);
  t.is((lines[3]?.at ?? 0) - (lines[0]?.at ?? 0), 3_000);
  t.deepEqual(texts(await read(2)), ['three', 'four']);
});

test('a file that is too large is moved aside once, and the tail still reads across', async (t) => {
  const { stdout, log, read } = await createLog(t, 100);
  for (let round = 0; round < 5; round++) {
    const lines = Array.from({ length: 10 }, (_, index) => `round ${round} line ${index}\n`).join('');
    await appendFile(stdout, lines);
    await log.check();
  }
  t.is((await stat(stdout)).size, 0);
  t.regex(await readFile(`${stdout}.1`, 'utf8'), /^round 4 line 0\n/);
  await appendFile(stdout, 'after\n');
  t.deepEqual(texts(await read(2)), ['round 4 line 9', 'after']);
  t.is((await read(1_000)).length, 11, 'older ones are gone');
});

test('lines that arrived before a time are left out, also those of which only the latest time is known', async (t) => {
  const { clock, stdout, log, read } = await createLog(t, 100_000);
  await appendFile(stdout, 'before the daemon\n');
  await utimes(stdout, 5, 5);
  await clock.advance(100_000);
  await log.check();
  const times: number[] = [];
  for (let index = 0; index < LOG_MARKS_MAX + 100; index++) {
    await appendFile(stdout, '.\n');
    await clock.advance(1_000);
    await log.check();
    times.push(clock.now());
  }
  t.is((await read(10_000, { since: 5_000 })).length, times.length + 1);
  t.is((await read(10_000, { since: 5_001 })).length, times.length);
  t.is((await read(10_000, { since: times.at(-10) as number })).length, 10);
  const old = (await read(10_000, { since: times[9] as number })).length;
  t.true(old >= times.length - 9 && old <= times.length - 7, 'old times are less exact');
  t.is((await read(3, { since: times.at(-10) as number })).length, 3);
});

test('a text is looked for in all that is kept, and what is found is bounded', async (t) => {
  const { stdout, read } = await createLog(t);
  const line = `${'x'.repeat(8_000)}\n`;
  await appendFile(stdout, `the needle\n${line.repeat(300)}`);
  t.deepEqual(texts(await read(5)), Array(5).fill(line.trim()));
  t.deepEqual(texts(await read(5, { grep: 'needle' })), ['the needle']);
  const many = texts(await read(10_000, { grep: 'x' }));
  t.true(many.join('').length <= LOG_TAIL_BYTES_MAX && many.length > 100);
});

test('a very long line is delivered in pieces', async (t) => {
  const { stdout, read } = await createLog(t);
  await appendFile(stdout, `${'x'.repeat(LOG_LINE_BYTES_MAX * 2 + 5)}\nshort\n`);
  const lines = await read(10);
  t.deepEqual(
    lines.map(({ text }) => text.length),
    [LOG_LINE_BYTES_MAX, LOG_LINE_BYTES_MAX, 5, 5],
  );
});

test('bytes that are no text do no harm', async (t) => {
  const { stdout, read } = await createLog(t);
  await appendFile(stdout, Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0xc3]));
  t.is((await read(10)).length, 2);
});

test('a real workload’s log is bounded while a follower loses no line', async (t) => {
  const bytesMax = 20_000;
  const world = await createProcessWorld({ trial: { logBytesMax: bytesMax } });
  t.teardown(world.close);
  const count = 3_000;
  // Paced, so that the copy catches up: a writer that never pauses may lose what the rotation's comment says.
  const chatter = `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); echo "line number $i"; [ $((i % 100)) = 0 ] && sleep 0.1; done; exec sleep 1000`;
  await world.engine.launch(launchOf(['/bin/sh', '-c', chatter]));
  const reading = new AbortController();
  const lines: string[] = [];
  for await (const { text } of world.engine.logs('default.app.web.0', { tail: 10_000, follow: true }, reading.signal)) {
    lines.push(text);
    if (text === `line number ${count}`) reading.abort();
  }
  t.deepEqual(
    lines,
    Array.from({ length: count }, (_, index) => `line number ${index + 1}`),
  );
  const size = async (name: string) => (await stat(world.path('default.app.web.0', name))).size;
  t.true((await size('stdout.log.1')) > 0, 'it was rotated');
  await eventually(async () => (await size('stdout.log')) <= bytesMax, { what: 'a bounded file' });
});

test('the faster a log grows the sooner it is looked at again, within bounds', (t) => {
  const [second, soon, bytesMax] = [LOG_CHECK_MS, LOG_FLOOD_CHECK_MS, 4_000_000];
  const after = (writtenBytes: number, sinceMs: number, isWatched = false) =>
    nextLookMs({ writtenBytes, sinceMs, isWatched }, sinceMs, bytesMax);
  t.is(after(0, second), second);
  t.is(after(1_000_000, second), second);
  t.is(after(20_000_000, second), 100);
  t.is(after(2_000_000_000, second), soon);
  t.is(after(0, soon), 2 * soon, 'it comes to rest step by step');
  t.is(after(0, LOG_QUIET_CHECK_MS, true), LOG_QUIET_CHECK_MS, 'the first write is heard of');
  t.is(after(1, LOG_QUIET_CHECK_MS, true), second);
});

test('only the end of a file that is far too large is kept, from the beginning of a line on, and what it was before goes', async (t) => {
  const { stdout, log, read } = await createLog(t, 100);
  const lines = Array.from({ length: 1_000 }, (_, index) => `line ${index}\n`).join('');
  await appendFile(stdout, lines);
  await appendFile(`${stdout}.1`, lines);
  const reading = read(2_000);
  await reading;
  await log.check();
  t.deepEqual(
    texts(await read(2_000)),
    Array.from({ length: 11 }, (_, index) => `line ${989 + index}`),
  );
  t.true((await stat(`${stdout}.1`)).size <= 100);
  t.is((await stat(stdout)).size, 0);
  // Also where nothing is written any more.
  await appendFile(stdout, 'after\n');
  await log.check();
  t.deepEqual(texts(await read(2)), ['line 999', 'after']);
});

/** Bytes of the instance's logs, whatever they are called. */
async function logBytes(folder: string): Promise<number> {
  const names = (await readdir(folder)).filter((name) => name.startsWith('std'));
  const sizes = names.map((name) => stat(join(folder, name)).catch(() => undefined));
  return (await Promise.all(sizes)).reduce((sum, found) => sum + (found?.size ?? 0), 0);
}

test('a workload that writes in a tight loop fills no disk, from its start and after it was quiet', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  // A second of it, twice, which may end within a line; in between the log is quiet long enough for the looks to be rare.
  const flood = 'timeout 1 yes 0123456789012345678901234567890123456789';
  const instance = 'default.app.web.0';
  await world.engine.launch(
    launchOf(['/bin/sh', '-c', `${flood}; sleep 3; ${flood}; echo; echo over; exec sleep 1000`]),
  );
  let most = 0;
  await eventually(
    async () => {
      most = Math.max(most, await logBytes(world.path(instance)));
      const lines: string[] = [];
      for await (const { text } of world.engine.logs(instance, { tail: 1, follow: false })) lines.push(text);
      return lines[0] === 'over';
    },
    { what: 'the end of the second flood', everyMs: 5, deadlineMs: 60_000 },
  );
  t.log(`at most ${Math.round(most / 1_000_000)} MB`);
  t.true(most < FLOOD_BYTES_MAX, `${most} bytes`);
  await eventually(async () => (await logBytes(world.path(instance))) <= 3 * LOG_BYTES_MAX, { what: 'a bounded log' });
});
