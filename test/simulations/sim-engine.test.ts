// The simulated engine: the conformance body on virtual time, and what only a simulation has.

import test from 'ava';
import { EngineStoppedError } from '../../node-runtime/errors.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { launchOf, testEngine } from '../conformance/engine.ts';

const LIMIT_MS = 600_000;

function createSimWorld(seed = 1) {
  const clock = createSimClock();
  const engine = createSimEngine({ clock, random: createSimRandom(seed) });
  async function run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    promise.then(done, done);
    if (!(await clock.advanceUntil(() => settled, LIMIT_MS)))
      throw new Error(`nothing happened in ${LIMIT_MS} virtual ms`);
    return promise;
  }
  return { clock, engine, run };
}

testEngine(test, 'sim engine', async () => {
  const { clock, engine, run } = createSimWorld();
  await engine.start();
  return {
    engine,
    run,
    adopt: async () => {
      engine.crashDaemon();
      await engine.start();
      return engine;
    },
    command: (...behaviour) => ['sim', ...behaviour],
    untilGone: () => clock.advance(10_000),
    file: async (instance, path) => {
      const bytes = engine.file(instance, path);
      return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
    },
    now: () => clock.now(),
    close: () => engine.stop(),
  };
});

test('a killed daemon’s waits fail and its workloads live on in virtual time', async (t) => {
  const { clock, engine, run } = createSimWorld();
  await engine.start();
  const { instance, startedAt } = await run(engine.launch(launchOf(['sim', 'exit:1@5000'])));
  const waiting = t.throwsAsync(engine.waitForExit(instance), { instanceOf: EngineStoppedError });
  engine.crashDaemon();
  await waiting;
  await clock.advance(10_000);
  await engine.start();
  const exit = await engine.waitForExit(instance);
  t.deepEqual(exit, { status: 1, signal: undefined, at: startedAt + 5_000 });
});

test('one seed gives one course of events, another seed another', async (t) => {
  const course = async (seed: number) => {
    const { engine, run } = createSimWorld(seed);
    await engine.start();
    const launched = await run(engine.launch(launchOf(['sim', 'run'])));
    return { launched, exit: await run(engine.terminate(launched.instance, 1_000)) };
  };
  t.deepEqual(await course(7), await course(7));
  t.notDeepEqual(await course(7), await course(8));
});
