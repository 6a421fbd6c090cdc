// An instance changes its engine while the one that runs it is away, and the daemon dies meanwhile: it is never run by both.

import test from 'ava';
import { runScenario, type Scenario } from '../../simulations/scenario.ts';
import { manifestsOf, type WishedMicroservice } from '../../simulations/scenarios/node-day-wishes.ts';

const limitMs = 60_000;
const instance = 'default.shop.till.0';

for (const [when, changesFirst] of [
  ['before', true],
  ['after', false],
] as const) {
  test(`the engine of an instance changes ${when} the daemon dies, while the former one is away`, async (t) => {
    const scenario: Scenario = async ({ box, clock, until }) => {
      const one = box('one', { containers: true });
      const containers = one.containers ?? t.fail('it has no engine of containers');
      if (typeof containers === 'boolean') return {};
      const member = () => one.running && one.node().member() !== undefined;
      const apply = (engine: WishedMicroservice['engine']) =>
        one
          .node()
          .member()
          ?.controller?.apply.apply(
            manifestsOf([
              { name: 'shop', config: 1, microservices: { till: { engine, replicas: 1, version: 1, dependsOn: [] } } },
            ]),
          );
      const view = () => one.node().member()?.controller?.status.instance(instance);
      await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
      await until('it is a member', member, limitMs);
      await apply('docker');
      await until('the container runs', async () => (await view())?.ready === true, limitMs);
      // Observations are coalesced: what the next daemon reads is there by then.
      await clock.advance(5_000);

      containers.outages.goAway('refuses');
      if (changesFirst) await apply('process');
      await clock.advance(5_000);
      one.crash();
      void one.start();
      await until('the daemon is back', member, limitMs);
      if (!changesFirst) await apply('process');
      await clock.advance(limitMs);
      t.deepEqual(containers.engine.living(), [instance]);
      t.deepEqual(one.engine.living(), [], 'what may still run elsewhere is not started here');
      t.regex((await view())?.reason ?? '', /may still run where it ran before: the engine docker cannot be used/);

      containers.outages.comeBack();
      await until('it has moved', async () => (await view())?.ready === true, limitMs);
      t.deepEqual(one.engine.living(), [instance]);
      t.deepEqual(containers.engine.living(), []);
      return {};
    };
    const { ok, error } = await runScenario(scenario, { seed: when });
    t.true(ok, error);
  });
}

test('an application is deleted and applied anew for another engine while the former one is away and the daemon died: it never runs twice', async (t) => {
  const scenario: Scenario = async ({ box, clock, until }) => {
    const one = box('one', { containers: true });
    const containers = one.containers ?? t.fail('it has no engine of containers');
    if (typeof containers === 'boolean') return {};
    const controller = () => one.node().member()?.controller;
    const member = () => one.running && controller() !== undefined;
    const apply = (engine: WishedMicroservice['engine']) =>
      controller()?.apply.apply(
        manifestsOf([
          { name: 'shop', config: 1, microservices: { till: { engine, replicas: 1, version: 1, dependsOn: [] } } },
        ]),
      );
    const view = () => controller()?.status.instance(instance);
    await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
    await until('it is a member', member, limitMs);
    await apply('docker');
    await until('the container runs', async () => (await view())?.ready === true, limitMs);
    await clock.advance(5_000);

    containers.outages.goAway('refuses');
    one.crash();
    void one.start();
    await until('the daemon is back', member, limitMs);
    await controller()?.apply.deleteApplication('default', 'shop');
    await clock.advance(limitMs);
    t.deepEqual(containers.engine.living(), [instance]);
    await apply('process');
    await clock.advance(limitMs);
    t.deepEqual(one.engine.living(), [], 'what may still run elsewhere is not started here');

    containers.outages.comeBack();
    await until('it runs here', async () => (await view())?.ready === true, limitMs);
    t.deepEqual(one.engine.living(), [instance]);
    t.deepEqual(containers.engine.living(), []);
    return {};
  };
  const { ok, error } = await runScenario(scenario, { seed: 'deleted' });
  t.true(ok, error);
});
