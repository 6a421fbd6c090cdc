// When the tunnel goes over a stream of the link, and when it no longer does. Real links, sockets and certificates; what it carries then is in
// tunnel-carries.test.ts.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { raceAddresses } from '../../mesh/address-race.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import {
  ask,
  brokenWith,
  callable,
  closedPort,
  dial,
  link,
  linkedMeshes,
  nameOf,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();
const echo = (socket: Socket) => void socket.pipe(socket);

/** `monitor` on node 1 may call `sensor` on node 2; the clock of node 1 can be put forward. */
async function twoNodes(t: ExecutionContext) {
  const clock = createSystemClock();
  const ahead = { ms: 0 };
  const meshes = await linkedMeshes(t);
  const handshakes: string[] = [];
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]), {
    mesh: meshes[0],
    clock: { ...clock, now: () => clock.now() + ahead.ms, elapsed: () => clock.elapsed() + ahead.ms },
    verifyChain: (chain) => {
      const identity = fabric.verifyChain(chain);
      if (identity.node === 'two') handshakes.push(identity.kind);
      return identity;
    },
  });
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]), { mesh: meshes[1] });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  await node2.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  return { node1, node2, address: caller.address('sensor'), meshes, ahead, handshakes };
}

test('where no address of the tunnel is reached, the link carries it', async (t) => {
  const { node1, node2, address } = await twoNodes(t);
  const silent = await serve(t, () => undefined);
  link(node1, node2, { addresses: [`127.0.0.1:${await closedPort()}`, `127.0.0.1:${silent}`] });
  t.is(await ask(t, address, 'anybody there?'), 'anybody there?');
});

test('a session on the link gives way to a connection of its own as soon as there is one, and its calls live on', async (t) => {
  const { node1, node2, address, ahead, handshakes } = await twoNodes(t);
  link(node1, node2, { addresses: [`127.0.0.1:${await closedPort()}`] });
  const early = await dial(t, address);
  early.write('early');
  t.is(String(await once(early, 'data')), 'early');

  const { addresses } = node2.network.offer() ?? { addresses: [] };
  const [host = '', port = ''] = (addresses[0] ?? '').split(':');
  let direct = 0;
  const cable = await serve(t, (socket) => {
    direct += 1;
    const onward = connect(Number(port), host);
    onward.on('error', () => undefined);
    socket.pipe(onward).pipe(socket);
    t.teardown(() => onward.destroy());
  });
  link(node1, node2, { addresses: [`127.0.0.1:${cable}`] });
  await eventually(
    () => {
      // It looks again a minute later, and the minute after that.
      ahead.ms += 30_000;
      return direct > 0 && handshakes.length === 2;
    },
    { everyMs: 500 },
  );
  t.is(await ask(t, address, 'late'), 'late');
  t.deepEqual([direct, handshakes.length], [1, 2], 'on the session that was made meanwhile');
  early.write('still here');
  t.is(String(await once(early, 'data')), 'still here');
});

test('when a link that went through others is direct, new calls have a session on that, and open calls stay where they are', async (t) => {
  const { node1, node2, address, meshes, handshakes } = await twoNodes(t);
  let through: string | undefined = 'a router';
  const { connection } = meshes[0];
  meshes[0].connection = (peerId) => {
    const facts = connection(peerId);
    return facts && { ...facts, through };
  };
  link(node1, node2, { addresses: [] });
  const early = await dial(t, address);
  early.write('early');
  t.is(String(await once(early, 'data')), 'early');
  t.is(await ask(t, address, 'the same'), 'the same');
  t.is(handshakes.length, 1);
  through = undefined;
  await eventually(async () => (await ask(t, address, 'late')) === 'late' && handshakes.length === 2, { everyMs: 200 });
  early.write('still here');
  t.is(String(await once(early, 'data')), 'still here');
  t.is(await ask(t, address, 'again'), 'again');
  t.is(handshakes.length, 2, 'the direct link is as good as it gets');
});

test('a call on the link ends with it, and the next one says why it cannot be', async (t) => {
  const { node1, node2, address, meshes } = await twoNodes(t);
  link(node1, node2, { addresses: [] });
  const socket = await dial(t, address);
  socket.write('hello');
  await once(socket, 'data');
  const broken = brokenWith(socket);
  await meshes[0].disconnect();
  t.is(await broken, 'ECONNRESET');
  t.is(await brokenWith(connect(8080, address)), 'ECONNRESET');
  t.regex(node1.outcomes.at(-1)?.reason ?? '', /no tunnel to sensor/);
});

test('the last resort has its turn when all addresses have failed or are silent for its time, and not before', async (t) => {
  const clock = createSimClock();
  const tried: string[] = [];
  const never = (place: string) => {
    tried.push(place);
    return new Promise<string>(() => undefined);
  };
  const fails = async (place: string): Promise<string> => {
    tried.push(place);
    throw new Error(place);
  };
  const last = { attempt: async () => 'link', afterMs: 1_500 };
  const { signal } = new AbortController();
  t.is(await raceAddresses(clock, ['a', 'b'], fails, signal, last), 'link');
  t.deepEqual(tried, ['a', 'b']);
  t.is(await raceAddresses(clock, [], fails, signal, last), 'link');
  const silent = raceAddresses(clock, ['a', 'b'], never, signal, last);
  await clock.advance(1_499);
  const early = await Promise.race([silent, Promise.resolve('nobody yet')]);
  t.is(early, 'nobody yet');
  await clock.advance(1);
  t.is(await silent, 'link');
  const failing = { attempt: () => fails('link'), afterMs: 1_500 };
  await t.throwsAsync(raceAddresses(clock, ['a'], fails, signal, failing), { message: 'link' });
});
