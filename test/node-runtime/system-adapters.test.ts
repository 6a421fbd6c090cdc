// The real clock and randomness, where their ports promise more than Node's own functions do.

import test from 'ava';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';

test('a sleep that is aborted rejects with the signal’s own reason', async (t) => {
  const clock = createSystemClock();
  const reason = new Error('stopping');
  await t.throwsAsync(clock.sleep(60_000, AbortSignal.abort(reason)), { is: reason });
  const later = new AbortController();
  const sleeping = clock.sleep(60_000, later.signal);
  later.abort(reason);
  await t.throwsAsync(sleeping, { is: reason });
  const before = clock.now();
  await clock.sleep(20);
  t.true(clock.now() - before >= 18);
});

test('a wait of months does not fire at once, and a cleared one does not fire', async (t) => {
  const clock = createSystemClock();
  let fired = 0;
  const long = clock.setTimeout(() => fired++, 1e12);
  const cleared = clock.setTimeout(() => fired++, 1);
  clock.clearTimeout(cleared);
  clock.clearTimeout(undefined);
  await clock.sleep(30);
  clock.clearTimeout(long);
  t.is(fired, 0);
});

test('random numbers are in range and not the same twice', (t) => {
  const random = createSystemRandom();
  const numbers = Array.from({ length: 1_000 }, () => random.next());
  t.true(numbers.every((number) => number >= 0 && number < 1));
  t.is(new Set(numbers).size, 1_000);
  t.is(random.bytes(32).byteLength, 32);
  t.notDeepEqual(random.bytes(32), random.bytes(32));
});
