// The replica machine on the virtual clock.

import test from 'ava';
import { createActor, fromPromise } from 'xstate';
import { type ReplicaWork, replicaMachine } from '../../actors/replica.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

function stage(pushes: boolean) {
  const clock = createSimClock();
  const runs: ReplicaWork[] = [];
  let finish: (error?: Error) => void = () => {};
  const machine = replicaMachine.provide({
    actors: {
      replicate: fromPromise<void, ReplicaWork>(
        ({ input }) =>
          new Promise((resolve, reject) => {
            runs.push(input);
            finish = (error) => (error ? reject(error) : resolve());
          }),
      ),
    },
  });
  const actor = createActor(machine, {
    input: { jitter: () => 0.999, pushes },
    clock: { setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms), clearTimeout: clock.clearTimeout },
  }).start();
  return { actor, clock, runs, finish: (error?: Error) => finish(error) };
}

test('it begins with both directions, and only pulls what is never pushed', (t) => {
  t.deepEqual(stage(true).runs, [{ pull: true, push: true }]);
  t.deepEqual(stage(false).runs, [{ pull: true, push: false }]);
});

test('what changes while it runs causes one more run, in that direction alone', async (t) => {
  const { actor, clock, runs, finish } = stage(true);
  actor.send({ type: 'LOCAL_CHANGED' });
  actor.send({ type: 'LOCAL_CHANGED' });
  finish();
  await clock.advance(0);
  actor.send({ type: 'REMOTE_CHANGED' });
  finish();
  await clock.advance(0);
  finish();
  await clock.advance(0);
  t.deepEqual(runs, [
    { pull: true, push: true },
    { pull: false, push: true },
    { pull: true, push: false },
  ]);
  t.is(actor.getSnapshot().value, 'inStep');
});

test('a stream that ends while nothing is under way is made anew, since nobody tells of changes any more', async (t) => {
  const { actor, clock, runs, finish } = stage(false);
  finish();
  await clock.advance(0);
  actor.send({ type: 'STREAM_LOST' });
  t.is(actor.getSnapshot().value, 'backingOff');
  await clock.advance(100);
  t.is(runs.length, 2);
  // One that ends within a run which succeeds, and with one which fails.
  actor.send({ type: 'STREAM_LOST' });
  finish();
  await clock.advance(0);
  t.is(actor.getSnapshot().value, 'backingOff');
  await clock.advance(100);
  t.is(runs.length, 3);
  actor.send({ type: 'STREAM_LOST' });
  finish(new Error('the link broke'));
  await clock.advance(200);
  t.is(runs.length, 4);
  finish();
  await clock.advance(60_000);
  t.is(actor.getSnapshot().value, 'inStep');
  t.is(runs.length, 4);
});

test('a failure is tried again after a wait, in both directions', async (t) => {
  const { actor, clock, runs, finish } = stage(true);
  finish(new Error('the link broke'));
  await clock.advance(0);
  t.is(actor.getSnapshot().value, 'backingOff');
  t.is(actor.getSnapshot().context.reason, 'the link broke');
  await clock.advance(100);
  t.deepEqual(runs.at(-1), { pull: true, push: true });
  t.is(runs.length, 2);
});
