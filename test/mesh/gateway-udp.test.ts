// UDP through gateways on real sockets: whose datagrams are carried, to which instance, what ends a flow, and what hostile clients do to honest
// ones.

import { createSocket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import { type GatewaySocket, openGatewaySockets } from '../../mesh/gateway-udp-sockets.ts';
import {
  gatewayBegunSweepsMax,
  gatewayFlowsMax,
  gatewayFlowsOfOriginMax,
  gatewayNewFlowsOfOriginMax,
  gatewayProvenSweepsMax,
  gatewaySweepMs,
  interfacePollMs,
} from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { freePort } from '../e2e/free-port.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import { callableUdp, serveUdp, udpCaller, udpEndpoint, udpPort } from './datagram-fixture.ts';
import { everybody, publish, service } from './gateway-fixture.ts';
import { link, nameOf, startNode } from './tunnel-fixture.ts';

const deadline = { deadlineMs: 60_000 };
const udpService = (port: number) => ({ ...service(port), protocol: 'udp' as const });
const published = (
  t: ExecutionContext,
  port: number,
  more: Partial<Parameters<typeof publish>[1]> = {},
  clock = createSystemClock(),
) => publish(t, { protocol: 'udp', routes: [{ to: udpService(port) }], ...more }, clock);

test('each client has a flow of its own, and nobody but who asked is answered', async (t) => {
  const echo = await serveUdp(t, (payload, { port }) => Buffer.from(`${payload} by ${port}`));
  const gateway = await published(t, echo.port);
  const [one, two] = [await udpCaller(t, '127.0.0.1', gateway.port), await udpCaller(t, '127.0.0.1', gateway.port)];
  const [first, second] = [String(await one.ask('one')), String(await two.ask('two'))];
  t.regex(first, /^one by /);
  t.regex(second, /^two by /);
  t.not(first.split(' by ')[1], second.split(' by ')[1]);
  t.is(String(await one.ask('one')), first, 'one flow goes on');
  t.is(gateway.connections, 2);
  t.true([...one.answers, ...two.answers].every(({ from }) => from === `127.0.0.1:${gateway.port}`));
  t.deepEqual(new Set(two.answers.map(({ payload }) => String(payload))), new Set([second]));
  t.is(echo.sources.size, 2);
});

test('without a grant nothing is carried and nothing said; with one it is; without it again the flow ends', async (t) => {
  const echo = await serveUdp(t);
  const routes = [{ to: udpService(echo.port) }];
  const gateway = await published(t, echo.port, { grants: [] });
  const client = await udpCaller(t, '127.0.0.1', gateway.port);
  t.is(await client.hear('hello'), undefined);
  t.deepEqual([echo.received, gateway.connections], [0, 0]);
  t.regex(gateway.refusals.join(), /no grant lets in/);
  gateway.update({ tls: undefined, routes, grants: everybody });
  t.is(String(await client.ask('hello')), 'hello');
  t.is(gateway.connections, 1);
  gateway.update({ tls: undefined, routes, grants: [{ name: 'other', cidrs: ['192.0.2.0/24'] }] });
  t.is(gateway.connections, 0, 'at once');
  const { received } = echo;
  t.is(await client.hear('again'), undefined);
  t.is(echo.received, received);
  // What no manifest can say lets nobody in either.
  for (const grant of [{ tokenSha256: '0'.repeat(64) }, { certificate: { sha256: '0'.repeat(64) } }]) {
    gateway.update({ tls: undefined, routes, grants: [{ name: 'odd', ...grant }] });
    t.is(await client.hear('odd'), undefined);
  }
  t.is(echo.received, received);
});

test('a grant whose time is over ends its flows at the next look, and silence ends those of who is gone', async (t) => {
  const clock = createSimClock(createSystemClock().now());
  let told: (() => void) | undefined;
  const echo = await serveUdp(t, (payload, { port, address }) => {
    if (String(payload) === 'stream') told = () => void echoSocket.send('more', port, address);
    return payload;
  });
  const echoSocket = createSocket('udp4');
  t.teardown(() => echoSocket.close());
  const until = clock.now() + 5 * 60_000;
  const gateway = await published(t, echo.port, { grants: [{ name: 'short', cidrs: ['127.0.0.1'], until }] }, clock);
  const [once, twice] = [await udpCaller(t, '127.0.0.1', gateway.port), await udpCaller(t, '127.0.0.1', gateway.port)];
  // Once: another one after its answer would prove it.
  await once.send('stream');
  await eventually(() => once.answers.length > 0, deadline);
  await twice.ask('one');
  await twice.ask('two');
  t.is(gateway.connections, 2);
  for (let sweep = 0; sweep < gatewayBegunSweepsMax; sweep += 1) await clock.advance(gatewaySweepMs);
  t.is(gateway.connections, 2, 'not before');
  // What the service sends on and on keeps nothing open.
  told?.();
  await clock.advance(gatewaySweepMs);
  t.is(gateway.connections, 1);
  for (let sweep = gatewayBegunSweepsMax; sweep < gatewayProvenSweepsMax; sweep += 1)
    await clock.advance(gatewaySweepMs);
  t.is(gateway.connections, 0);
  await once.ask('here again');
  t.is(gateway.connections, 1);
  while (clock.now() + 60_000 < until) {
    await clock.advance(20_000);
    await once.ask('still here');
  }
  t.is(gateway.connections, 1);
  await clock.advance(until - clock.now() + gatewaySweepMs);
  t.is(gateway.connections, 0);
  t.is(await once.hear('too late'), undefined);
});

test('one origin has no more than its share, and a flood of new clients ends no flow that is proven', async (t) => {
  const clock = createSimClock(createSystemClock().now());
  const echo = await serveUdp(t, (payload) => (String(payload) === 'flood' ? undefined : payload));
  const gateway = await published(t, echo.port, { grants: [{ name: 'all', cidrs: ['127.0.0.0/8'] }] }, clock);
  const honest = await udpCaller(t, '127.0.0.1', gateway.port);
  await honest.ask('one');
  await honest.ask('two');
  const sources = echo.sources.size;
  const flooders = Array.from({ length: gatewayFlowsOfOriginMax + gatewayNewFlowsOfOriginMax }, () =>
    createSocket('udp4'),
  );
  t.teardown(() => {
    for (const socket of flooders) socket.close();
  });
  const send = (socket: (typeof flooders)[number]): Promise<void> =>
    new Promise((resolve) => socket.send('flood', gateway.port, '127.0.0.1', () => resolve()));
  for (const socket of flooders) socket.bind(0, '127.0.0.66');
  for (const socket of flooders) await send(socket);
  await eventually(() => gateway.refusals.some((reason) => /flows from there begin at once/.test(reason)), deadline);
  t.true(gateway.connections <= 1 + gatewayNewFlowsOfOriginMax);
  for (let round = 0; round < 8; round += 1) {
    await clock.advance(gatewaySweepMs);
    for (const socket of flooders) await send(socket);
    await honest.ask('meanwhile');
    t.true(gateway.connections <= 1 + gatewayFlowsOfOriginMax, `${gateway.connections}`);
  }
  t.is(gateway.connections, 1 + gatewayFlowsOfOriginMax);
  // From everywhere at once, as with addresses that nobody has.
  const many = Array.from({ length: gatewayFlowsMax + 50 }, () => createSocket('udp4'));
  t.teardown(() => {
    for (const socket of many) socket.close();
  });
  for (const [index, socket] of many.entries()) socket.bind(0, `127.1.${index % 250}.${1 + Math.floor(index / 250)}`);
  for (const socket of many) await send(socket);
  await honest.ask('still');
  t.true(gateway.connections <= 1 + gatewayFlowsMax);
  const others = echo.sources.size;
  await honest.ask('the same flow');
  t.deepEqual([sources, echo.sources.size], [1, others], 'the honest one needed no other');
});

test('it listens at each address of the box and answers from the one that was asked; a taken port is said', async (t) => {
  const echo = await serveUdp(t);
  const gateway = await published(t, echo.port, { address: undefined });
  const client = await udpCaller(t, '127.0.0.1', gateway.port);
  await client.ask('hello');
  t.true(client.answers.every(({ from }) => from === `127.0.0.1:${gateway.port}`));
  await t.throwsAsync(published(t, echo.port, { port: gateway.port }), {
    name: 'GatewayPortTakenError',
    message: /port \d+ of 127\.0\.0\.1 is taken on this node/,
  });
  await t.throwsAsync(published(t, echo.port, { address: undefined, port: gateway.port }), {
    name: 'GatewayPortTakenError',
  });
  await t.throwsAsync(published(t, echo.port, { address: '192.0.2.77' }), { name: 'GatewayAddressError' });
  const tcp = await publish(t, { protocol: 'tcp', routes: [], port: gateway.port });
  t.is(tcp.port, gateway.port, 'TCP has ports of its own');
  await gateway.close();
  await gateway.close();
  t.is(gateway.connections, 0);
});

test('over the mesh: flows go round the instances, a dead one is passed over, and what the policy ends is ended', async (t) => {
  const fabric = createTestFabric();
  const [dns, caller] = [nameOf('dns'), nameOf('dns', 'selvedge-gateways')];
  const allowed = { now: true };
  const node1 = await startNode(t, fabric, fabric.node('one', [caller]), { authorize: () => allowed.now });
  const node2 = await startNode(t, fabric, fabric.node('two', [dns]), { authorize: () => true });
  const to = callableUdp('dns');
  const { instance } = await node1.attach(caller, { calls: [to] });
  const servers = await Promise.all(['a', 'b', 'c'].map((name) => serveUdp(t, () => Buffer.from(name))));
  for (const [index, { port }] of servers.entries())
    await node2.attach(dns, { index, udpListens: { [udpPort]: port } });
  servers[2]?.close();
  link(node1, node2);
  node1.network.setEndpoints([0, 1, 2].map((index) => udpEndpoint(node2, dns, index)));
  const gateway = await published(t, 0, {
    routes: [{ to }],
    carryDatagrams: (wanted, events) => node1.network.carryDatagrams(instance, wanted, events),
  });
  const answers: string[] = [];
  for (let count = 0; count < 6; count += 1) {
    const client = await udpCaller(t, '127.0.0.1', gateway.port);
    const answer = String(await client.ask('who'));
    t.is(String(await client.ask('who again')), answer, 'a flow stays with its instance');
    answers.push(answer);
  }
  t.deepEqual([...new Set(answers)].sort(), ['a', 'b']);
  allowed.now = false;
  node1.network.recheck();
  t.is(gateway.connections, 0, 'the policy says no more: at once');
  const silent = await udpCaller(t, '127.0.0.1', gateway.port);
  t.is(await silent.hear('who'), undefined);
  t.is(
    node1.network.carryDatagrams(instance, callableUdp('other'), { onAnswer: () => true, onEnd: () => undefined }),
    undefined,
  );
});

test('who sends from port 0, which raw sockets can, is answered by nobody and harms nobody', async (t) => {
  const sockets: GatewaySocket[] = [];
  const client = await udpCaller(t, '127.0.0.1', 9);
  const port = await freePort();
  const opened = await openGatewaySockets({
    ...{ clock: createSystemClock(), address: '127.0.0.1', port, onGone: () => undefined },
    onDatagram: (socket) => void sockets.push(socket),
  });
  t.teardown(() => opened.close());
  const asker = await udpCaller(t, '127.0.0.1', port);
  await eventually(async () => {
    await asker.send('hello');
    return sockets.length > 0;
  }, deadline);
  t.notThrows(() => sockets[0]?.send(Buffer.from('answer'), { address: '127.0.0.1', port: 0 }));
  t.true(sockets[0]?.send(Buffer.from('answer'), { address: '127.0.0.1', port: client.port }));
  await eventually(() => client.answers.length === 1, deadline);
  t.is(client.answers[0]?.from, `127.0.0.1:${port}`);
});

test('an address that comes later is listened at, and one that goes ends its flows', async (t) => {
  const clock = createSimClock();
  const gone: string[] = [];
  const heard = new Set<string>();
  const box = (...addresses: string[]) => [
    {
      name: 'lo',
      internal: true,
      addresses: addresses.map((address) => ({ address, family: 4 as const, prefix: 8, zone: undefined })),
    },
  ];
  let now = box('127.0.0.1', '192.0.2.77');
  const port = await freePort();
  const opened = await openGatewaySockets({
    ...{ clock, address: undefined, port, read: () => now },
    onGone: ({ address }) => gone.push(address),
    onDatagram(socket, payload, from) {
      heard.add(socket.address);
      socket.send(payload, from);
    },
  });
  t.teardown(() => opened.close());
  const asked = async (address: string): Promise<string> =>
    String(await (await udpCaller(t, address, port)).ask('hello'));
  t.is(await asked('127.0.0.1'), 'hello', 'one that is not there yet harms none that is');
  now = box('127.0.0.9');
  await clock.advance(interfacePollMs);
  t.true(gone.includes('127.0.0.1'));
  t.is(await asked('127.0.0.9'), 'hello');
  t.deepEqual([...heard], ['127.0.0.1', '127.0.0.9']);
});
