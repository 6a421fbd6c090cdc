// The instance machine on the virtual clock, with effects that the test holds in its hand.

import test from 'ava';
import { createActor, fromPromise } from 'xstate';
import { instanceMachine } from '../../actors/instance.ts';
import type { InstanceInput } from '../../actors/instance-context.ts';
import { instanceState } from '../../actors/instance-state.ts';
import { type ProbeOutcome, probeMachine } from '../../actors/probe.ts';
import type { PlannedInstance, WorkloadSpec } from '../../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../../node-runtime/engine.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';

function planned(
  changes: Partial<Extract<WorkloadSpec, { engine: 'process' }>> = {},
  specHash = 'first',
): PlannedInstance {
  return {
    name: 'default.app.web.0',
    project: 'default',
    application: 'app',
    microservice: 'web',
    index: 0,
    specHash,
    calls: [],
    dependsOn: [],
    ticket: 'ticket',
    spec: {
      engine: 'process',
      command: ['web'],
      env: {},
      ports: [],
      configs: [],
      restart: 'always',
      stopTimeoutMs: 1_000,
      ...changes,
    },
  };
}

const readiness = {
  http: { path: '/', port: 'http' },
  periodMs: 100,
  timeoutMs: 100,
  failureThreshold: 3,
  successThreshold: 1,
  initialDelayMs: 0,
};

function stage(input: Partial<InstanceInput> & { planned: PlannedInstance }) {
  const clock = createSimClock();
  const startedAt = clock.now();
  const calls: string[] = [];
  const states: string[] = [];
  let endRun: (exit: Exit) => void = () => {};
  let endStop: () => void = () => {};
  const probedAt: number[] = [];
  let pulling = Promise.withResolvers<void>();
  let pullSignal = new AbortController().signal;
  const world = { probe: { ok: true } as ProbeOutcome, launchFails: undefined as Error | undefined };
  const machine = instanceMachine.provide({
    actors: {
      stage: fromPromise<void, PlannedInstance>(({ signal }) => {
        calls.push('stage');
        pulling = Promise.withResolvers<void>();
        pullSignal = signal;
        return pulling.promise;
      }),
      prepare: fromPromise(async ({ input: { name } }) => {
        calls.push('prepare');
        return { instance: name } as Launch;
      }),
      adopt: fromPromise(async () => {
        calls.push('adopt');
      }),
      launch: fromPromise(async ({ input: { instance } }) => {
        calls.push('launch');
        if (world.launchFails) throw world.launchFails;
        return { instance, pid: 7 } as EngineInstance;
      }),
      watchExit: fromPromise<Exit, { instance: string }>(
        () =>
          new Promise((resolve) => {
            endRun = resolve;
          }),
      ),
      probe: probeMachine.provide({
        actors: {
          ask: fromPromise(async () => {
            probedAt.push(clock.now() - startedAt);
            return world.probe;
          }),
        },
      }),
      terminate: fromPromise<Exit | undefined, PlannedInstance>(
        () =>
          new Promise((resolve) => {
            calls.push('terminate');
            endStop = () => resolve(undefined);
          }),
      ),
      cleanUp: fromPromise(async () => {
        calls.push('cleanUp');
      }),
    },
  });
  const actor = createActor(machine, {
    input: { found: undefined, now: clock.now, jitter: () => 0.999, ...input },
    clock: {
      setTimeout: (run: () => void, delayMs: number) => clock.setTimeout(run, delayMs),
      clearTimeout: clock.clearTimeout,
    },
  });
  actor.subscribe(({ value }) => {
    const state = instanceState(value);
    if (states.at(-1) !== state) states.push(state);
  });
  actor.start();
  return {
    actor,
    clock,
    calls,
    states,
    probedAt,
    world,
    pull: {
      end: () => pulling.resolve(),
      fail: (reason: string) => pulling.reject(new Error(reason)),
      signal: () => pullSignal,
    },
    endRun: (exit: Partial<Exit>) => endRun({ status: undefined, signal: undefined, at: clock.now(), ...exit }),
    endStop: () => endStop(),
  };
}

test('a new instance waits until it is admitted, then starts', async (t) => {
  const { actor, clock, calls } = stage({ planned: planned() });
  await clock.advance(1_000);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  t.deepEqual(calls, []);
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  t.deepEqual(calls, ['prepare', 'launch']);
  t.is(actor.getSnapshot().context.pid, 7);
  t.true(actor.getSnapshot().context.ready, 'without a readiness probe it is ready at once');
});

test('what has an image is staged first; progress shows as pulling; a deletion ends the pull', async (t) => {
  const image = { ...planned(), spec: { ...planned().spec, engine: 'docker', image: 'web' } } as PlannedInstance;
  const { actor, clock, calls, states, pull } = stage({ planned: image });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.deepEqual([calls, states], [['stage'], ['waiting']]);
  actor.send({ type: 'PROGRESS', progress: 'pulling web: 10 %' });
  const { since } = actor.getSnapshot().context;
  await clock.advance(1_000);
  actor.send({ type: 'PROGRESS', progress: 'pulling web: 20 %' });
  t.is(instanceState(actor.getSnapshot().value), 'pulling');
  t.deepEqual([actor.getSnapshot().context.reason, actor.getSnapshot().context.since], ['pulling web: 20 %', since]);
  pull.fail('no such image');
  await clock.advance(0);
  t.is(actor.getSnapshot().context.reason, 'its image is not there: no such image');
  await clock.advance(1_000);
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  pull.end();
  await clock.advance(0);
  t.deepEqual(calls, ['stage', 'stage', 'prepare', 'launch']);
  t.is(instanceState(actor.getSnapshot().value), 'running');

  const other = stage({ planned: image });
  other.actor.send({ type: 'ADMITTED' });
  await other.clock.advance(0);
  other.actor.send({ type: 'PROGRESS', progress: 'pulling web' });
  t.false(other.pull.signal().aborted);
  other.actor.send({ type: 'DELETE' });
  t.true(other.pull.signal().aborted);
  t.is(instanceState(other.actor.getSnapshot().value), 'stopping');
});

test('an end at its memory limit says which limit that was', async (t) => {
  const { actor, clock, endRun } = stage({ planned: planned({ resources: { memory: '128Mi' } }) });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  endRun({ signal: 'SIGKILL', outOfMemory: true });
  await clock.advance(0);
  const { value, context } = actor.getSnapshot();
  t.is(instanceState(value), 'backingOff');
  t.is(context.reason, 'it ran out of its memory limit of 128Mi');
});

test('what cannot succeed without a change fails with the reason, and is tried again when its spec changes', async (t) => {
  const { actor, clock, calls, world } = stage({ planned: planned() });
  world.launchFails = Object.assign(new Error('this node does not allow it'), { needsChange: true });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'failed');
  t.is(actor.getSnapshot().context.reason, 'this node does not allow it');
  await clock.advance(3_600_000);
  actor.send({ type: 'UPDATE', planned: planned() });
  actor.send({ type: 'ADMITTED' });
  t.is(instanceState(actor.getSnapshot().value), 'failed');
  t.deepEqual(calls, ['prepare', 'launch']);

  world.launchFails = undefined;
  actor.send({ type: 'UPDATE', planned: planned({}, 'second') });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  t.is(actor.getSnapshot().context.restarts, 0);

  const other = stage({ planned: planned() });
  other.world.launchFails = Object.assign(new Error('no'), { needsChange: true });
  other.actor.send({ type: 'ADMITTED' });
  await other.clock.advance(0);
  other.actor.send({ type: 'DELETE' });
  other.endStop();
  await other.clock.advance(0);
  t.is(instanceState(other.actor.getSnapshot().value), 'stopped');
});

test('a crash backs off, says why and when next, and starts again; the waits double up to five minutes', async (t) => {
  const { actor, clock, endRun } = stage({ planned: planned() });
  const waits: number[] = [];
  for (let turn = 0; turn < 14; turn += 1) {
    actor.send({ type: 'ADMITTED' });
    await clock.advance(0);
    t.is(instanceState(actor.getSnapshot().value), 'running');
    endRun({ status: 3 });
    await clock.advance(0);
    const { value, context } = actor.getSnapshot();
    t.is(instanceState(value), 'backingOff');
    t.is(context.reason, 'it exited with status 3');
    waits.push((context.nextTryAt ?? 0) - clock.now());
    await clock.advance(waits.at(-1) ?? 0);
    t.is(instanceState(actor.getSnapshot().value), 'waiting');
  }
  t.deepEqual(waits.slice(0, 4), [500, 1_000, 1_999, 3_998]);
  t.true(waits.every((wait) => wait <= 300_000));
  t.true((waits.at(-1) ?? 0) > 290_000);
  t.is(actor.getSnapshot().context.restarts, 14);
});

test('a minute of running forgives earlier failures', async (t) => {
  const { actor, clock, endRun } = stage({ planned: planned() });
  for (let turn = 0; turn < 5; turn += 1) {
    actor.send({ type: 'ADMITTED' });
    await clock.advance(0);
    endRun({ status: 1 });
    await clock.advance(20_000);
  }
  actor.send({ type: 'ADMITTED' });
  await clock.advance(60_000);
  endRun({ status: 1 });
  await clock.advance(0);
  const { nextTryAt = 0 } = actor.getSnapshot().context;
  t.is(nextTryAt - clock.now(), 500);
});

test('a launch that fails backs off with the reason', async (t) => {
  const { actor, clock, world } = stage({ planned: planned() });
  world.launchFails = new Error('no such file');
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'backingOff');
  t.is(actor.getSnapshot().context.reason, 'cannot be started: no such file');
});

test('readiness needs the probe, survives single failures, and goes after the threshold', async (t) => {
  const { actor, clock, world } = stage({ planned: planned({ readiness }) });
  world.probe = { ok: false, reason: 'refused' };
  actor.send({ type: 'ADMITTED' });
  await clock.advance(250);
  t.false(actor.getSnapshot().context.ready);
  t.is(actor.getSnapshot().context.reason, 'not ready: refused');
  world.probe = { ok: true };
  await clock.advance(100);
  t.true(actor.getSnapshot().context.ready);
  t.is(actor.getSnapshot().context.reason, '');
  world.probe = { ok: false, reason: 'hangs' };
  await clock.advance(200);
  t.true(actor.getSnapshot().context.ready, 'two failures of three');
  await clock.advance(100);
  t.false(actor.getSnapshot().context.ready);
});

test('a start is probed often at first, ever more rarely, and never more rarely than its period', async (t) => {
  const { actor, clock, world, probedAt } = stage({
    planned: planned({ readiness: { ...readiness, periodMs: 1_000 } }),
  });
  world.probe = { ok: false, reason: 'refused' };
  actor.send({ type: 'ADMITTED' });
  await clock.advance(20_000);
  const waits = probedAt.slice(1).map((at, index) => at - (probedAt[index] ?? 0));
  t.is(probedAt[0], 0);
  t.deepEqual(waits.slice(0, 3), [3, 3, 3]);
  t.is(waits.at(-1), 1_000);
  for (const [index, wait] of waits.entries()) {
    t.true(wait <= ((probedAt[index] ?? 0) + 40) / 12 + 1, 'at most a twelfth of the start late');
  }
  t.true(probedAt.filter((at) => at < 1_000).length < 50);
});

test('a quick start does not say why it was not ready; a slow one does', async (t) => {
  const { actor, clock, world } = stage({ planned: planned({ readiness: { ...readiness, periodMs: 1_000 } }) });
  world.probe = { ok: false, reason: 'refused' };
  actor.send({ type: 'ADMITTED' });
  await clock.advance(100);
  t.is(actor.getSnapshot().context.reason, 'not ready yet');
  await clock.advance(200);
  t.is(actor.getSnapshot().context.reason, 'not ready: refused');
});

test('one that was ready once is probed at its period, also while it is not ready', async (t) => {
  const { actor, clock, world, probedAt } = stage({ planned: planned({ readiness }) });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.true(actor.getSnapshot().context.ready);
  world.probe = { ok: false, reason: 'hangs' };
  await clock.advance(1_000);
  t.false(actor.getSnapshot().context.ready);
  t.deepEqual(probedAt, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
});

test('a second success, where one is not enough, comes a period later', async (t) => {
  const { actor, clock, probedAt } = stage({ planned: planned({ readiness: { ...readiness, successThreshold: 2 } }) });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(99);
  t.false(actor.getSnapshot().context.ready);
  await clock.advance(1);
  t.true(actor.getSnapshot().context.ready);
  t.deepEqual(probedAt, [0, 100]);
});

test('after a crash the new start is probed often again', async (t) => {
  const { actor, clock, world, endRun, probedAt } = stage({
    planned: planned({ readiness: { ...readiness, periodMs: 1_000 } }),
  });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.true(actor.getSnapshot().context.ready);
  endRun({ status: 1 });
  await clock.advance(500);
  world.probe = { ok: false, reason: 'refused' };
  const before = probedAt.length;
  actor.send({ type: 'ADMITTED' });
  await clock.advance(20);
  t.is(probedAt.length, before + 6);
});

test('a changed spec waits for the old one to end before it starts the new one', async (t) => {
  const { actor, clock, calls, endStop } = stage({ planned: planned() });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  actor.send({ type: 'UPDATE', planned: planned({ command: ['web', '2'] }, 'second') });
  await clock.advance(5_000);
  t.is(instanceState(actor.getSnapshot().value), 'stopping');
  t.deepEqual(calls, ['prepare', 'launch', 'terminate']);
  endStop();
  await clock.advance(0);
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  t.is(actor.getSnapshot().context.planned.specHash, 'second');
});

test('an update that changes nothing of the spec touches nothing', async (t) => {
  const { actor, clock, calls } = stage({ planned: planned() });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  actor.send({ type: 'UPDATE', planned: { ...planned(), ticket: 'newer' } });
  await clock.advance(0);
  t.deepEqual(calls, ['prepare', 'launch']);
  t.is(actor.getSnapshot().context.planned.ticket, 'newer');
});

for (const [state, reach] of [
  ['waiting', async () => {}],
  ['running', async (s: ReturnType<typeof stage>) => s.actor.send({ type: 'ADMITTED' })],
] as const) {
  test(`a deletion while ${state} stops, cleans up and ends`, async (t) => {
    const it = stage({ planned: planned() });
    await reach(it);
    await it.clock.advance(0);
    it.actor.send({ type: 'DELETE' });
    await it.clock.advance(0);
    it.actor.send({ type: 'UPDATE', planned: planned({}, 'late') });
    it.endStop();
    await it.clock.advance(0);
    t.is(it.actor.getSnapshot().status, 'done');
    t.deepEqual(it.calls.slice(-2), ['terminate', 'cleanUp']);
  });
}

const found = (changes: Partial<EngineInstance>): EngineInstance => ({
  instance: 'default.app.web.0',
  specHash: 'first',
  pid: 99,
  startedAt: 0,
  env: {},
  exit: undefined,
  ...changes,
});

test('a running instance of the same spec is adopted and not started', async (t) => {
  const { actor, clock, calls } = stage({ planned: planned(), found: found({}) });
  await clock.advance(1_000);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  t.is(actor.getSnapshot().context.pid, 99);
  t.deepEqual(calls, ['adopt']);
  t.is(actor.getSnapshot().context.restarts, 0);
});

test('a found instance of another spec is stopped first', async (t) => {
  const { clock, calls, endStop } = stage({ planned: planned(), found: found({ specHash: 'old' }) });
  await clock.advance(0);
  t.deepEqual(calls, ['terminate']);
  endStop();
});

for (const [restart, status, state] of [
  ['always', 0, 'backingOff'],
  ['always', 1, 'backingOff'],
  ['on-failure', 0, 'completed'],
  ['on-failure', 1, 'backingOff'],
  ['never', 1, 'completed'],
] as const) {
  test(`one that ended with ${status} while nobody watched, restart ${restart}, is ${state}`, async (t) => {
    const exit = { status, signal: undefined, at: 5 };
    const { actor, clock } = stage({ planned: planned({ restart }), found: found({ exit }) });
    await clock.advance(0);
    t.is(instanceState(actor.getSnapshot().value), state);
    t.deepEqual(actor.getSnapshot().context.exit, exit);
    t.is(actor.getSnapshot().context.reason, `it exited with status ${status}`);
  });
}

const running: EngineInstance = {
  ...{ instance: 'default.app.web.0', specHash: 'first', pid: 9, startedAt: 0, env: {}, exit: undefined },
};

test('one that its engine turns out to run is adopted, while it waits and while it backs off', async (t) => {
  const waits = stage({ planned: planned() });
  waits.actor.send({ type: 'FOUND', found: running });
  await waits.clock.advance(0);
  t.is(instanceState(waits.actor.getSnapshot().value), 'running');
  t.deepEqual(waits.calls, ['adopt']);
  t.is(waits.actor.getSnapshot().context.pid, 9);

  const backsOff = stage({ planned: planned() });
  backsOff.world.launchFails = new Error('no such file');
  backsOff.actor.send({ type: 'ADMITTED' });
  await backsOff.clock.advance(0);
  t.is(instanceState(backsOff.actor.getSnapshot().value), 'backingOff');
  backsOff.actor.send({ type: 'FOUND', found: { ...running, exit: { status: 1, signal: undefined, at: 0 } } });
  t.is(instanceState(backsOff.actor.getSnapshot().value), 'backingOff', 'an ended one is no news');
  backsOff.actor.send({ type: 'FOUND', found: running });
  await backsOff.clock.advance(0);
  t.is(instanceState(backsOff.actor.getSnapshot().value), 'running');
});

test('an engine that goes away is no failure of its workload, and tells of an end that was counted in vain', async (t) => {
  const { actor, clock, world, endRun, calls } = stage({ planned: planned() });
  const now = () => {
    const { value, context } = actor.getSnapshot();
    return [instanceState(value), context.failures, context.restarts];
  };
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  const exit = { status: undefined, signal: 'SIGKILL', at: clock.now() };
  endRun(exit);
  await clock.advance(0);
  t.deepEqual(now(), ['backingOff', 1, 1]);
  world.launchFails = Object.assign(new Error('there is no socket'), { engineAway: true });
  for (let tries = 0; tries < 3; tries++) {
    await clock.advance(2_000);
    t.is(now()[0], 'waiting');
    actor.send({ type: 'ADMITTED' });
    await clock.advance(0);
    t.deepEqual(now(), ['backingOff', 1, 1]);
    t.is(actor.getSnapshot().context.reason, 'its engine is away: there is no socket');
  }
  await clock.advance(2_000);
  actor.send({ type: 'FOUND', found: { ...running, exit } });
  t.deepEqual(now(), ['waiting', 1, 1]);
  world.launchFails = undefined;
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.deepEqual(now(), ['running', 1, 1]);
  t.deepEqual(new Set(calls), new Set(['prepare', 'launch']));

  endRun({ signal: 'SIGKILL' });
  await clock.advance(10_000);
  actor.send({ type: 'FOUND', found: { ...running, exit: { ...exit, at: clock.now() } } });
  t.deepEqual(now(), ['backingOff', 3, 3], 'another end than the one that was counted');
});

test('one that is found with an older specification is replaced, one that completed stays so', async (t) => {
  const outdated = stage({ planned: planned({}, 'second') });
  outdated.actor.send({ type: 'FOUND', found: running });
  await outdated.clock.advance(0);
  t.is(instanceState(outdated.actor.getSnapshot().value), 'stopping');

  const once = stage({ planned: planned({ restart: 'never' }) });
  once.actor.send({ type: 'FOUND', found: { ...running, exit: { status: 0, signal: undefined, at: 0 } } });
  t.is(instanceState(once.actor.getSnapshot().value), 'completed');
});

const probe = { ...readiness, periodMs: 1_000 };
const refused: ProbeOutcome = { ok: false, reason: 'refused' };

test('the other probes begin when the startup probe has passed', async (t) => {
  const { actor, clock, world } = stage({
    planned: planned({ startup: { ...probe, failureThreshold: 30 }, liveness: probe }),
  });
  world.probe = refused;
  actor.send({ type: 'ADMITTED' });
  await clock.advance(29_000);
  const { context } = actor.getSnapshot();
  t.false(context.ready);
  t.is(context.reason, 'starting up: refused');
  t.deepEqual(Object.keys(context.probes), ['startup']);
  world.probe = { ok: true };
  await clock.advance(1_000);
  t.true(actor.getSnapshot().context.ready);
  t.deepEqual(Object.keys(actor.getSnapshot().context.probes), ['startup', 'liveness']);
});

test('one that does not start up in time is stopped, and starts again after a wait', async (t) => {
  const { actor, clock, world, calls, endStop } = stage({
    planned: planned({ startup: { ...probe, failureThreshold: 5 } }),
  });
  world.probe = refused;
  actor.send({ type: 'ADMITTED' });
  await clock.advance(5_000);
  t.is(instanceState(actor.getSnapshot().value), 'stopping');
  t.is(actor.getSnapshot().context.reason, 'being restarted: it did not start up within 5 probes: refused');
  endStop();
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'backingOff');
  t.is(actor.getSnapshot().context.reason, 'it did not start up within 5 probes: refused');
  t.is(actor.getSnapshot().context.restarts, 1);
  await clock.advance(500);
  world.probe = { ok: true };
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.true(actor.getSnapshot().context.ready);
  t.deepEqual(calls, ['prepare', 'launch', 'terminate', 'prepare', 'launch']);
});

test('one that hangs is restarted when its liveness probe has failed often enough', async (t) => {
  const { actor, clock, world, endStop } = stage({ planned: planned({ liveness: probe }) });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(10_000);
  t.is(actor.getSnapshot().context.probes.liveness?.judgement, 'passing');
  world.probe = refused;
  await clock.advance(2_000);
  t.is(actor.getSnapshot().context.probes.liveness?.judgement, 'failing');
  t.true(actor.getSnapshot().context.ready, 'it says nothing of readiness');
  world.probe = { ok: true };
  await clock.advance(1_000);
  t.is(actor.getSnapshot().context.probes.liveness?.judgement, 'passing', 'failures count in a row');
  world.probe = refused;
  await clock.advance(3_000);
  t.is(instanceState(actor.getSnapshot().value), 'stopping');
  t.false(actor.getSnapshot().context.ready);
  endStop();
  await clock.advance(0);
  t.is(actor.getSnapshot().context.reason, 'its liveness probe failed 3 times: refused');
  t.is(instanceState(actor.getSnapshot().value), 'backingOff');
});

test('a restart policy is asked of one that hangs as of one that fails', async (t) => {
  const ends = { never: 'completed', 'on-failure': 'backingOff', always: 'backingOff' } as const;
  for (const [restart, end] of Object.entries(ends)) {
    const { actor, clock, world, endStop } = stage({
      planned: planned({ liveness: probe, restart: restart as keyof typeof ends }),
    });
    world.probe = refused;
    actor.send({ type: 'ADMITTED' });
    await clock.advance(3_000);
    endStop();
    await clock.advance(0);
    t.is(instanceState(actor.getSnapshot().value), end, restart);
  }
});

test('a new specification is tried at once, also while what hung is being stopped', async (t) => {
  const { actor, clock, world, calls, endStop } = stage({ planned: planned({ liveness: probe }) });
  world.probe = refused;
  actor.send({ type: 'ADMITTED' });
  await clock.advance(3_000);
  t.is(instanceState(actor.getSnapshot().value), 'stopping');
  actor.send({ type: 'UPDATE', planned: planned({ command: ['web', '2'] }, 'second') });
  endStop();
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(calls.at(-1), 'launch');
  t.true(actor.getSnapshot().context.ready);
});

test('a microservice says itself after how long it counts as healthy', async (t) => {
  const { actor, clock, endRun } = stage({ planned: planned({ healthyAfterMs: 5_000 }) });
  for (let turn = 0; turn < 4; turn += 1) {
    actor.send({ type: 'ADMITTED' });
    await clock.advance(0);
    endRun({ status: 1 });
    await clock.advance(20_000);
  }
  actor.send({ type: 'ADMITTED' });
  await clock.advance(5_000);
  endRun({ status: 1 });
  await clock.advance(0);
  t.is((actor.getSnapshot().context.nextTryAt ?? 0) - clock.now(), 500);
});

test('the next daemon goes on with the wait that an earlier one began, and counts that end once', async (t) => {
  const exit: Exit = { status: 3, signal: undefined, at: 500 };
  const found = { instance: 'default.app.web.0', specHash: 'first', pid: undefined, startedAt: 0, env: {}, exit };
  const at = createSimClock().now();
  const before = { restarts: 7, failures: 7, nextTryAt: at + 20_000, exitAt: 500 };
  const { actor, clock } = stage({ planned: planned(), found, before });
  await clock.advance(19_999);
  t.is(instanceState(actor.getSnapshot().value), 'backingOff');
  t.like(actor.getSnapshot().context, { restarts: 7, failures: 7, reason: 'it exited with status 3' });
  await clock.advance(1);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
});

test('an end that was counted is not counted again when the daemon died in the middle of the next try', async (t) => {
  const exit: Exit = { status: 3, signal: undefined, at: 500 };
  const found = { instance: 'default.app.web.0', specHash: 'first', pid: undefined, startedAt: 0, env: {}, exit };
  const before = { restarts: 7, failures: 3, nextTryAt: undefined, exitAt: 500 };
  const { actor, clock } = stage({ planned: planned(), found, before });
  await clock.advance(1);
  t.is(instanceState(actor.getSnapshot().value), 'waiting', 'it had waited');
  t.like(actor.getSnapshot().context, { restarts: 7, failures: 3 });
});

test('what the box went down under starts again at once, and did not fail', async (t) => {
  const exit: Exit = { status: undefined, signal: undefined, at: 900, boxRestarted: true };
  const found = { instance: 'default.app.web.0', specHash: 'first', pid: undefined, startedAt: 0, env: {}, exit };
  const before = { restarts: 7, failures: 3, nextTryAt: undefined, exitAt: undefined };
  const { actor } = stage({ planned: planned(), found, before });
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  t.like(actor.getSnapshot().context, { restarts: 8, failures: 3 });
  const once = stage({ planned: planned({ restart: 'never' }), found }).actor.getSnapshot();
  t.is(instanceState(once.value), 'completed');
  t.is(once.context.reason, 'the box went down under it');
});

test('an end that no daemon saw is one failure more', async (t) => {
  const exit: Exit = { status: 3, signal: undefined, at: 900 };
  const found = { instance: 'default.app.web.0', specHash: 'first', pid: undefined, startedAt: 0, env: {}, exit };
  const before = { restarts: 7, failures: 3, nextTryAt: undefined, exitAt: 500 };
  const { actor, clock } = stage({ planned: planned(), found, before });
  await clock.advance(0);
  const { restarts, failures, nextTryAt = 0 } = actor.getSnapshot().context;
  t.deepEqual([restarts, failures, nextTryAt - clock.now()], [8, 4, 3_998]);
});

test('a clock that was set back makes no wait longer than the cap', async (t) => {
  const exit: Exit = { status: 3, signal: undefined, at: 500 };
  const found = { instance: 'default.app.web.0', specHash: 'first', pid: undefined, startedAt: 0, env: {}, exit };
  const at = createSimClock().now();
  const before = { restarts: 1, failures: 1, nextTryAt: at + 365 * 86_400_000, exitAt: 500 };
  const { actor, clock } = stage({ planned: planned(), found, before });
  await clock.advance(300_000);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
});

test('what fails for a month is tried at least every five minutes, and runs with the first try that succeeds', async (t) => {
  const { actor, clock, world } = stage({ planned: planned() });
  actor.subscribe(({ value }) => {
    if (instanceState(value) === 'waiting') actor.send({ type: 'ADMITTED' });
  });
  world.launchFails = new Error('no such file');
  actor.send({ type: 'ADMITTED' });
  await clock.advance(30 * 86_400_000);
  const { failures, reason, nextTryAt = 0 } = actor.getSnapshot().context;
  t.true(failures > 30 * 288, `${failures} tries`);
  t.is(reason, 'cannot be started: no such file');
  t.true(nextTryAt - clock.now() <= 300_000);
  world.launchFails = undefined;
  await clock.advance(300_000);
  t.true(actor.getSnapshot().context.ready);
});

test('one whose device is gone stops, waits and starts again, and that is no failure', async (t) => {
  const { actor, clock, calls, endStop } = stage({ planned: planned() });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  actor.send({ type: 'WITHDRAWN', reason: 'its device meter is gone' });
  t.is(instanceState(actor.getSnapshot().value), 'stopping');
  t.is(actor.getSnapshot().context.reason, 'being stopped: its device meter is gone');
  // Said again while it stops: once is enough.
  actor.send({ type: 'WITHDRAWN', reason: 'its device meter is gone' });
  endStop();
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  actor.send({ type: 'HELD', reason: 'waits for device meter' });
  t.is(actor.getSnapshot().context.reason, 'waits for device meter');
  await clock.advance(3_600_000);
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'running');
  const { failures, restarts, withdrawn } = actor.getSnapshot().context;
  t.deepEqual({ failures, restarts, withdrawn }, { failures: 0, restarts: 0, withdrawn: undefined });
  t.deepEqual(calls, ['prepare', 'launch', 'terminate', 'prepare', 'launch']);
  actor.stop();
});

test('one that is being removed is removed, whatever its device does', async (t) => {
  const { actor, clock, endStop } = stage({ planned: planned() });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  actor.send({ type: 'WITHDRAWN', reason: 'its device meter is gone' });
  actor.send({ type: 'DELETE' });
  endStop();
  await clock.advance(0);
  t.is(actor.getSnapshot().status, 'done');
});

test('one that ended by itself at the loss of its device waits without a back-off', async (t) => {
  const { actor, clock, endRun } = stage({ planned: planned() });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  endRun({ status: 1 });
  await clock.advance(0);
  t.is(instanceState(actor.getSnapshot().value), 'backingOff');
  actor.send({ type: 'WITHDRAWN', reason: 'its device meter is gone' });
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  t.is(actor.getSnapshot().context.failures, 0);
  actor.stop();
});

test('a pull for one whose device is gone ends', async (t) => {
  const spec = { ...planned().spec, engine: 'docker', image: 'web' } as unknown as WorkloadSpec;
  const { actor, clock, pull } = stage({ planned: { ...planned(), spec } });
  actor.send({ type: 'ADMITTED' });
  await clock.advance(0);
  actor.send({ type: 'WITHDRAWN', reason: 'its device meter is gone' });
  t.is(instanceState(actor.getSnapshot().value), 'waiting');
  t.true(pull.signal().aborted);
  actor.stop();
});
