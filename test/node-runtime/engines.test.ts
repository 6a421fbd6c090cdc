// Several engines as one, over simulated ones: who gets what, and what happens while one of them is away.

import test from 'ava';
import type { Engine, Launch } from '../../node-runtime/engine.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { EngineMissingError, EngineUnavailableError, InstanceUnknownError } from '../../node-runtime/errors.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { launchOf, type ProcessLaunch } from '../conformance/engine.ts';

const owner = { fabricId: 'f'.repeat(52), node: 'box' };

function createWorld() {
  const clock = createSimClock();
  const make = (seed: number) => createSimEngine({ clock, random: createSimRandom(seed) });
  const away: { reason: string | undefined } = { reason: undefined };
  const listeners = new Set<() => void>();
  const inner = make(2);
  const refuse = (): void => {
    if (away.reason !== undefined) throw new EngineUnavailableError(away.reason);
  };
  const docker: Engine = {
    ...inner,
    name: 'docker',
    unavailable: () => away.reason,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    network: async () => ({ address: '198.18.0.9', serviceRange: '198.18.8.0/21' }),
    async list() {
      refuse();
      return inner.list();
    },
    async terminate(instance, timeoutMs) {
      refuse();
      return inner.terminate(instance, timeoutMs);
    },
    async remove(instance) {
      refuse();
      return inner.remove(instance);
    },
  };
  const engines = createEngines([make(1), docker]);
  async function run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    await clock.advanceUntil(() => settled, 60_000);
    return promise;
  }
  const goes = (reason: string | undefined): void => {
    away.reason = reason;
    for (const listener of listeners) listener();
  };
  return { engines, docker: inner, run, goes };
}

const asContainer = (launch: ProcessLaunch): Launch => ({
  ...launch,
  spec: { ...launch.spec, engine: 'docker', image: 'web' },
});
const launch = launchOf(['sim', 'run']);

test('a launch goes to the engine of its spec, and everything else follows it', async (t) => {
  const { engines, docker, run } = createWorld();
  await engines.start(owner);
  t.deepEqual(engines.offered(), ['process', 'docker']);
  await run(engines.launch(asContainer(launch)));
  t.is((await docker.list()).length, 1);
  t.is((await engines.list('process')).length, 0);
  t.is(await engines.network(launch.instance, launch.spec), undefined);
  t.truthy(await engines.network(launch.instance, asContainer(launch).spec));
  t.truthy(await run(engines.terminate(launch.instance, 1_000)));
  await run(engines.remove(launch.instance));
  t.is((await docker.list()).length, 0);
  await t.throwsAsync(engines.waitForExit(launch.instance), { instanceOf: InstanceUnknownError });
});

test('an instance that changes its engine leaves nothing in the old one', async (t) => {
  const { engines, docker, run } = createWorld();
  await engines.start(owner);
  await run(engines.launch(asContainer(launch)));
  await run(engines.terminate(launch.instance, 1_000));
  await run(engines.launch(launch));
  t.is((await docker.list()).length, 0);
  t.is((await engines.list('process')).length, 1);
});

test('a launch that changes the engine is ended by a wish that comes meanwhile, and one engine alone has the next', async (t) => {
  const { engines, docker, run } = createWorld();
  await engines.start(owner);
  await run(engines.launch(asContainer(launch)));
  await run(engines.terminate(launch.instance, 1_000));
  const changing = engines.launch(launch);
  t.truthy(await run(engines.terminate(launch.instance, 1_000)));
  await changing;
  t.deepEqual(
    (await engines.list('process')).map(({ pid }) => pid),
    [undefined],
    'it was the new one that ended',
  );
  await run(engines.launch(asContainer(launch)));
  t.deepEqual(docker.living(), [launch.instance]);
  t.deepEqual(await engines.list('process'), []);
});

test('what still runs in another engine is ended when it is launched anew', async (t) => {
  const { engines, docker, run } = createWorld();
  await engines.start(owner);
  await run(engines.launch(asContainer(launch)));
  await run(engines.launch(launch));
  t.deepEqual(docker.living(), []);
  t.is((await engines.list('process')).length, 1);
});

test('an engine that is away is told of, is not asked, and loses nothing', async (t) => {
  const { engines, docker, run, goes } = createWorld();
  await engines.start(owner);
  const told: string[] = [];
  engines.subscribe((name) => told.push(name));
  await run(engines.launch(asContainer(launch)));
  goes('there is no socket');
  t.deepEqual(told, ['docker']);
  t.deepEqual(engines.offered(), ['process']);
  t.is(engines.unavailable('docker'), 'there is no socket');
  t.deepEqual(await engines.list(), []);
  await t.throwsAsync(engines.terminate(launch.instance, 0), { instanceOf: EngineUnavailableError });
  goes(undefined);
  t.is((await engines.list()).length, 1);
  t.is((await docker.list()).length, 1);
});

test('what two engines run is ended in the one that was away', async (t) => {
  const { engines, docker, run, goes } = createWorld();
  await engines.start(owner);
  await run(docker.launch(asContainer(launch)));
  goes('there is no socket');
  await run(engines.launch(launch));
  goes(undefined);
  t.is((await run(engines.list())).length, 1);
  t.is((await docker.list()).length, 0);
  t.is((await engines.list('process')).length, 1);
});

test('an engine that this version does not have is said to be missing', async (t) => {
  const { engines } = createWorld();
  t.is(engines.unavailable('wasm'), 'this node has no such engine');
  const wasm = { ...launch.spec, engine: 'wasm' } as unknown as Launch['spec'];
  await t.throwsAsync(engines.network(launch.instance, wasm), { instanceOf: EngineMissingError });
});
