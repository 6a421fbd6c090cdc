// What an instance may call, and how that is balanced, changes at any moment of its start: it has what its newest plan says in the end, and
// is not started again for it.

import test from 'ava';
import { runScenario, type Scenario } from '../../simulations/scenario.ts';

const manifest = (balancing: string) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'shop' },
  spec: {
    microservices: ['stock', 'till'].map((name) => ({
      ...{ name, engine: 'process', command: ['sim', 'run'], ports: [{ name: 'http', port: 8080 }] },
      ...(name === 'stock' && { balancing }),
    })),
  },
});
const limitMs = 60_000;
const till = 'default.shop.till.0';

test('a change of balancing while an instance starts, or runs, is what holds in the end', async (t) => {
  /** In how many runs the new plan came between the caller's preparation and its start. */
  let between = 0;
  const tried = ['closest', 'sticky', 'least-connections'];
  for (let seed = 0; seed < 12; seed += 1) {
    const scenario: Scenario = async ({ box, until, clock }) => {
      let state = '';
      let obeyed = 0;
      let during = 0;
      const one = box('one', {
        onEvent(type, _message, detail) {
          if (type === 'instance' && detail?.['instance'] === till) state = String(detail['state']);
          if (type !== 'plan-obeyed') return;
          obeyed += 1;
          if (obeyed > 1 && ['creating', 'starting'].includes(state)) during += 1;
        },
      });
      const member = () => one.running && one.node().member() !== undefined;
      const apply = (policy: string) =>
        one
          .node()
          .member()
          ?.controller?.apply.apply([manifest(policy)]);
      const balancing = () => {
        const attached = one.services?.attached().find(({ instance }) => instance === till);
        return attached?.calls.find(({ microservice }) => microservice === 'stock')?.balancing;
      };
      await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
      await until('it is a member', member, limitMs);
      await apply('round-robin');
      await clock.advance(seed * 5);
      for (const policy of tried) {
        await apply(policy);
        await clock.advance(10);
      }
      await until('it runs', () => state === 'running', limitMs);
      await until(
        'it has the last one',
        () => JSON.stringify(balancing()) === '{"policy":"least-connections"}',
        limitMs,
      );
      await apply('round-robin');
      await until('it has none', () => balancing() === undefined, limitMs);
      if (during > 0) between += 1;
      t.deepEqual(one.engine.living().sort(), ['default.shop.stock.0', till]);
      t.is((await one.node().member()?.controller?.status.instance(till))?.restarts, 0);
      return {};
    };
    const { ok, error } = await runScenario(scenario, { seed: `service changes ${seed}` });
    t.true(ok, `seed ${seed}: ${error}`);
  }
  t.true(between >= 3, `${between}`);
});
