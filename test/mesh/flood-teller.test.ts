import test from 'ava';
import { createFloodTeller } from '../../mesh/flood-teller.ts';
import { floodTellMs } from '../../mesh/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

test('a flood is told when it begins and once in a while, each kind by itself', async (t) => {
  const clock = createSimClock();
  const told: string[] = [];
  const tell = createFloodTeller({ clock, tell: (message) => told.push(message) });
  for (let each = 0; each < 1_000; each++) {
    tell('discovery', 'too many names');
    tell('handshakes', 'too many handshakes');
  }
  t.deepEqual(told, ['too many names', 'too many handshakes']);
  await clock.advance(floodTellMs);
  tell('discovery', 'too many names');
  t.is(told.length, 3);
});
