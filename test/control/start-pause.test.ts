// Starts under systemd: a daemon that cannot start waits before each next try, longer each time and never for good; one that lasted, or was
// ended on purpose, begins anew. The whole under a real systemd: test/e2e/systemd.test.ts.

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startLastsMs, startPauseMsMax } from '../../control/cli/limits.ts';
import { createCountedStart, pauseAfter } from '../../control/cli/start-pause.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { temporaryFolder, testHost } from './cli-harness.ts';

async function world(t: ExecutionContext) {
  const folder = await temporaryFolder(t);
  const clock = createSimClock();
  /** One process of the unit. */
  const start = () => {
    const host = { ...testHost({ env: { RUNTIME_DIRECTORY: folder } }), clock };
    const counted = createCountedStart(host);
    let answer: boolean | undefined;
    const done = counted.wait().then((may) => {
      answer = may;
    });
    return { host, counted, done, answer: () => answer };
  };
  /** Real file operations are done before time moves. */
  const pausing = async (one: ReturnType<typeof start>): Promise<void> => {
    while (one.answer() === undefined && clock.pending() === 0) await new Promise(setImmediate);
  };
  return { folder, file: join(folder, 'starts'), clock, start, pausing };
}

test('pauses grow to a minute, and the first two starts have none', (t) => {
  t.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 1000, 1e6].map(pauseAfter), [
    ...[0, 0, 2_000, 4_000, 8_000, 16_000, 32_000],
    ...[startPauseMsMax, startPauseMsMax, startPauseMsMax],
  ]);
});

test('starts that do not last are counted over processes, and the wait is said', async (t) => {
  const { clock, start, pausing } = await world(t);
  const waits: number[] = [];
  for (let count = 0; count < 5; count++) {
    const one = start();
    await pausing(one);
    const from = clock.now();
    await clock.advanceUntil(() => one.answer() !== undefined, startPauseMsMax);
    await one.done;
    waits.push(clock.now() - from);
    t.true(one.answer());
    if (count === 4)
      t.deepEqual(one.host.printed.error, [
        'The last 4 starts did not last 60 s each: this one waits 8 s. What it ran goes on.',
      ]);
  }
  t.deepEqual(waits, [0, 0, 2_000, 4_000, 8_000]);
});

test('a daemon that lasted, or was ended on purpose, starts without a pause the next time', async (t) => {
  const { clock, start, file } = await world(t);
  await writeFile(file, '1');
  const lasting = start();
  await lasting.done;
  t.is(await readFile(file, 'utf8'), '2');
  lasting.counted.started();
  await clock.advance(startLastsMs - 1);
  t.true(existsSync(file));
  await clock.advance(1);
  while (existsSync(file)) await new Promise(setImmediate);
  await start().done;
  t.is(await readFile(file, 'utf8'), '1');
  await lasting.counted.forget();
  t.false(existsSync(file));
});

test('a signal ends the wait, and what is no count is none', async (t) => {
  const { start, file, pausing } = await world(t);
  await writeFile(file, '9');
  const ended = start();
  await pausing(ended);
  ended.host.signal('SIGTERM');
  await ended.done;
  t.false(ended.answer());
  t.false(existsSync(file));
  for (const odd of ['', '-5', 'NaN', '1e999', 'x'.repeat(10_000)]) {
    await writeFile(file, odd);
    const one = start();
    await one.done;
    t.true(one.answer(), odd.slice(0, 10));
  }
});

test('without systemd’s folder, or when it cannot be written, nothing waits', async (t) => {
  for (const env of [{}, { RUNTIME_DIRECTORY: '/nonexistent/folder' }]) {
    for (let count = 0; count < 4; count++) t.true(await createCountedStart(testHost({ env })).wait());
  }
});
