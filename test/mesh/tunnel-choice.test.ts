// Which instance a call reaches, what happens when one does not answer, and what renewal, detaching and stopping do to open calls.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { ejectionMs } from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
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
  nameOf,
  readAll,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();

const echo = (socket: Socket) => {
  socket.pipe(socket);
};

test('calls go round evenly between ready instances on both nodes, and an unready one is not called', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const nodes = [node1, node2, node2, node2];
  for (const [index, node] of nodes.entries()) {
    await node.attach(sensor, { index, listens: { 8080: await serve(t, answering(`${index}`)) } });
  }
  link(node1, node2);
  node1.network.setEndpoints(nodes.map((node, index) => node.endpoint(sensor, { index, ready: index !== 2 })));
  const counts: Record<string, number> = {};
  for (let call = 0; call < 30; call += 1) {
    const answer = await ask(t, caller.address('sensor'), 'x');
    counts[answer] = (counts[answer] ?? 0) + 1;
  }
  t.deepEqual(counts, { 0: 10, 1: 10, 3: 10 });
});

test('an instance that refuses connections is passed over before the caller notices', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const nodes = [node2, node1, node2];
  for (const [index, node] of nodes.entries()) {
    const port = index === 2 ? await serve(t, answering('alive')) : await closedPort();
    await node.attach(sensor, { index, listens: { 8080: port } });
  }
  link(node1, node2);
  node1.network.setEndpoints(nodes.map((node, index) => node.endpoint(sensor, { index })));
  const startedAt = performance.now();
  for (let call = 0; call < 6; call += 1) t.is(await ask(t, caller.address('sensor'), 'x'), 'alive');
  // On a busy box the calls may outlast the time for which an instance is ejected; then it is rightly asked once more.
  const rounds = 1 + Math.floor((performance.now() - startedAt) / (ejectionMs / 2));
  const attempts = node1.outcomes.reduce((sum, outcome) => sum + outcome.attempts, 0);
  t.true(
    attempts <= 6 + 2 * rounds,
    `instances that failed just now are not asked again at once: ${attempts} attempts`,
  );
});

test('without an instance that answers the caller’s connection is reset at once, with the reason', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const reasons: string[] = [];
  const call = async () => {
    t.is(await brokenWith(connect(8080, caller.address('sensor'))), 'ECONNRESET');
    reasons.push(node1.outcomes.at(-1)?.reason ?? '');
  };
  await call();
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  await call();
  link(node1, node2);
  await call();
  await node2.attach(sensor, { listens: { 8080: await closedPort() } });
  await call();
  t.is(reasons[0], 'no instance of it is ready');
  t.regex(reasons[1] ?? '', /there is no link/);
  t.regex(reasons[2] ?? '', /no tunnel to sensor/);
  t.regex(reasons[3] ?? '', /the instance does not accept connections/);
});

test('an address of the offer that does not answer costs a quarter of a second, not the call', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]), {
    advertisedHosts: () => ['127.0.0.1', '::1'],
  });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, answering('here')) } });
  const { addresses } = node2.network.offer() ?? { addresses: [] };
  t.is(addresses.length, 1, 'only what is listened on is offered');
  const silent = await serve(t, () => undefined);
  link(node1, node2, { addresses: [`127.0.0.1:${await closedPort()}`, `127.0.0.1:${silent}`, ...addresses] });
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  t.is(await ask(t, caller.address('sensor'), 'x'), 'here');
  t.true((node1.outcomes[0]?.tookMs ?? 0) >= 240);
});

test('renewed credentials leave open calls alone, on either side, and serve new ones', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const called = await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const open: Socket[] = [];
  const sayThroughAll = async (text: string) => {
    for (const socket of open) {
      const answer = once(socket, 'data');
      socket.write(text);
      t.is(String(await answer), text);
    }
  };
  const renewals = [
    () => undefined,
    () => node1.network.renew(caller.instance, node1.issue(monitor)),
    () => node2.network.renew(called.instance, node2.issue(sensor)),
    () => node2.network.renew(called.instance, node2.issue(sensor)),
    () => node1.network.renew('nobody', node1.issue(monitor)),
  ];
  for (const [step, renew] of renewals.entries()) {
    renew();
    open.push(await dial(t, caller.address('sensor')));
    await sayThroughAll(`after step ${step}`);
  }
  t.throws(() => node1.network.renew(caller.instance, node1.issue(nameOf('other'))), {
    name: 'WorkloadCredentialError',
  });
  await sayThroughAll('after a renewal that was refused');
  for (const socket of open) {
    socket.end();
    t.is(await readAll(socket), '');
  }
  t.is(node1.outcomes.filter(({ outcome }) => outcome === 'failed').length, 0);
});

test('detaching the caller closes its addresses and resets its calls', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const seen: string[] = [];
  const port = await serve(t, (socket) => {
    socket.pipe(socket);
    socket.on('error', (error: Error & { code?: string }) => seen.push(error.code ?? ''));
    socket.on('end', () => seen.push('end'));
  });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: port } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const socket = await dial(t, caller.address('sensor'));
  socket.write('hello');
  await once(socket, 'data');
  const broken = brokenWith(socket);
  await node1.network.detach(caller.instance);
  t.is(await broken, 'ECONNRESET');
  await eventually(() => seen.length > 0);
  t.deepEqual(seen, ['ECONNRESET'], 'the called instance sees a reset, not an end');
  await t.throwsAsync(dial(t, caller.address('sensor')), { code: 'ECONNREFUSED' });
  await node1.network.detach(caller.instance);
});

test('detaching the called instance resets its calls, and others of its microservice live on', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  for (const index of [0, 1]) await node2.attach(sensor, { index, listens: { 8080: await serve(t, echo) } });
  link(node1, node2);
  const open: Socket[] = [];
  for (const index of [0, 1]) {
    node1.network.setEndpoints([node2.endpoint(sensor, { index })]);
    const socket = await dial(t, caller.address('sensor'));
    socket.write('hello');
    await once(socket, 'data');
    open.push(socket);
  }
  const [first, second] = open as [Socket, Socket];
  const broken = brokenWith(first);
  await node2.network.detach(instanceOf(sensor, 0));
  t.is(await broken, 'ECONNRESET');
  second.write('still here');
  t.is(String((await once(second, 'data'))[0]), 'still here');
  const secondBroken = brokenWith(second);
  await node2.network.detach(instanceOf(sensor, 1));
  t.is(await secondBroken, 'ECONNRESET');
});

test('an instance that is attached again keeps its address and its open calls', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const socket = await dial(t, caller.address('sensor'));
  socket.write('hello');
  await once(socket, 'data');
  const again = await node1.attach(monitor, { calls: [callable('sensor'), callable('store')] });
  t.is(again.address('sensor'), caller.address('sensor'));
  socket.write('still here');
  t.is(String((await once(socket, 'data'))[0]), 'still here');
});

test('sessions of a revoked node are closed within seconds', async (t) => {
  const revoked = new Set<string>();
  const isPeerRevoked = (peerId: string) => revoked.has(peerId);
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]), { isPeerRevoked });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const socket = await dial(t, caller.address('sensor'));
  socket.write('hello');
  await once(socket, 'data');
  const broken = brokenWith(socket);
  revoked.add(node1.peerId);
  t.is(await broken, 'ECONNRESET');
});

test('calls to a node that has vanished are reset soon after its link is gone', async (t) => {
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  const tunnelPort = Number(node2.network.offer()?.addresses[0]?.split(':')[1]);
  const cables: Socket[] = [];
  const cable = await serve(t, (socket) => {
    const onward = connect(tunnelPort, '127.0.0.1');
    onward.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
    cables.push(socket, onward);
    t.teardown(() => onward.destroy());
  });
  link(node1, node2, { addresses: [`127.0.0.1:${cable}`] });
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const socket = await dial(t, caller.address('sensor'));
  socket.write('hello');
  await once(socket, 'data');
  const broken = brokenWith(socket);
  node1.network.setOffer(node2.peerId, undefined);
  await createSystemClock().sleep(1_500);
  t.false(socket.destroyed, 'a lost link alone breaks no call');
  for (const cut of cables) cut.unpipe();
  node1.network.setOffer(node2.peerId, undefined);
  await eventually(() => socket.destroyed, { deadlineMs: 10_000, what: 'the reset, sooner than silence alone would' });
  t.is(await broken, 'ECONNRESET');
});

test('idle sessions are closed, and a call after that makes a new one', async (t) => {
  const clock = createSystemClock();
  let aheadMs = 0;
  const handshakes: string[] = [];
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]), {
    clock: { ...clock, now: () => clock.now() + aheadMs, elapsed: () => clock.elapsed() + aheadMs },
    verifyChain: (chain) => {
      const identity = fabric.verifyChain(chain);
      if (identity.node === 'two') handshakes.push(identity.kind);
      return identity;
    },
  });
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  const busy = await dial(t, caller.address('sensor'));
  busy.write('hello');
  await once(busy, 'data');
  aheadMs = 61_000;
  await clock.sleep(1_500);
  t.is(await ask(t, caller.address('sensor'), 'same session'), 'same session');
  t.is(handshakes.length, 1, 'a session with a stream is not idle');
  busy.end();
  await readAll(busy);
  await eventually(
    async () => {
      aheadMs += 61_000;
      await clock.sleep(1_200);
      t.is(await ask(t, caller.address('sensor'), 'new session'), 'new session');
      return handshakes.length > 1;
    },
    { what: 'a new session is made' },
  );
});

test('start and stop are idempotent, a stopped network refuses, and can be started again', async (t) => {
  const node = await startNode(t, fabric, fabric.node('one', [monitor]));
  await node.network.start();
  t.is(node.network.offer()?.addresses.length, 1);
  const attached = await node.attach(monitor, { calls: [callable('sensor')] });
  await Promise.all([node.network.stop(), node.network.stop()]);
  t.is(node.network.offer(), undefined);
  await t.throwsAsync(node.attach(monitor), { name: 'ServiceNetworkStoppedError' });
  await t.throwsAsync(dial(t, attached.address('sensor')), { code: 'ECONNREFUSED' });
  await node.network.start();
  t.is((await node.attach(monitor, { calls: [callable('sensor')] })).address('sensor'), attached.address('sensor'));
});

test('a taken tunnel port is an error at start and leaves nothing behind', async (t) => {
  const port = await serve(t, () => undefined);
  const free = await closedPort();
  const start = (hosts: string[], tunnelPort: number) =>
    startNode(t, fabric, fabric.node('one', []), { listen: { hosts, port: tunnelPort } });
  await t.throwsAsync(start(['127.0.0.2', '127.0.0.1'], port), { name: 'TunnelListenError' });
  await t.throwsAsync(dial(t, '127.0.0.2', port), { code: 'ECONNREFUSED' });
  await t.throwsAsync(start(['192.0.2.1'], free), { name: 'TunnelListenError' });
  const both = await start(['192.0.2.1', '127.0.0.1'], 0);
  t.is(both.network.offer()?.addresses.length, 1, 'an address that the box does not have is left out');
});

test('after a stop in the middle of calls nothing keeps the process alive', async (t) => {
  const child = spawn(process.execPath, [fileURLToPath(new URL('stop-child.ts', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const killer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const [output, problems, [code]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, 'exit'),
  ]);
  clearTimeout(killer);
  t.is(Buffer.concat(problems).toString(), '');
  t.is(Buffer.concat(output).toString(), 'carried 20, stopped\n');
  t.is(code, 0);
});
