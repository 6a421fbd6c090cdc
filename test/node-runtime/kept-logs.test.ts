// The last lines of instances that are gone: bounded, found by name, and never in the way of a removal.

import test from 'ava';
import type { LogLine } from '../../node-runtime/engine.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { InstanceUnknownError } from '../../node-runtime/errors.ts';
import { createKeptLogs } from '../../node-runtime/kept-logs.ts';
import { goneLogAgeMsMax, goneLogBytesMax, goneLogLookMs, goneLogsMax } from '../../node-runtime/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { launchOf } from '../conformance/engine.ts';
import { createMemoryDisk } from '../pki/memory-disk.ts';

function createWorld() {
  const clock = createSimClock();
  const disk = createMemoryDisk();
  const problems: string[] = [];
  const make = () => createKeptLogs({ disk, clock, onProblem: (message) => void problems.push(message) });
  return { clock, disk, problems, make, kept: make() };
}

async function* linesOf(...texts: string[]): AsyncGenerator<LogLine> {
  for (const [at, text] of texts.entries()) yield { at, stream: 'stdout', text };
}

async function textsOf(lines: AsyncIterable<LogLine>): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of lines) texts.push(text);
  return texts;
}

const all = { tail: 10_000, follow: false };

test('what an instance wrote last is read after it, chosen as from any log, by the next daemon too', async (t) => {
  const { clock, kept, make } = createWorld();
  await clock.advance(1_000);
  await kept.keep('default.app.web.0', linesOf('one', 'two error', 'three'));
  const next = make();
  t.deepEqual(await next.find('web'), { instance: 'default.app.web.0', goneAt: clock.now() });
  t.is(await next.find('we'), undefined);
  t.deepEqual(await textsOf(next.read('default.app.web.0', all)), ['one', 'two error', 'three']);
  t.deepEqual(await textsOf(next.read('default.app.web.0', { ...all, tail: 2 })), ['two error', 'three']);
  t.deepEqual(await textsOf(next.read('default.app.web.0', { ...all, grep: 'error', since: 1 })), ['two error']);
  t.deepEqual(await textsOf(next.read('default.app.web.0', { ...all, tail: 0, follow: true })), []);
  await t.throwsAsync(textsOf(next.read('default.app.db.0', all)), { instanceOf: InstanceUnknownError });
});

test('they are bounded in number, bytes and age; of one name there is one', async (t) => {
  const { clock, disk, kept } = createWorld();
  for (let index = 0; index < goneLogsMax + 3; index++) {
    await clock.advance(10);
    await kept.keep(`default.app.web.${index}`, linesOf(String(index)));
  }
  t.is((await disk.list('gone-logs')).length, goneLogsMax);
  t.is(await kept.find('default.app.web.2'), undefined);
  t.truthy(await kept.find('default.app.web.3'));
  t.is((await kept.find('web'))?.instance, `default.app.web.${goneLogsMax + 2}`, 'the last to go');

  await clock.advance(10);
  await kept.keep(
    'default.app.web.5',
    linesOf(...Array.from({ length: 700 }, (_, index) => `${index} ${'x'.repeat(1_000)}`)),
  );
  const texts = await textsOf(kept.read('default.app.web.5', all));
  t.true(texts.at(-1)?.startsWith('699 ') && texts.length < 600 && texts.join('').length < goneLogBytesMax);
  t.is((await disk.list('gone-logs')).filter((name) => name.includes('web.5.')).length, 1);

  await clock.advance(goneLogAgeMsMax);
  t.is(await kept.find('default.app.web.5'), undefined);
  await kept.keep('default.app.db.0', linesOf('fresh'));
  t.deepEqual((await disk.list('gone-logs')).length, 1);
});

test('they go by themselves when they are too old, and the oldest first while room is short', async (t) => {
  const { clock, disk, problems } = createWorld();
  let bytesFree = 1e9;
  const space = async () => ({ bytesFree, bytes: 100e9 });
  const kept = createKeptLogs({ disk, clock, space, onProblem: (message) => void problems.push(message) });
  kept.start();
  kept.start();
  const names = async () => (await disk.list('gone-logs')).map((name) => name.slice(16));
  for (const name of ['a', 'b', 'c']) {
    await kept.keep(`default.app.${name}.0`, linesOf('line'));
    await clock.advance(86_400_000);
  }
  await clock.advance(goneLogAgeMsMax - 86_400_000 * 2.5);
  t.deepEqual(await names(), ['default.app.b.0.jsonl', 'default.app.c.0.jsonl']);
  const { remove } = disk;
  disk.remove = async (path) => {
    bytesFree += 50e6;
    await remove(path);
  };
  bytesFree = 40e6;
  await clock.advance(goneLogLookMs);
  t.deepEqual(await names(), ['default.app.c.0.jsonl'], 'no more than is needed');
  bytesFree = 0;
  disk.remove = remove;
  await kept.keep('default.app.d.0', linesOf('line'));
  t.deepEqual(await names(), []);
  t.deepEqual(problems, ['the last lines of default.app.d.0 could not be kept: too little room is left on the disk']);
  kept.stop();
  t.is(clock.pending(), 0);
});

test('an instance is removed also when its lines cannot be kept', async (t) => {
  const { clock, disk, problems } = createWorld();
  const broken = { ...disk, write: () => Promise.reject(new Error('no space left on device')) };
  const engine = createSimEngine({ clock, random: createSimRandom(1) });
  for (const [from, lines] of [
    [disk, ['hello']],
    [broken, undefined],
  ] as const) {
    const kept = createKeptLogs({ disk: from, clock, onProblem: (message) => void problems.push(message) });
    const engines = createEngines([engine], { kept });
    await engines.start({ fabricId: 'f'.repeat(52), node: 'box' });
    const launched = engines.launch(launchOf(['sim', 'print:hello', 'exit:0@10']));
    await clock.advance(1_000);
    const { instance } = await launched;
    t.is(await engines.gone('nobody'), undefined);
    await engines.remove(instance);
    t.deepEqual(await engine.list(), []);
    if (lines !== undefined) {
      t.is((await engines.gone('web'))?.instance, instance);
      t.deepEqual(await textsOf(engines.logs(instance, all)), [...lines]);
    }
  }
  t.deepEqual(problems, ['the last lines of default.app.web.0 could not be kept: no space left on device']);
});
