// What peers bring about is told at a bounded rate, and what is left out is counted.

import test from 'ava';
import { peerProblemsMax, peerProblemsTotalMax, peerProblemsWindowMs } from '../../node-runtime/limits.ts';
import { createPeerProblems } from '../../node-runtime/peer-problems.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

function world() {
  const clock = createSimClock();
  const told: string[] = [];
  return { clock, told, tell: createPeerProblems({ clock, problem: (message) => void told.push(message) }) };
}

test('one peer’s problems end at its share, and another’s are still told', async (t) => {
  const { clock, told, tell } = world();
  for (let number = 0; number < 1000; number += 1) tell('loud', `loud ${number}`);
  t.is(told.length, peerProblemsMax);
  tell('quiet', 'quiet');
  const left = 1000 - peerProblemsMax;
  t.is(told.at(-1), `quiet (and ${left} problems with peers before it were not told)`);
  await clock.advance(peerProblemsWindowMs);
  tell('loud', 'again');
  t.is(told.at(-1), 'again');
});

test('many peers together end at the total', (t) => {
  const { told, tell } = world();
  for (let number = 0; number < 100_000; number += 1) tell(`peer-${number}`, 'problem');
  t.is(told.length, peerProblemsTotalMax);
});
