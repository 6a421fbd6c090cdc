import test, { type ExecutionContext } from 'ava';
import { costSettleMs } from '../../mesh/limits.ts';
import type { Mesh, MeshEvent } from '../../mesh/mesh.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';
import {
  createSimNetwork,
  type SimFrame,
  type SimNetwork,
  type SimNetworkOptions,
} from '../../simulations/sim-mesh.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { meshConformance } from '../conformance/mesh.ts';

/** Lets virtual time run on its own until the test ends, for bodies that know nothing of it. */
function runClock(t: ExecutionContext, clock: SimClock): void {
  let running = true;
  const ended = (async () => {
    while (running) await clock.advance(5);
  })();
  t.teardown(async () => {
    running = false;
    await ended;
  });
}

meshConformance(test, 'sim-mesh', async (t) => {
  const clock = createSimClock();
  const network = createSimNetwork({ clock, random: createSimRandom(t.title) });
  runClock(t, clock);
  let made = 0;
  return {
    async node() {
      made++;
      const mesh = network.createMesh({ peerId: `12D3KooWSim${made}`, name: `node-${made}` });
      await mesh.start();
      return mesh;
    },
    nowhere: async () => '/ip4/192.0.2.1/tcp/1',
  };
});

interface World {
  clock: SimClock;
  network: SimNetwork;
  meshes: Mesh[];
  events: { atMs: number; node: string; event: MeshEvent }[];
}

/** `count` nodes, started, whose events are recorded. */
async function world(seed: number, count: number, options: Partial<SimNetworkOptions> = {}): Promise<World> {
  const clock = createSimClock(0);
  const network = createSimNetwork({ clock, random: createSimRandom(seed), ...options });
  const events: World['events'] = [];
  const meshes = Array.from({ length: count }, (_, n) => network.createMesh({ peerId: `P${n}`, name: `node-${n}` }));
  for (const mesh of meshes) {
    mesh.subscribe((event) => event.type !== 'cost' && events.push({ atMs: clock.now(), node: mesh.peerId, event }));
    await mesh.start();
  }
  return { clock, network, meshes, events };
}

/** Waits for an operation while time moves. */
async function during<Result>(clock: SimClock, operation: Promise<Result>, limitMs = 10_000): Promise<Result> {
  let settled = false;
  const done = () => {
    settled = true;
  };
  operation.then(done, done);
  await clock.advanceUntil(() => settled, limitMs);
  if (!settled) throw new Error(`nothing came of it within ${limitMs} virtual ms`);
  return operation;
}

async function link(clock: SimClock, from: Mesh, to: Mesh): Promise<void> {
  await during(clock, from.connect({ peerId: to.peerId, addresses: to.addresses() }));
  from.admit(to.peerId);
  to.admit(from.peerId);
}

test('nodes find each other after a while, and again when what they say changes', async (t) => {
  const { clock, meshes, events } = await world(1, 3);
  const [first, second] = meshes as [Mesh, Mesh, Mesh];
  t.deepEqual(events, []);
  await clock.advance(400);
  t.is(events.filter(({ event }) => event.type === 'found').length, 6);
  t.true(events.every(({ atMs }) => atMs >= 20));
  first.advertise('a'.repeat(52));
  await clock.advance(400);
  t.is(events.length, 8);
  t.like(
    second.found().find(({ peerId }) => peerId === first.peerId),
    { fabricId: 'a'.repeat(52), addresses: first.addresses() },
  );
  await first.stop();
  t.false(second.found().some(({ peerId }) => peerId === first.peerId));
});

test('a cut link carries nothing, both ends notice at times of their own, and it can be made again after healing', async (t) => {
  const { clock, network, meshes, events } = await world(2, 2);
  const [left, right] = meshes as [Mesh, Mesh];
  await link(clock, left, right);
  const received: number[] = [];
  right.handle('/selvedge/work/1', 'admitted', async (stream) => {
    for (;;) {
      const frame = await stream.receive();
      if (frame === undefined) return;
      received.push(frame[0] ?? -1);
    }
  });
  const stream = await during(clock, left.open('P1', '/selvedge/work/1'));
  await stream.send(Uint8Array.of(1));
  await clock.advance(20);
  network.cut('P0', 'P1');
  await stream.send(Uint8Array.of(2));
  await clock.advance(100);
  t.deepEqual([received, left.connected()], [[1], ['P1']]);
  await clock.advance(2_000);
  const lost = events.filter(({ event }) => event.type === 'disconnected');
  t.is(lost.length, 2);
  t.not(lost[0]?.atMs, lost[1]?.atMs);
  await t.throwsAsync(stream.receive());
  await t.throwsAsync(during(clock, left.connect({ peerId: 'P1', addresses: right.addresses() })));
  network.heal();
  await link(clock, left, right);
  t.deepEqual([left.connected(), right.connected()], [['P1'], ['P0']]);
});

test('a partition separates the sets and nobody else', async (t) => {
  const { clock, network, meshes } = await world(3, 4);
  const [a, b, c, d] = meshes as [Mesh, Mesh, Mesh, Mesh];
  await link(clock, a, b);
  await link(clock, b, c);
  await link(clock, c, d);
  network.partition(['P0', 'P1'], ['P2', 'P3']);
  await clock.advance(3_000);
  t.deepEqual(
    meshes.map((mesh) => mesh.connected()),
    [['P1'], ['P0'], ['P3'], ['P2']],
  );
});

test('a crashed node says nothing more, the others notice later, and a new one takes its place', async (t) => {
  const { clock, network, meshes, events } = await world(4, 2);
  const [left, right] = meshes as [Mesh, Mesh];
  await link(clock, left, right);
  await clock.advance(400);
  events.length = 0;
  network.crash('P1');
  t.deepEqual(left.connected(), ['P1']);
  await t.throwsAsync(right.connect({ addresses: left.addresses() }));
  await right.start();
  await clock.advance(2_000);
  t.deepEqual(
    events.map(({ node, event }) => [node, event.type]),
    [['P0', 'disconnected']],
  );
  const again = network.createMesh({ peerId: 'P1', name: 'node-1' });
  await again.start();
  t.deepEqual(again.addresses(), right.addresses());
  await link(clock, again, left);
  t.deepEqual(left.connected(), ['P1']);
});

test('a node that was cut off for long is forgotten, and found again after healing', async (t) => {
  const { clock, network, meshes, events } = await world(5, 2);
  const [left] = meshes as [Mesh, Mesh];
  await clock.advance(400);
  network.cut('P0', 'P1');
  await clock.advance(60_000);
  t.is(left.found().length, 1);
  await clock.advance(61_000);
  t.is(left.found().length, 0);
  events.length = 0;
  network.heal();
  await clock.advance(400);
  t.is(events.filter(({ event }) => event.type === 'found').length, 2);
});

test('a seed gives one trace, another seed another', async (t) => {
  async function trace(seed: number): Promise<string> {
    const frames: SimFrame[] = [];
    const { clock, network, meshes, events } = await world(seed, 4, { onFrame: (frame) => frames.push(frame) });
    for (const mesh of meshes) {
      mesh.handle('/selvedge/work/1', 'anyone', async (stream) => {
        for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive())
          await stream.send(frame);
      });
    }
    await clock.advance(100);
    const talks = meshes.map(async (mesh, n) => {
      const other = meshes[(n + 1) % meshes.length] as Mesh;
      await mesh.connect({ peerId: other.peerId, addresses: other.addresses() });
      const stream = await mesh.open(other.peerId, '/selvedge/work/1');
      for (let i = 0; i < 5; i++) await stream.send(Uint8Array.of(n, i));
      await stream.close();
    });
    await during(clock, Promise.all(talks));
    network.cut('P0', 'P1');
    await clock.advance(3_000);
    return JSON.stringify([events, frames]);
  }
  const [first, second, other] = [await trace(7), await trace(7), await trace(8)];
  t.is(first, second);
  t.not(first, other);
  t.true(first.includes('disconnected'));
});

test('a link that becomes slower costs more once it has been so for a while, and both ends say so', async (t) => {
  const { clock, network, meshes } = await world(7, 2, { latencyMs: { min: 5, max: 5 } });
  const [one, other] = meshes as [Mesh, Mesh];
  const costs: string[] = [];
  for (const mesh of meshes)
    mesh.subscribe((event) => event.type === 'cost' && costs.push(`${mesh.peerId} ${event.costMicroseconds}`));
  const connecting = one.connect({ addresses: other.addresses() });
  await clock.advance(100);
  await connecting;
  t.is(one.costMicroseconds(other.peerId), 10_500);
  network.setLatency(one.peerId, other.peerId, 50);
  await clock.advance(costSettleMs - 1);
  t.is(other.costMicroseconds(one.peerId), 10_500);
  await clock.advance(1);
  t.is(other.costMicroseconds(one.peerId), 100_500);
  t.deepEqual(costs.sort(), ['P0 10500', 'P0 100500', 'P1 10500', 'P1 100500'].sort());
  // Not for a moment.
  network.setLatency(one.peerId, other.peerId, 5);
  await clock.advance(costSettleMs / 2);
  network.setLatency(one.peerId, other.peerId, 50);
  await clock.advance(2 * costSettleMs);
  t.is(costs.length, 4);
});
