// The order in which what depends on each other is ended.

import test from 'ava';
import { endsNow } from '../../node-runtime/stop-order.ts';
import { createSimApplication } from '../../simulations/sim-application.ts';
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
