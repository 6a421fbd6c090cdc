import test from 'ava';
import { createAtMostEvery } from '../../node-runtime/at-most-every.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

test('work is done at once, then once in a while however often it is asked for, and not after a stop', async (t) => {
  const clock = createSimClock();
  let done = 0;
  const work = createAtMostEvery(clock, 100, () => (done += 1));
  work.ask();
  t.is(done, 1, 'the first one waits for nothing');
  for (let asked = 0; asked < 1_000; asked++) work.ask();
  t.is(done, 1);
  await clock.advance(100);
  t.is(done, 2, 'once for all of them');
  await clock.advance(1_000);
  t.is(done, 2, 'nobody asked again');
  work.ask();
  t.is(done, 3);
  work.ask();
  work.stop();
  await clock.advance(1_000);
  t.is(done, 3);
});
