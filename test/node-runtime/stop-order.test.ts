// The order in which what depends on each other is ended.

import test from 'ava';
import { endsNow } from '../../node-runtime/stop-order.ts';
import { createSimApplication, type SimMicroservice } from '../../simulations/sim-application.ts';
import type { SimBox } from '../../simulations/sim-node.ts';
import { createSimFabric, type SimFabric } from './sim-fabric.ts';

const named = (microservice: string, dependsOn: string[] = [], application = 'shop') => ({
  ...{ project: 'default', application, microservice, dependsOn },
});
const names = (list: { microservice: string }[]) => list.map(({ microservice }) => microservice).join();

test('what nothing depends on ends first; another application counts for nothing; a circle ends whole', (t) => {
  const [stock, till, sign] = [named('stock'), named('till', ['stock']), named('sign', ['till', 'stock'])];
  t.is(names(endsNow([stock, till, sign])), 'sign');
  t.is(names(endsNow([stock, till])), 'till');
  t.is(names(endsNow([stock])), 'stock');
  t.is(names(endsNow([stock, named('till', ['stock'], 'other')])), 'stock,till');
  t.is(names(endsNow([named('one', ['two']), named('two', ['one'])])), 'one,two');
  t.deepEqual(endsNow([]), []);
});

/** Does not hear SIGTERM: it is there until its time to stop is over. */
const slow = { command: ['hang-on-term', 'run'], stopTimeoutMs: 3_000 };
const chain = createSimApplication('shop', {
  stock: { command: ['run'], replicas: 2 },
  till: { ...slow, dependsOn: ['stock'], replicas: 2 },
  sign: { ...slow, dependsOn: ['till'] },
});

async function runningOn(box: SimBox): Promise<string> {
  const ran = (await box.engine.list()).filter(({ exit }) => exit === undefined);
  return [...new Set(ran.map(({ instance }) => instance.split('.')[2]))].sort().join();
}

/** The sets of microservices that ran, one after the other, until nothing did. */
async function ending(fabric: SimFabric, box: SimBox): Promise<string[]> {
  const seen: string[] = [];
  await fabric.until('all have ended', async () => {
    const now = await runningOn(box);
    if (seen.at(-1) !== now) seen.push(now);
    return now === '';
  });
  return seen;
}

const order = ['sign,stock,till', 'stock,till', 'stock', ''];

test('a deleted application ends from its last dependant to what all depend on', async (t) => {
  const fabric = await createSimFabric(t, 'stop-order');
  const box = fabric.founder;
  await fabric.during(fabric.controller().apply.apply(chain));
  await fabric.until('all run', async () => (await runningOn(box)) === order[0]);
  await fabric.during(fabric.controller().apply.deleteApplication('default', 'shop'));
  t.deepEqual(await ending(fabric, box), order);
});

test('what comes back into the plan while it waits for its dependants was never touched', async (t) => {
  const fabric = await createSimFabric(t, 'stop-order-back');
  const box = fabric.founder;
  await fabric.during(fabric.controller().apply.apply(chain));
  await fabric.until('all run', async () => (await runningOn(box)) === order[0]);
  const started = new Map((await box.engine.list()).map(({ instance, pid }) => [instance, pid]));
  await fabric.during(fabric.controller().apply.deleteApplication('default', 'shop'));
  await fabric.until('the last dependant has ended', async () => (await runningOn(box)) === order[1]);
  await fabric.during(fabric.controller().apply.apply(chain));
  await fabric.until('all run again', async () => (await runningOn(box)) === order[0]);
  for (const { instance, pid } of await box.engine.list()) {
    if (instance.includes('.stock.')) t.is(pid, started.get(instance), instance);
  }
});

test('a deleted application, and a microservice that a new version has no longer, end in that order across nodes, too', async (t) => {
  const fabric = await createSimFabric(t, 'stop-order-across');
  const [box1, box2] = [fabric.founder, await fabric.join('box2')];
  const on = (node: string) => ({ placement: { node } });
  // On box1 there is what box2 depends on, and what depends on that.
  const across = (more: Record<string, SimMicroservice>) =>
    createSimApplication('shop', { lamp: { command: ['run'], ...on('box1') }, ...more });
  const whole = across({
    stock: { ...slow, ...on('box1') },
    till: { ...slow, dependsOn: ['stock'], ...on('box2') },
    sign: { ...slow, dependsOn: ['till'], ...on('box1') },
  });
  const running = async (): Promise<string> =>
    `${await runningOn(box1)} ${await runningOn(box2)}`.replace('lamp,', '').trim();
  const reasons = new Set<string>();
  const controller = fabric.controller();

  const ending = async (last: string): Promise<string[]> => {
    const seen: string[] = [];
    await fabric.until('all have ended', async () => {
      const now = await running();
      if (seen.at(-1) !== now) seen.push(now);
      const stock = await controller.status.instance('default.shop.stock.0');
      if (stock !== undefined) reasons.add(stock.reason);
      return now === last;
    });
    return seen;
  };
  const begin = async (): Promise<void> => {
    await fabric.during(controller.apply.apply(whole));
    await fabric.until('all are ready', async () => {
      const application = await controller.status.application('default', 'shop');
      return application?.ready === true;
    });
    t.is(await running(), 'sign,stock till');
  };

  await begin();
  await fabric.during(controller.apply.apply(across({})));
  t.deepEqual(await ending('lamp'), ['sign,stock till', 'stock till', 'stock', 'lamp']);
  t.true(reasons.has('stays until default.shop.till.0 on box2 has ended'), [...reasons].join('; '));

  await begin();
  const pids = async () => new Map((await box1.engine.list()).map(({ instance, pid }) => [instance, pid]));
  const started = await pids();
  await fabric.during(controller.apply.deleteApplication('default', 'shop'));
  await fabric.until('only the last dependant has ended', async () => (await running()) === 'stock till');
  await begin();
  const again = await pids();
  t.is(again.get('default.shop.stock.0'), started.get('default.shop.stock.0'), 'applied again, it was never touched');
  t.not(again.get('default.shop.sign.0'), started.get('default.shop.sign.0'));
  await fabric.during(controller.apply.deleteApplication('default', 'shop'));
  t.deepEqual(await ending(''), ['sign,stock till', 'stock till', 'stock', '']);
});

test('a node that ends all its workloads keeps the order', async (t) => {
  const fabric = await createSimFabric(t, 'stop-order-down');
  const box = fabric.founder;
  await fabric.during(fabric.controller().apply.apply(chain));
  await fabric.until('all run', async () => (await runningOn(box)) === order[0]);
  const seen: string[] = [];
  let down = false;
  void box
    .node()
    .stop({ workloads: true })
    .then(() => {
      down = true;
    });
  await fabric.until('the node is down', async () => {
    // The engine stops last, and then says nothing any more.
    const now = await runningOn(box).catch(() => '');
    if (seen.at(-1) !== now) seen.push(now);
    return down;
  });
  t.deepEqual(seen, order);
});
