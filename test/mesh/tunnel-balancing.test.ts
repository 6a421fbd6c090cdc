// Policies on real tunnels: which instance each call reaches, and who is ejected and told of.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { ObservedCalls } from '../../control/fabric.ts';
import type { Balancing, CallableService } from '../../control/plan.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import {
  answering,
  ask,
  brokenWith,
  callable,
  closedPort,
  dial,
  instanceOf,
  link,
  type NetworkNode,
  nameOf,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();
const patience = { deadlineMs: 60_000 };

const balanced = (balancing: Balancing): CallableService => ({ ...callable('sensor'), balancing });

/** Says its name at once and stays. */
const greeting = (name: string) => (socket: Socket) => {
  socket.resume();
  socket.write(name);
  socket.on('end', () => socket.end());
};

/** Two nodes, three instances on them, and `monitor` on the first. */
async function threeSensors(
  t: ExecutionContext,
  {
    balancing,
    workload = answering,
    options = {},
  }: {
    balancing: Balancing;
    workload?: (name: string) => (socket: Socket) => void;
    options?: Parameters<typeof startNode>[3];
  },
) {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]), options);
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const nodes = [node1, node2, node2];
  for (const [index, node] of nodes.entries()) {
    await node.attach(sensor, { index, listens: { 8080: await serve(t, workload(`${index}`)) } });
  }
  link(node1, node2);
  const announce = (...ready: number[]) =>
    node1.network.setEndpoints(
      nodes.map((node, index) => node.endpoint(sensor, { index, ready: ready.includes(index) })),
    );
  announce(0, 1, 2);
  const caller = await node1.attach(monitor, { calls: [balanced(balancing)] });
  const address = caller.address('sensor');
  const asked = async (count: number) => {
    const answers: string[] = [];
    for (let call = 0; call < count; call += 1) answers.push(await ask(t, address, 'x'));
    return answers;
  };
  return { node1, node2, announce, address, asked };
}

/** The greeting of a connection that stays open. */
async function held(t: ExecutionContext, address: string): Promise<{ socket: Socket; by: string }> {
  const socket = await dial(t, address);
  const [data] = await once(socket, 'data');
  return { socket, by: String(data) };
}

test('closest calls stay on the node, and go to the nearest node when nobody is ready here', async (t) => {
  const costs = new Map<string, number>();
  const costOf = (peerId: string) => costs.get(peerId);
  const { node1, node2, announce, asked } = await threeSensors(t, {
    balancing: { policy: 'closest' },
    options: { costOf },
  });
  const node3 = await startNode(t, fabric, fabric.node('three', [sensor]));
  await node3.attach(sensor, { index: 3, listens: { 8080: await serve(t, answering('3')) } });
  link(node1, node3);
  const places = [node1, node2, node2, node3];
  const tell = (...ready: number[]) =>
    node1.network.setEndpoints(
      places.map((node, index) => node.endpoint(sensor, { index, ready: ready.includes(index) })),
    );
  announce(0, 1, 2);
  t.deepEqual(await asked(4), ['0', '0', '0', '0']);
  tell(1, 2, 3);
  costs.set(node2.peerId, 3_000).set(node3.peerId, 40_000);
  t.deepEqual((await asked(4)).sort(), ['1', '1', '2', '2'], 'equals get the same share');
  costs.set(node2.peerId, 60_000);
  t.deepEqual(await asked(3), ['3', '3', '3'], 'what is measured now counts');
});

test('local first keeps calls here while one is ready here', async (t) => {
  const balancing: Balancing = { policy: 'round-robin', localFirst: true };
  const { announce, asked } = await threeSensors(t, { balancing });
  t.deepEqual(await asked(3), ['0', '0', '0']);
  announce(1, 2);
  t.deepEqual((await asked(4)).sort(), ['1', '1', '2', '2']);
});

test('least connections: each call goes to where the fewest are open, also of calls that begin together', async (t) => {
  const balancing: Balancing = { policy: 'least-connections' };
  const { address } = await threeSensors(t, { balancing, workload: greeting });
  const open = await Promise.all(Array.from({ length: 6 }, () => held(t, address)));
  const byInstance = Map.groupBy(open, ({ by }) => by);
  t.deepEqual(
    [...byInstance.values()].map((list) => list.length),
    [2, 2, 2],
  );
  for (const { socket } of byInstance.get('1') ?? []) {
    socket.end();
    await once(socket, 'close');
  }
  // The far end of a call closes a moment later than its caller's.
  await eventually(async () => {
    const { socket, by } = await held(t, address);
    if (by === '1') return true;
    socket.end();
    await once(socket, 'close');
    return false;
  }, patience);
  t.is((await held(t, address)).by, '1', 'it has one, the others two each');
});

test('sticky calls reach one instance; another one while that is not ready; and the first again', async (t) => {
  const { announce, asked } = await threeSensors(t, { balancing: { policy: 'sticky' } });
  const home = Number((await asked(1))[0]);
  t.deepEqual(new Set(await asked(5)), new Set([`${home}`]));
  announce(...[0, 1, 2].filter((index) => index !== home));
  const meanwhile = await asked(5);
  t.is(new Set(meanwhile).size, 1, 'the same one for all of them');
  t.not(meanwhile[0], `${home}`);
  announce(0, 1, 2);
  t.deepEqual(new Set(await asked(3)), new Set([`${home}`]));
});

test('an instance by its number: that one alone, a reason while it is not ready, and another one as soon as the plan says so', async (t) => {
  const { node1, announce, address, asked } = await threeSensors(t, { balancing: { instance: 2 } });
  t.deepEqual(await asked(3), ['2', '2', '2']);
  announce(0, 1);
  t.is(await brokenWith(connect(8080, address)), 'ECONNRESET');
  t.is(node1.outcomes.at(-1)?.reason, 'its instance 2 is not ready');
  const again = await node1.attach(monitor, { calls: [balanced({ instance: 1 })] });
  t.is(again.address('sensor'), address);
  t.deepEqual(await asked(2), ['1', '1']);
});

/** What is told of calls that go wrong. */
function listening() {
  const told: ObservedCalls[] = [];
  return { told, options: { onTroubles: (one: ObservedCalls) => void told.push(one) } };
}

async function sensorsAt(node: NetworkNode, ports: readonly number[]): Promise<void> {
  for (const [index, port] of ports.entries()) await node.attach(sensor, { index, listens: { 8080: port } });
}

test('an instance that does not accept is ejected and told of; the last one never is out', async (t) => {
  const { told, options } = listening();
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]), options);
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const closed = await closedPort();
  await sensorsAt(node2, [closed, await serve(t, answering('alive'))]);
  link(node1, node2);
  const both = [0, 1].map((index) => node2.endpoint(sensor, { index }));
  node1.network.setEndpoints(both);
  const address = caller.address('sensor');
  // At first it is ejected for so short a time that nobody need hear of it.
  const isTold = async () => {
    t.is(await ask(t, address, 'x'), 'alive', 'the caller notices nothing');
    return told.some(({ ejected }) => ejected.length > 0);
  };
  await eventually(isTold, { ...patience, everyMs: 100, what: 'the ejection to be told' });
  const [ejected] = told.flatMap((one) => one.ejected);
  t.like(ejected, { instance: instanceOf(sensor, 0), port: 8080 });
  t.regex(ejected?.reason ?? '', /does not accept connections/);

  // The other one goes: nobody is left but who failed, and it is tried.
  node1.network.setEndpoints(both.slice(0, 1));
  t.is(await brokenWith(connect(8080, address)), 'ECONNRESET');
  t.is(node1.outcomes.at(-1)?.attempts, 1);
  await eventually(() => told.at(-1)?.failing.length === 1, { ...patience, what: 'the failing call to be told' });
  t.like(told.at(-1)?.failing[0], { caller: caller.instance, called: 'sensor:8080' });
  await node2.attach(sensor, { index: 0, listens: { 8080: await serve(t, answering('alive again')) } });
  t.is(await ask(t, address, 'x'), 'alive again', 'the last one is called although it failed just now');
  await eventually(() => JSON.stringify(told.at(-1)) === '{"ejected":[],"failing":[]}', {
    ...patience,
    what: 'all to be well',
  });
});

test('news of an instance, or of its node, ends its ejection before the time', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node1.attach(sensor, { index: 1, listens: { 8080: await serve(t, answering('1')) } });
  await sensorsAt(node2, [await closedPort()]);
  link(node1, node2);
  const announce = (ready: boolean) =>
    node1.network.setEndpoints([node2.endpoint(sensor, { index: 0, ready }), node1.endpoint(sensor, { index: 1 })]);
  const asked = async () => {
    const answers: string[] = [];
    for (let call = 0; call < 4; call += 1) answers.push(await ask(t, caller.address('sensor'), 'x'));
    return answers.sort().join('');
  };
  announce(true);
  t.is(await asked(), '1111');
  const failures = () => node1.outcomes.filter(({ attempts }) => attempts > 1).length;
  t.true(failures() >= 1);

  await sensorsAt(node2, [await serve(t, answering('0'))]);
  announce(false);
  announce(true);
  t.is(await asked(), '0011', 'it was unready in between');

  node1.network.setOffer(node2.peerId, undefined);
  await node1.network.detach(caller.instance);
  const again = await node1.attach(monitor, { calls: [callable('sensor')] });
  t.is(again.address('sensor'), caller.address('sensor'));
  t.is(await asked(), '1111', 'a new caller has no session that could be used without a link');
  link(node1, node2);
  t.is(await asked(), '0011', 'its node is linked again');
});

test('a caller that goes while it waits ejects nobody', async (t) => {
  const { told, options } = listening();
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]), options);
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const callers: string[] = [];
  for (const index of [0, 1]) {
    const caller = await node1.attach(monitor, { index, calls: [callable('sensor'), callable('store')] });
    callers.push(caller.instance);
    if (index === 0) {
      const knocks: Socket[] = [];
      const silent = await serve(t, (socket) => void knocks.push(socket));
      link(node1, node2, { addresses: [`127.0.0.1:${silent}`] });
      node1.network.setEndpoints([node2.endpoint(sensor)]);
      const socket = await dial(t, caller.address('sensor'));
      await eventually(() => knocks.length > 0, { ...patience, what: 'the tunnel to be dialled' });
      await node1.network.detach(caller.instance);
      await eventually(() => node1.outcomes.length === 1, { ...patience, what: 'the call to be given up' });
      t.true(await eventually(() => socket.destroyed, patience));
    } else {
      // This failure is told, and with it an ejection would be.
      t.is(await brokenWith(connect(8080, caller.address('store'))), 'ECONNRESET');
    }
  }
  await eventually(() => told.length > 0, { ...patience, what: 'the other call to be told' });
  t.deepEqual(
    told.map(({ ejected, failing }) => [ejected.length, ...failing.map(({ caller, called }) => [caller, called])]),
    [[0, [callers[1], 'store:8080']]],
  );
});
