// The observer on the virtual clock: what is passing waits for what follows it, everything else is written at once.

import test, { type ExecutionContext } from 'ava';
import { createObserver } from '../../node-runtime/observer.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

const id = 'observed/instance/default.app.web.0';

async function stage(t: ExecutionContext) {
  const clock = createSimClock();
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
