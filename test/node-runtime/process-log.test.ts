// Logs of process instances: bounded, in order, and followed across a rotation.

import { appendFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { LogLine } from '../../node-runtime/engine.ts';
import { LOG_LINE_BYTES_MAX } from '../../node-runtime/limits.ts';
import { createProcessLog } from '../../node-runtime/process-log.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { createProcessWorld } from './process-world.ts';

async function createLog(t: { teardown(run: () => Promise<void>): void }, bytesMax = 1_000) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-log-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const clock = createSimClock();
  const stdout = join(folder, 'stdout.log');
  const stderr = join(folder, 'stderr.log');
  const log = createProcessLog({ clock, stdout, stderr, bytesMax });
  const read = async (tail: number) => {
    const lines: LogLine[] = [];
    for await (const line of log.read({ tail, follow: false }, async () => true, new AbortController().signal))
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
