// The observer on the virtual clock: what is passing waits for what follows it, everything else is written at once.

import test, { type ExecutionContext } from 'ava';
import { createObserver } from '../../node-runtime/observer.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

const id = 'observed/instance/default.app.web.0';

async function stage(t: ExecutionContext, setBackMs = () => 0) {
  const sim = createSimClock();
  const clock = { ...sim, now: () => sim.now() - setBackMs() };
  const mailbox = await createSimStore().open('mailbox/box1');
  const written: unknown[] = [];
  mailbox.subscribe(async () => written.push((await mailbox.get(id))?.['state']));
  const observer = createObserver({ mailbox, clock, onFailed: (message) => t.fail(message) });
  const say = (state: string, passing: boolean): void => observer.observe({ _id: id, state }, { passing });
  return { clock, observer, say, written };
}

test('a quick start is one write', async (t) => {
  const { clock, say, written } = await stage(t);
  for (const state of ['waiting', 'creating', 'starting', 'running']) {
    say(state, true);
    await clock.advance(20);
  }
  say('ready', false);
  await clock.advance(0);
  t.deepEqual(written, ['ready']);
  await clock.advance(5_000);
  t.deepEqual(written, ['ready'], 'and nothing of what passed comes after it');
});

test('a step that lasts is written', async (t) => {
  const { clock, say, written } = await stage(t);
  say('waiting', true);
  await clock.advance(100);
  t.deepEqual(written, []);
  say('creating', true);
  await clock.advance(100);
  t.deepEqual(written, ['creating'], 'the moment counts from the first of them');
});

test('what is passing is written when the observer stops', async (t) => {
  const { observer, say, written } = await stage(t);
  say('starting', true);
  await observer.stop();
  await Promise.resolve();
  t.deepEqual(written, ['starting']);
});

test('a wall clock that is set back by an hour holds nothing up', async (t) => {
  let setBackMs = 0;
  const { clock, say, written } = await stage(t, () => setBackMs);
  const states = Array.from({ length: 20 }, (_, index) => String(index));
  for (const state of states) {
    say(state, false);
    await clock.settle();
  }
  t.false(written.includes('19'), 'more at once than a burst');
  setBackMs = 3_600_000;
  say('after', false);
  await clock.advance(1_000);
  t.is(written.at(-1), 'after');
});

test('what a full disk refused is written once there is room, and told once', async (t) => {
  const clock = createSimClock();
  const mailbox = await createSimStore().open('mailbox/box1');
  let full = true;
  const told: string[] = [];
  const observer = createObserver({
    mailbox: {
      ...mailbox,
      update: (...given) => (full ? Promise.reject(new Error('no space')) : mailbox.update(...given)),
    },
    clock,
    onFailed: (message) => told.push(message),
  });
  observer.observe({ _id: id, state: 'starting' });
  await clock.advance(20_000);
  observer.observe({ _id: id, state: 'running' });
  await clock.advance(20_000);
  t.deepEqual(told, [`${id} was not written: no space`]);
  full = false;
  await clock.advance(6_000);
  t.like(await mailbox.get(id), { state: 'running' });
  full = true;
  observer.observe({ _id: id, state: 'failed' });
  await observer.stop();
  t.is(told.length, 2, 'stopping gives up instead of trying for ever');
});
