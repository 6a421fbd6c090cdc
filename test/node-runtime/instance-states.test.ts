// Every state that is told of an instance and is not "runs and is ready": why, since when, how many tries, and when the next one is, as the
// actor knows it, as the node tells it, and as `selvedge describe instance` prints it.

import test from 'ava';
import { createActor, fromPromise } from 'xstate';
import { instanceMachine } from '../../actors/instance.ts';
import type { InstanceEvent, InstanceInput } from '../../actors/instance-context.ts';
import { instanceState } from '../../actors/instance-state.ts';
import { type ProbeOutcome, probeMachine } from '../../actors/probe.ts';
import { instanceText } from '../../control/cli/describe.ts';
import { formatDate } from '../../control/cli/durations.ts';
import type { InstanceState } from '../../control/fabric.ts';
import { instanceView } from '../../control/instance-views.ts';
import type { PlannedInstance, ProbeSpec } from '../../control/plan.ts';
import type { EngineInstance, Exit, Launch } from '../../node-runtime/engine.ts';
import { observationOf } from '../../node-runtime/instance-observation.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { launchOf } from '../conformance/engine.ts';
import { testHost } from '../control/cli-harness.ts';

const name = 'default.shop.web.0';
const identity = { project: 'default', application: 'shop', microservice: 'web' };
const common = { name, ...identity, index: 0, specHash: 'first', calls: [], dependsOn: [], ticket: 'ticket' };
const { spec } = launchOf(['web']);
const program: PlannedInstance = { ...common, spec };
const container: PlannedInstance = { ...common, spec: { ...spec, engine: 'docker', image: 'web' } };
const once: PlannedInstance = { ...common, spec: { ...spec, restart: 'never' } };
const probed: PlannedInstance = {
  ...common,
  spec: {
    ...spec,
    readiness: {
      exec: { command: ['check'] },
      ...{ periodMs: 100, timeoutMs: 100, failureThreshold: 1, successThreshold: 1, initialDelayMs: 0 },
    },
  },
};
const left: EngineInstance = { instance: name, specHash: 'first', pid: 7, startedAt: 0, env: {}, exit: undefined };

const never = <T>(): Promise<T> => new Promise(() => {});
const refuse = (message: string, more = {}) => Promise.reject(Object.assign(new Error(message), more));

interface Case {
  title: string;
  state: InstanceState;
  reason: RegExp;
  planned?: PlannedInstance;
  found?: EngineInstance;
  events?: readonly InstanceEvent[];
  /** Those that do not simply work. */
  effects?: Partial<
    Record<'stage' | 'prepare' | 'adopt' | 'launch' | 'watchExit' | 'terminate' | 'cleanUp', () => Promise<never>>
  >;
  exit?: Exit;
  afterMs?: number;
  /** Milliseconds until the next try; undefined where nothing is tried again, or it goes on by itself. */
  nextMs?: number;
}

const admitted: InstanceEvent = { type: 'ADMITTED' };
const deleted: InstanceEvent = { type: 'DELETE' };

const cases: Case[] = [
  { title: 'it is new', state: 'waiting', reason: /its certificate and .* what it depends on/ },
  {
    title: 'what it depends on is not ready',
    state: 'waiting',
    reason: /^waiting for sensor$/,
    events: [{ type: 'HELD', reason: 'waiting for sensor' }],
  },
  {
    title: 'its image is looked for',
    state: 'waiting',
    reason: /looking for its image/,
    planned: container,
    events: [admitted],
    effects: { stage: never },
  },
  {
    title: 'its image is pulled',
    state: 'pulling',
    reason: /3 of 7 MB/,
    planned: container,
    events: [admitted, { type: 'PROGRESS', progress: '3 of 7 MB' }],
    effects: { stage: never },
  },
  {
    title: 'it is prepared',
    state: 'creating',
    reason: /certificate, addresses and files/,
    events: [admitted],
    effects: { prepare: never },
  },
  {
    title: 'it is launched',
    state: 'starting',
    reason: /being started by its engine/,
    events: [admitted],
    effects: { launch: never },
  },
  {
    title: 'its probe fails',
    state: 'running',
    reason: /^not ready: no answer$/,
    planned: probed,
    events: [admitted],
    effects: { watchExit: never },
    afterMs: 5_000,
  },
  {
    title: 'an earlier daemon left it, and it cannot be taken on',
    state: 'running',
    reason: /^it runs, and cannot be taken on, tried 3 times: no disk$/,
    found: left,
    effects: { adopt: () => refuse('no disk') },
    afterMs: 2_400,
    nextMs: 600,
  },
  {
    title: 'its engine cannot start it',
    state: 'backingOff',
    reason: /^cannot be started: no disk$/,
    events: [admitted],
    effects: { launch: () => refuse('no disk') },
    nextMs: 500,
  },
  {
    title: 'it crashed',
    state: 'backingOff',
    reason: /^it exited with status 3$/,
    events: [admitted],
    exit: { status: 3, signal: undefined, at: 1 },
    nextMs: 500,
  },
  {
    title: 'the node’s policy does not allow it',
    state: 'failed',
    reason: /^this node does not allow it$/,
    events: [admitted],
    effects: { launch: () => refuse('this node does not allow it', { needsChange: true }) },
  },
  {
    title: 'it has done what it was for',
    state: 'completed',
    reason: /^it exited with status 0$/,
    planned: once,
    events: [admitted],
    exit: { status: 0, signal: undefined, at: 1 },
  },
  {
    title: 'it takes its time to end',
    state: 'stopping',
    reason: /^being removed$/,
    events: [deleted],
    effects: { terminate: never },
  },
  {
    title: 'it cannot be ended',
    state: 'stopping',
    reason: /^cannot be stopped, tried 2 times: it is in the kernel$/,
    events: [deleted],
    effects: { terminate: () => refuse('it is in the kernel') },
    afterMs: 1_500,
    nextMs: 500,
  },
  {
    title: 'its engine is away for long: it is tried ever less often',
    state: 'stopping',
    reason: /^cannot be stopped, tried 9 times: the engine is away$/,
    events: [deleted],
    effects: { terminate: () => refuse('the engine is away') },
    afterMs: 20_000,
    nextMs: 15_000,
  },
  {
    title: 'what it leaves cannot be removed',
    state: 'stopping',
    reason: /^cannot be removed: read-only$/,
    events: [deleted],
    effects: { cleanUp: () => refuse('read-only') },
    nextMs: 1_000,
  },
];

for (const one of cases) {
  test(`${one.state}: ${one.title}`, async (t) => {
    const clock = createSimClock();
    const { planned = program, effects = {}, exit, afterMs = 0 } = one;
    const launched: EngineInstance = { ...left };
    const machine = instanceMachine.provide({
      actors: {
        stage: fromPromise<void, PlannedInstance>(effects.stage ?? (async () => undefined)),
        prepare: fromPromise<Launch, PlannedInstance>(effects.prepare ?? (async () => launchOf(['web']))),
        adopt: fromPromise<void, { planned: PlannedInstance; found: EngineInstance }>(
          effects.adopt ?? (async () => undefined),
        ),
        launch: fromPromise<EngineInstance, Launch>(effects.launch ?? (async () => launched)),
        watchExit: fromPromise<Exit, { instance: string }>(() =>
          exit === undefined ? never() : Promise.resolve(exit),
        ),
        terminate: fromPromise<Exit | undefined, PlannedInstance>(effects.terminate ?? (async () => undefined)),
        cleanUp: fromPromise<void, PlannedInstance>(effects.cleanUp ?? (async () => undefined)),
        probe: probeMachine.provide({
          actors: {
            ask: fromPromise<ProbeOutcome, { planned: PlannedInstance; spec: ProbeSpec }>(async () => ({
              ok: false,
              reason: 'no answer',
            })),
          },
        }),
      },
    });
    const input: InstanceInput = { planned, found: one.found, now: clock.now, jitter: () => 0.999 };
    const actor = createActor(machine, {
      input,
      clock: {
        setTimeout: (run: () => void, delayMs: number) => clock.setTimeout(run, delayMs),
        clearTimeout: clock.clearTimeout,
      },
    });
    t.teardown(() => void actor.stop());
    actor.start();
    for (const event of one.events ?? []) actor.send(event);
    await clock.advance(0);
    await clock.advance(afterMs);
    const snapshot = actor.getSnapshot();
    t.is(instanceState(snapshot.value), one.state);

    const place = { hostPorts: {}, network: undefined, credential: undefined, content: undefined, calls: undefined };
    const version = { epoch: 1, term: 1, generation: 1 };
    const observed = observationOf(snapshot, {
      node: 'box',
      version,
      place,
      away: undefined,
      history: [],
      notHeld: undefined,
      engine: 'process',
    });
    t.regex(observed.reason, one.reason);
    t.false(observed.ready);
    t.true(observed.since <= clock.now() && observed.since >= clock.now() - afterMs);
    t.is(observed.failures, one.state === 'backingOff' ? 1 : 0);
    t.is(observed.nextTryAt === undefined ? undefined : observed.nextTryAt - clock.now(), one.nextMs);
    t.like(observed.history?.at(-1), { state: one.state, reason: observed.reason });

    // What is being removed is in no plan any more.
    const stillPlanned = one.state === 'stopping' ? undefined : planned;
    const view = instanceView({
      ...identity,
      name,
      engine: planned.spec.engine,
      node: 'box',
      planned: stillPlanned,
      observed,
      heard: true,
    });
    const printed = instanceText(testHost(), view);
    const row = (what: string): RegExp => new RegExp(`^ *${what} +\\S`, 'm');
    t.true(printed.includes(observed.reason), printed);
    t.regex(printed, row('since'));
    t.regex(printed, row('restarts'));
    if (observed.failures) t.regex(printed, row('failures in a row'));
    if (observed.nextTryAt !== undefined) t.true(printed.includes(formatDate(observed.nextTryAt)), printed);
    t.regex(printed, /SINCE +STATE +REASON/);
  });
}
