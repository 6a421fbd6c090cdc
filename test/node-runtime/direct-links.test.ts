// When links that go through others are tried directly, and what is said of those that cannot be.

import test from 'ava';
import { createDirectLinks, type RoutedPeer } from '../../node-runtime/direct-links.ts';
import { directFirstMs, directRetryMs } from '../../node-runtime/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

function world() {
  const clock = createSimClock();
  const tried: string[] = [];
  let answer: Error | undefined = new Error('no address answered');
  const links = createDirectLinks({
    clock,
    async connect({ peerId, addresses }) {
      tried.push(`${peerId} at ${addresses.join(' ')}`);
      if (answer !== undefined) throw answer;
    },
  });
  const press = (...addresses: string[]): RoutedPeer => ({ peerId: 'press', addresses });
  const reached = (): void => {
    answer = undefined;
  };
  return { clock, tried, links, press, reached };
}

test('a link through others is tried soon, again once in a while, and at once with a new address; why not is known', async (t) => {
  const { clock, tried, links, press, reached } = world();
  links.look([press('a')]);
  t.is(links.reason('press'), undefined);
  await clock.advance(directFirstMs);
  t.deepEqual(tried, ['press at a']);
  t.is(links.reason('press'), 'no address answered');
  for (let again = 0; again < 5; again += 1) links.look([press('a')]);
  await clock.advance(2 * directFirstMs - 1);
  t.is(tried.length, 1, 'what is known already is no news');
  await clock.advance(1);
  t.is(tried.length, 2);
  await clock.advance(10 * directRetryMs);
  const { length } = tried;
  await clock.advance(10 * directRetryMs);
  t.is(tried.length, length + 10, 'once in a while for ever');
  links.look([press('a', 'b')]);
  await clock.advance(directFirstMs);
  t.is(tried.at(-1), 'press at a b');
  reached();
  await clock.advance(2 * directFirstMs);
  t.is(tried.length, length + 12);
  t.is(links.reason('press'), undefined, 'it is direct now');
  t.is(clock.pending(), 0);
});

test('a link that is gone, or direct by the other side’s doing, is not tried any more', async (t) => {
  const { clock, tried, links, press } = world();
  links.look([press('a')]);
  links.look([]);
  await clock.advance(directRetryMs);
  t.deepEqual(tried, []);
  links.look([press('a')]);
  await clock.advance(directFirstMs);
  links.look([]);
  t.is(links.reason('press'), undefined);
  await clock.advance(directRetryMs);
  t.is(tried.length, 1);
  links.look([press('a')]);
  links.stop();
  t.is(clock.pending(), 0);
});
