// UDP between microservices: what is carried, to whom, and what ends it. Real sockets and certificates; once on connections of their own,
// once on a stream of a real link where nothing else is reached.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { DroppedDatagrams } from '../../mesh/datagram-drops.ts';
import {
  datagramFlowsPerInstanceMax,
  datagramSilentSweepsMax,
  datagramUnsentBytesMax,
  tunnelStreamWindowBytes,
  tunnelSweepMs,
} from '../../mesh/limits.ts';
import type { TunnelNetworkOptions } from '../../mesh/tunnel-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import { callableUdp, serveUdp, udpCaller, udpEndpoint, udpPort } from './datagram-fixture.ts';
import {
  answering,
  ask,
  callable,
  instanceOf,
  link,
  linkedMeshes,
  type NetworkNode,
  nameOf,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const dns = nameOf('dns');
const monitor = nameOf('monitor');
const spy = nameOf('spy', 'other');
const fabric = createTestFabric();

type Way = 'connection' | 'link' | 'local';

/** `monitor` on node 1 may call `dns` on node 2 (or on node 1 itself), which listens at `hostPort`. */
async function twoNodes(
  t: ExecutionContext,
  hostPort: number,
  way: Way = 'connection',
  options: Partial<TunnelNetworkOptions> = {},
) {
  const meshes = way === 'link' ? await linkedMeshes(t) : undefined;
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, dns]), {
    ...options,
    ...(meshes && { mesh: meshes[0] }),
  });
  const node2 = await startNode(t, fabric, fabric.node('two', [dns]), {
    ...options,
    ...(meshes && { mesh: meshes[1] }),
  });
  const caller = await node1.attach(monitor, { calls: [callableUdp('dns')] });
  const server = way === 'local' ? node1 : node2;
  const called = await server.attach(dns, { udpListens: { [udpPort]: hostPort } });
  link(node1, node2, way === 'link' ? { addresses: [] } : {});
  node1.network.setEndpoints([udpEndpoint(server, dns)]);
  return { node1, node2, server, caller, called, address: caller.address('dns') };
}

for (const way of ['connection', 'link', 'local'] as const) {
  test(`${way}: datagrams of every size arrive as they were sent, and answers come from the address that was called`, async (t) => {
    const echo = await serveUdp(t);
    const { address, caller, node1 } = await twoNodes(t, echo.port, way);
    t.deepEqual(caller.env['DNS_PORT'], `${udpPort}`);
    t.is(caller.env['DNS_URL'], undefined, 'UDP has no URL');
    const client = await udpCaller(t, address);
    for (const bytes of [1, 0, 62, 63, 512, 1_232, 16_381, 16_384, 65_507]) {
      const payload = randomBytes(bytes);
      t.deepEqual(await client.ask(payload), payload, `${bytes} bytes`);
    }
    t.true(client.answers.every(({ from }) => from === `${address}:${udpPort}`));
    t.is(echo.sources.size, 1, 'one flow');
    t.like(node1.outcomes, [{ outcome: 'connected', endpoint: instanceOf(dns), attempts: 1 }]);
    t.is(node1.outcomes.length, 1);
  });

  test(`${way}: of two clients each gets its own answers`, async (t) => {
    const server = await serveUdp(t, (payload, { port }) => Buffer.from(`${payload} from ${port}`));
    const { address } = await twoNodes(t, server.port, way);
    const clients = await Promise.all([udpCaller(t, address), udpCaller(t, address)]);
    await Promise.all(
      clients.map(async (client, index) => {
        for (let count = 0; count < 50; count += 1) {
          const answer = String(await client.ask(`${index}/${count}`));
          t.regex(answer, new RegExp(`^${index}/`));
        }
      }),
    );
    t.is(server.sources.size, 2, 'a socket for each');
    for (const [index, { answers }] of clients.entries()) {
      t.true(answers.every(({ payload }) => String(payload).startsWith(`${index}/`)));
      t.is(new Set(answers.map(({ payload }) => String(payload).split(' from ')[1])).size, 1);
    }
  });

  test(`${way}: a flow ends with its called instance, and the next datagram finds another one`, async (t) => {
    const first = await serveUdp(t, () => Buffer.from('first'));
    const second = await serveUdp(t, () => Buffer.from('second'));
    const { node1, server, called, address } = await twoNodes(t, first.port, way);
    const client = await udpCaller(t, address);
    t.is(String(await client.ask('who')), 'first');
    await server.attach(dns, { index: 1, udpListens: { [udpPort]: second.port } });
    node1.network.setEndpoints([udpEndpoint(server, dns, 1)]);
    t.is(String(await client.ask('who')), 'first', 'an open flow stays where it is');
    await server.network.detach(called.instance);
    await eventually(async () => String(await client.ask('who')) === 'second');
    t.pass();
  });
}

test('the same port number is TCP and UDP at once', async (t) => {
  const udp = await serveUdp(t, () => Buffer.from('by UDP'));
  const tcp = await serve(t, answering('by TCP'));
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const node2 = await startNode(t, fabric, fabric.node('two', [dns]));
  const caller = await node1.attach(monitor, { calls: [callable('dns', udpPort), callableUdp('dns')] });
  await node2.attach(dns, { listens: { [udpPort]: tcp }, udpListens: { [udpPort]: udp.port } });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(dns, { port: udpPort }), udpEndpoint(node2, dns)]);
  const address = caller.address('dns');
  t.is(String(await (await udpCaller(t, address)).ask('?')), 'by UDP');
  t.is(await ask(t, address, '?', udpPort), 'by TCP');
  t.is(caller.env['DNS_URL'], `http://${address}:${udpPort}`);
});

test('an endpoint of TCP answers no datagrams', async (t) => {
  const udp = await serveUdp(t);
  const { node1, node2, address } = await twoNodes(t, udp.port);
  node1.network.setEndpoints([node2.endpoint(dns, { port: udpPort })]);
  const client = await udpCaller(t, address);
  t.is(await client.hear('?'), undefined);
  await eventually(() => node1.outcomes.some(({ outcome }) => outcome === 'failed'));
  t.is(udp.received, 0);
});

test('flows go round the instances, and a dead one is passed over', async (t) => {
  const alive = await serveUdp(t, () => Buffer.from('alive'));
  const dead = await serveUdp(t);
  dead.close();
  const { node1, node2, address } = await twoNodes(t, alive.port);
  await node2.attach(dns, { index: 1, udpListens: { [udpPort]: dead.port } });
  node1.network.setEndpoints([udpEndpoint(node2, dns), udpEndpoint(node2, dns, 1)]);
  for (let count = 0; count < 6; count += 1) {
    const client = await udpCaller(t, address);
    t.is(String(await client.ask('?')), 'alive');
  }
  const reached = new Set(node1.outcomes.map(({ endpoint }) => endpoint));
  t.true(reached.has(instanceOf(dns, 0)) && reached.has(instanceOf(dns, 1)), 'both were chosen');
});

test('datagrams of somebody else than the instance do not reach the caller', async (t) => {
  const stranger = await serveUdp(t);
  let strayed = 0;
  const echo = await serveUdp(t, (payload, { port }) => {
    strayed = port;
    return payload;
  });
  const { address } = await twoNodes(t, echo.port);
  const client = await udpCaller(t, address);
  await client.ask('first');
  const before = client.answers.length;
  const other = await udpCaller(t, '127.0.0.1', strayed);
  for (let count = 0; count < 20; count += 1) await other.send('not from the instance');
  await client.ask('last');
  t.true(client.answers.slice(before).every(({ payload }) => String(payload) === 'last'));
  t.is(stranger.received, 0);
});

test('who may not call is denied on both sides, once a minute, and no datagram arrives', async (t) => {
  const echo = await serveUdp(t);
  const policy = { here: true };
  const node1 = await startNode(t, fabric, fabric.node('one', [spy]), { authorize: () => policy.here });
  const node2 = await startNode(t, fabric, fabric.node('two', [dns]));
  const caller = await node1.attach(spy, { calls: [callableUdp('dns', 'cold-chain')] });
  await node2.attach(dns, { udpListens: { [udpPort]: echo.port } });
  link(node1, node2);
  node1.network.setEndpoints([udpEndpoint(node2, dns)]);
  const client = await udpCaller(t, caller.address('dns.cold-chain'));
  t.is(await client.hear('denied there'), undefined);
  await eventually(() => node2.denied.length === 1);
  t.like(node2.denied[0], { kind: 'call-denied', caller: spy, called: dns, port: udpPort, protocol: 'udp' });
  policy.here = false;
  const another = await udpCaller(t, caller.address('dns.cold-chain'));
  for (let count = 0; count < 20; count += 1) await another.send('denied here');
  await eventually(() => node1.denied.length === 1);
  t.like(node1.denied[0], { kind: 'call-denied', caller: spy, called: dns, port: udpPort, protocol: 'udp' });
  t.is(echo.received, 0);
});

for (const side of ['caller', 'called'] as const) {
  test(`a flow ends when policy allows it no longer, as the ${side}’s node hears`, async (t) => {
    const echo = await serveUdp(t);
    const allowed = { now: true };
    const node1 = await startNode(t, fabric, fabric.node('one', [spy]), {
      authorize: () => side === 'called' || allowed.now,
    });
    const node2 = await startNode(t, fabric, fabric.node('two', [dns]), {
      authorize: () => side === 'caller' || allowed.now,
    });
    const caller = await node1.attach(spy, { calls: [callableUdp('dns', 'cold-chain')] });
    await node2.attach(dns, { udpListens: { [udpPort]: echo.port } });
    link(node1, node2);
    node1.network.setEndpoints([udpEndpoint(node2, dns)]);
    const client = await udpCaller(t, caller.address('dns.cold-chain'));
    t.is(String(await client.ask('open')), 'open');
    allowed.now = false;
    const judge = side === 'caller' ? node1 : node2;
    judge.network.recheck();
    t.like(judge.denied, [{ kind: 'call-denied', caller: spy, called: dns, protocol: 'udp' }]);
    t.regex(judge.denied[0]?.reason ?? '', /any more: 1 open one was closed$/);
    const before = echo.received;
    t.is(await client.hear('closed'), undefined);
    t.is(echo.received, before);
    allowed.now = true;
    t.is(String(await client.ask('open again')), 'open again');
  });
}

test('a revoked node’s flows end', async (t) => {
  const echo = await serveUdp(t);
  const revoked = { yet: false };
  const { address } = await twoNodes(t, echo.port, 'connection', {
    isPeerRevoked: () => revoked.yet,
    isPeerAdmitted: () => !revoked.yet,
  });
  const client = await udpCaller(t, address);
  t.is(String(await client.ask('open')), 'open');
  revoked.yet = true;
  await eventually(async () => (await client.hear('closed')) === undefined);
  const before = echo.received;
  t.is(await client.hear('closed'), undefined);
  t.is(echo.received, before);
});

/** UDP sockets of this box that are connected to the port. */
function socketsTo(port: number): number {
  const wanted = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = readFileSync('/proc/net/udp', 'utf8').split('\n');
  return lines.filter((line) => line.trim().split(/\s+/)[2] === wanted).length;
}

test('a flow that is silent for two minutes ends at both nodes; one that speaks lives on', async (t) => {
  const clock = createSimClock(createSystemClock().now());
  const echo = await serveUdp(t);
  const { address } = await twoNodes(t, echo.port, 'connection', { clock });
  const silent = await udpCaller(t, address);
  const speaking = await udpCaller(t, address);
  await Promise.all([silent.ask('hello'), speaking.ask('hello')]);
  await eventually(() => socketsTo(echo.port) === 2);
  for (let second = 0; second < datagramSilentSweepsMax; second += 1) {
    await clock.advance(tunnelSweepMs);
    if (second % 30 === 0) await speaking.ask('still here');
  }
  t.is(socketsTo(echo.port), 2, 'not before');
  await speaking.ask('still here');
  await clock.advance(2 * tunnelSweepMs);
  await eventually(() => socketsTo(echo.port) === 1);
  await speaking.ask('still here');
  t.is(echo.sources.size, 2);
  t.is(String(await silent.ask('here again')), 'here again');
  t.is(echo.sources.size, 3, 'with a flow of its own');
});

test('a flood of flows is bounded, and the newest ones are answered', async (t) => {
  const echo = await serveUdp(t);
  const { address, node1 } = await twoNodes(t, echo.port);
  const over = 100;
  for (let count = 0; count < datagramFlowsPerInstanceMax + over; count += 1) {
    const client = await udpCaller(t, address);
    t.is(String(await client.ask(`${count}`)), `${count}`);
  }
  t.true(node1.outcomes.length >= datagramFlowsPerInstanceMax + over);
  await eventually(() => socketsTo(echo.port) <= datagramFlowsPerInstanceMax);
  t.true(socketsTo(echo.port) > datagramFlowsPerInstanceMax / 2, 'those that are left are kept');
});

/** Carries bytes to the address until it is told to stop, and then none until it is told to go on. */
async function gate(t: ExecutionContext, to: string) {
  const pairs: [Socket, Socket][] = [];
  const server = createServer((near) => {
    const far = connect(Number(to.split(':')[1]), '127.0.0.1');
    for (const socket of [near, far]) {
      socket.on('error', () => undefined);
      t.teardown(() => socket.destroy());
    }
    near.pipe(far);
    far.pipe(near);
    pairs.push([near, far]);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop() {
      for (const [near, far] of pairs) near.unpipe(far).pause();
    },
    go() {
      for (const [near, far] of pairs) near.pipe(far);
    },
  };
}

test('what a slow way does not take is dropped, counted and told; what it took arrives, and then all does again', async (t) => {
  let received = 0;
  const server = await serveUdp(t, (payload) => {
    received += payload.length;
    return payload.length < 100 ? payload : undefined;
  });
  const dropped: DroppedDatagrams[] = [];
  const { node1, node2, address, caller } = await twoNodes(t, server.port, 'connection', {
    onDropped: (drops) => dropped.push(drops),
  });
  const way = await gate(t, node2.network.offer()?.addresses[0] ?? '');
  link(node1, node2, { addresses: [way.address] });
  const client = await udpCaller(t, address);
  t.is(String(await client.ask('before')), 'before');
  way.stop();
  const block = randomBytes(60_000);
  let sent = 0;
  await eventually(
    async () => {
      await client.send(block);
      sent += block.length;
      return dropped.length > 0;
    },
    { everyMs: 1 },
  );
  t.like(dropped[0], { from: caller.instance, to: `dns.cold-chain.default:${udpPort}/udp` });
  t.true((dropped[0]?.dropped ?? 0) > 0);
  way.go();
  await eventually(() => received > 0);
  t.is(String(await client.ask('after')), 'after');
  t.true(received < sent);
  // Beyond the stream's window only so much was kept, whatever the kernel has of what was sent by then.
  t.true(received <= tunnelStreamWindowBytes + 2 * datagramUnsentBytesMax + 2 * block.length, `${received} of ${sent}`);
});

test('an instance that calls a service no longer has no flow there', async (t) => {
  const echo = await serveUdp(t);
  const { node1, address } = await twoNodes(t, echo.port);
  const client = await udpCaller(t, address);
  await client.ask('open');
  t.is(socketsTo(echo.port), 1);
  await node1.attach(monitor, { calls: [] });
  await eventually(() => socketsTo(echo.port) === 0);
  t.pass();
});

test('a stop of either node leaves no socket behind', async (t) => {
  for (const which of ['node1', 'node2'] as const) {
    const echo = await serveUdp(t);
    const world: { node1: NetworkNode; node2: NetworkNode; address: string } = await twoNodes(t, echo.port);
    await (await udpCaller(t, world.address)).ask('open');
    t.is(socketsTo(echo.port), 1);
    await world[which].network.stop();
    await eventually(() => socketsTo(echo.port) === 0);
  }
  t.pass();
});
