// Fetching ahead, on a node: a few at a time, again after a failure, and ended when the plan does not name it any more.

import test from 'ava';
import type { StageItem, StageSpec } from '../../control/plan.ts';
import { createActorSystem } from '../../node-runtime/actor-system.ts';
import { stageAtOnceMax, stageLingerMs } from '../../node-runtime/limits.ts';
import { readPlan } from '../../node-runtime/plan-schema.ts';
import { createStaging } from '../../node-runtime/staging.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

const item = (image: string, askedAt = 1): StageItem => ({
  id: `id of ${image}`,
  askedAt,
  spec: { engine: 'docker', image },
});

function world() {
  const clock = createSimClock();
  const calls: { image: string; progress(text: string): void; end(error?: Error): void; signal: AbortSignal }[] = [];
  const changes = { count: 0 };
  const staging = createStaging({
    clock,
    actors: createActorSystem({ clock, node: () => 'box' }),
    jitter: () => 1,
    engines: {
      stage(spec: StageSpec, progress, signal) {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => reject(signal.reason));
        const end = (error?: Error): void => (error === undefined ? resolve() : reject(error));
        calls.push({ image: 'image' in spec ? spec.image : '', progress, end, signal });
        return promise;
      },
    },
    onChanged: () => {
      changes.count += 1;
    },
  });
  const said = () => staging.observed().map(({ id, state, reason }) => `${id.slice(6)} ${state} ${reason}`.trim());
  const call = (image: string) => {
    const found = calls.findLast((one) => one.image === image);
    if (found === undefined) throw new Error(`${image} was not asked for`);
    return found;
  };
  return { clock, calls, call, changes, staging, said, settle: () => clock.advance(1) };
}

test('a few are fetched at a time, each says how far it is, and what was there already says so', async (t) => {
  const { staging, said, calls, call, settle, changes } = world();
  staging.obey(['a', 'b', 'c'].map((image) => item(image)));
  t.deepEqual(said(), ['a waiting', 'b waiting', 'c waiting'], 'before the engines have started');
  t.is(calls.length, 0);
  staging.start();
  await settle();
  t.is(calls.length, stageAtOnceMax);
  call('a').progress('pulling a: 10 %');
  t.deepEqual(said(), ['a pulling pulling a: 10 %', 'b waiting', 'c waiting']);
  call('b').end();
  await settle();
  t.is(calls.length, 3);
  call('a').end();
  call('c').end();
  const before = changes.count;
  await settle();
  t.deepEqual(said(), ['a staged', 'b staged was there already', 'c staged was there already']);
  t.true(changes.count > before);
  staging.stop();
});

test('what fails is told and tried again, later and later, and at once when somebody asks again', async (t) => {
  const { staging, said, calls, call, clock, settle } = world();
  staging.start();
  staging.obey([item('a')]);
  await settle();
  call('a').end(new Error('no such image'));
  await settle();
  t.deepEqual(said(), ['a failed no such image']);
  await clock.advance(600);
  t.is(calls.length, 2);
  call('a').end(new Error('still none'));
  await clock.advance(600);
  t.is(calls.length, 2);
  staging.obey([item('a', 1)]);
  await settle();
  t.is(calls.length, 2, 'the same plan again asks nothing');
  staging.obey([item('a', 2)]);
  await settle();
  t.is(calls.length, 3);
  call('a').end();
  await settle();
  t.deepEqual(staging.observed(), [{ id: 'id of a', askedAt: 2, state: 'staged', reason: 'was there already' }]);
  staging.stop();
});

test('what the plan does not name any more ends after a moment, and its place is for the next', async (t) => {
  const { staging, said, calls, call, clock, settle } = world();
  staging.start();
  staging.obey(['a', 'b', 'c'].map((image) => item(image)));
  await settle();
  staging.obey([item('c')]);
  t.deepEqual(said(), ['c waiting']);
  await clock.advance(stageLingerMs - 100);
  t.false(call('a').signal.aborted, 'an instance may take it over');
  staging.obey([item('a'), item('c')]);
  await clock.advance(200);
  t.true(call('b').signal.aborted);
  t.false(call('a').signal.aborted);
  await settle();
  t.is(calls.map(({ image }) => image).join(), 'a,b,c');
  staging.stop();
  t.true(call('a').signal.aborted);
  t.true(call('c').signal.aborted);
  t.deepEqual(said(), []);
});

test('a plan with an engine that this version does not know is one, and a malformed item is none', (t) => {
  const plan = { epoch: 1, term: 1, generation: 1, fabricId: 'f', node: 'n', peerId: 'p', instances: [], files: [] };
  t.true('plan' in readPlan({ ...plan, stage: [item('a'), { id: 'x', askedAt: 1, spec: { engine: 'unheard-of' } }] }));
  const read = readPlan({ ...plan, stage: [{ id: 'x', spec: { engine: 'docker' } }] });
  t.regex('malformed' in read ? read.malformed : '', /askedAt/);
});
