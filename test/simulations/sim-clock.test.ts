import test from 'ava';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

test('timers fire in order of time and then of insertion, at their own time', async (t) => {
  const clock = createSimClock(1000);
  const fired: string[] = [];
  clock.setTimeout(() => fired.push(`c${clock.now()}`), 30);
  clock.setTimeout(() => fired.push(`a${clock.now()}`), 10);
  clock.setTimeout(() => fired.push(`b${clock.now()}`), 10);
  clock.clearTimeout(clock.setTimeout(() => fired.push('never'), 15));
  t.is(clock.pending(), 3);
  await clock.advance(20);
  t.deepEqual(fired, ['a1010', 'b1010']);
  t.is(clock.now(), 1020);
  await clock.advance(10);
  t.deepEqual(fired, ['a1010', 'b1010', 'c1030']);
  t.is(clock.pending(), 0);
});

test('a thousand timers in any order come out sorted', async (t) => {
  const clock = createSimClock(0);
  const random = createSimRandom(3);
  const fired: number[] = [];
  for (let i = 0; i < 1000; i++) clock.setTimeout(() => fired.push(clock.now()), 1 + Math.floor(random.next() * 500));
  await clock.advance(501);
  t.is(fired.length, 1000);
  t.deepEqual(
    fired,
    [...fired].sort((a, b) => a - b),
  );
});

test('what a timer starts settles before the next timer fires', async (t) => {
  const clock = createSimClock(0);
  const trace: string[] = [];
  const work = async () => {
    await clock.sleep(10);
    for (let i = 0; i < 20; i++) await Promise.resolve();
    await new Promise<void>((resolve) => process.nextTick(resolve));
    trace.push('settled');
    await clock.sleep(5);
    trace.push(`slept until ${clock.now()}`);
  };
  const done = work();
  clock.setTimeout(() => trace.push('next'), 11);
  await clock.advance(20);
  await done;
  t.deepEqual(trace, ['settled', 'next', 'slept until 15']);
});

test('advanceUntil stops at the condition, and says when the limit came first', async (t) => {
  const clock = createSimClock(0);
  let done = false;
  clock.setTimeout(() => {
    done = true;
  }, 40);
  t.true(await clock.advanceUntil(() => done, 1000));
  t.is(clock.now(), 40);
  t.false(await clock.advanceUntil(() => false, 100));
  t.is(clock.now(), 140);
});

test('a sleep rejects with the reason of its signal and leaves no timer', async (t) => {
  const clock = createSimClock(0);
  const controller = new AbortController();
  const slept = clock.sleep(1000, controller.signal);
  controller.abort(new Error('enough'));
  await t.throwsAsync(slept, { message: 'enough' });
  t.is(clock.pending(), 0);
});

test('a seed gives the same numbers again, forks are independent of what was drawn', (t) => {
  const draw = (seed: string | number) => {
    const random = createSimRandom(seed);
    return [random.next(), random.next(), Buffer.from(random.bytes(9)).toString('hex'), random.fork('x').next()];
  };
  t.deepEqual(draw(7), draw(7));
  t.notDeepEqual(draw(7), draw(8));
  t.is(createSimRandom(7).fork('x').next(), draw(7)[3] as number);
  t.not(createSimRandom(7).fork('x').next(), createSimRandom(7).fork('y').next());
});

test('numbers are spread evenly over [0, 1)', (t) => {
  const random = createSimRandom('spread');
  const buckets = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const at = Math.floor(random.next() * 10);
    buckets[at] = (buckets[at] ?? 0) + 1;
  }
  for (const count of buckets) t.true(count > 850 && count < 1150, `${buckets}`);
});
