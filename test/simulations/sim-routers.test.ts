// Interior routers and the edge nodes attached to them, 128 in `npm test` and 500 in `npm run soak` (bench `routing` runs 500 too): after each
// change everybody has the routes that Floyd and Warshall find in the world as it is, and what that took is bounded.

import test, { type ExecutionContext } from 'ava';
import { routeHopsMax } from '../../mesh/limits.ts';
import type { RouterMode } from '../../mesh/own-links.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createSimRouters, type SimRouters } from '../../simulations/sim-routers.ts';
import { isSoak } from '../slice.ts';
import { settle, sparseGraph } from './router-graph.ts';

const routersCount = isSoak ? 500 : 128;
const edgesCount = 40;
const linksPerRouter = 4;

/** Costs of the cheapest ways between all interior routers that run, edge nodes left out: independent of what is tested. */
function cheapest(world: SimRouters): { index: number[]; costs: Float64Array } {
  const index = [...world.routers.keys()].filter(
    (at) => world.routers[at]?.running && world.routers[at]?.mode === 'interior',
  );
  const position = new Map(index.map((router, at) => [router, at]));
  const size = index.length;
  const costs = new Float64Array(size * size).fill(Number.POSITIVE_INFINITY);
  for (let at = 0; at < size; at++) costs[at * size + at] = 0;
  for (const { one, other, costMicroseconds } of world.links()) {
    const [from, to] = [position.get(one), position.get(other)];
    if (from === undefined || to === undefined) continue;
    costs[from * size + to] = costMicroseconds;
    costs[to * size + from] = costMicroseconds;
  }
  for (let through = 0; through < size; through++) {
    for (let from = 0; from < size; from++) {
      const first = costs[from * size + through] as number;
      if (first === Number.POSITIVE_INFINITY) continue;
      for (let to = 0; to < size; to++) {
        const long = first + (costs[through * size + to] as number);
        if (long < (costs[from * size + to] as number)) costs[from * size + to] = long;
      }
    }
  }
  return { index, costs };
}

/** All routes of all routers, to routers and to edge nodes; returns how many there are. */
function checkRoutes(t: ExecutionContext, world: SimRouters, what: string): number {
  const { index, costs } = cheapest(world);
  const size = index.length;
  const attached = world.routers.flatMap(({ mode, peerId }, edge) =>
    mode === 'interior'
      ? []
      : [{ peerId, uplinks: world.links().filter(({ one, other }) => one === edge || other === edge), edge }],
  );
  const wrong: string[] = [];
  let routes = 0;
  for (const [from, self] of index.entries()) {
    const own = world.routers[self]?.routing.routes();
    for (const [to, destination] of index.entries()) {
      if (from === to) continue;
      const route = own?.to(world.routers[destination]?.peerId ?? '');
      const wanted = costs[from * size + to];
      if (route !== undefined) routes += 1;
      if ((route?.costMicroseconds ?? Number.POSITIVE_INFINITY) !== wanted) wrong.push(`${self} to ${destination}`);
      if ((route?.hops ?? 0) > routeHopsMax) wrong.push(`${self} to ${destination}: ${route?.hops} hops`);
    }
    for (const { peerId, uplinks, edge } of attached) {
      const ways = uplinks.map(({ one, other, costMicroseconds }) => {
        const uplink = index.indexOf(one === edge ? other : one);
        return uplink < 0 ? Number.POSITIVE_INFINITY : (costs[from * size + uplink] as number) + costMicroseconds;
      });
      const found = own?.to(peerId)?.costMicroseconds ?? Number.POSITIVE_INFINITY;
      if (found !== Math.min(Number.POSITIVE_INFINITY, ...ways)) wrong.push(`${self} to edge node ${edge}`);
    }
  }
  t.deepEqual(wrong.slice(0, 5), [], `${what}: ${wrong.length} routes are wrong`);
  return routes;
}

test(`${routersCount} routers find all ways after a start, the loss of a link, of a router, and when it is back`, async (t) => {
  t.timeout(600_000);
  const clock = createSimClock();
  const random = createSimRandom('many routers');
  const modes = Array.from(
    { length: routersCount + edgesCount },
    (_, at): RouterMode => (at < routersCount ? 'interior' : 'edge'),
  );
  const world = createSimRouters({ clock, random: random.fork('world'), modes });
  const graph = sparseGraph(random.fork('graph'), routersCount, edgesCount, linksPerRouter);
  const tell = (what: string, tookMs: number, { messages, bytes, statements }: ReturnType<SimRouters['takeTraffic']>) =>
    t.log(`${what}: ${tookMs} ms, ${messages} messages, ${statements} link states, ${(bytes / 1e6).toFixed(1)} MB`);

  for (const { one, other, costMicroseconds } of graph) world.link(one, other, costMicroseconds);
  const started = await settle(clock, world);
  tell('start', started.tookMs, started.traffic);
  t.is(checkRoutes(t, world, 'after the start'), routersCount * (routersCount - 1));
  t.true(started.tookMs < 10_000);

  const interior = world.links().filter(({ one, other }) => one < routersCount && other < routersCount);
  const lost = interior[100] as (typeof interior)[number];
  world.cut(lost.one, lost.other);
  const cut = await settle(clock, world);
  tell('a lost link, from its notice', cut.spreadMs, cut.traffic);
  checkRoutes(t, world, 'after the loss of a link');
  // Both ends say it once; each link carries it at most once each way.
  t.true(cut.spreadMs < 500, `${cut.spreadMs}`);
  t.true(cut.traffic.statements <= 2 * 2 * interior.length, `${cut.traffic.statements}`);

  world.crash(7);
  const crashed = await settle(clock, world);
  const neighbours = interior.filter(({ one, other }) => one === 7 || other === 7);
  tell(`a lost router with ${neighbours.length} links`, crashed.spreadMs, crashed.traffic);
  checkRoutes(t, world, 'after the loss of a router');
  t.true(crashed.spreadMs < 500, `${crashed.spreadMs}`);
  t.true(crashed.traffic.statements <= 2 * neighbours.length * interior.length);

  world.restart(7);
  for (const { one, other, costMicroseconds } of neighbours) world.link(one, other, costMicroseconds);
  const back = await settle(clock, world);
  tell('the router is back', back.tookMs, back.traffic);
  t.is(checkRoutes(t, world, 'when the router is back'), routersCount * (routersCount - 1));
  t.deepEqual(world.refused, []);
});

test('a link that comes and goes for ten minutes is said ever less often, and the others hear no more than that', async (t) => {
  const clock = createSimClock();
  const random = createSimRandom('flapping');
  const size = 12;
  const world = createSimRouters({
    clock,
    random: random.fork('world'),
    modes: Array.from({ length: size }, () => 'interior'),
  });
  for (const { one, other, costMicroseconds } of sparseGraph(random.fork('graph'), size, 0, 4))
    world.link(one, other, costMicroseconds);
  await settle(clock, world);
  const steady = world.links().length;
  let flaps = 0;
  for (const end = clock.now() + 600_000; clock.now() < end; flaps++) {
    world.link(0, 1, 1_000);
    await clock.advance(500 + 2_000 * random.next());
    world.cut(0, 1);
    await clock.advance(2_000);
  }
  const { statements } = world.takeTraffic();
  // Two ends say each coming and each going; a flood crosses each link at most twice.
  const each = statements / (2 * 2 * steady);
  t.log(`${flaps} flaps, ${statements} link states on ${steady} links`);
  t.true(flaps > 100);
  t.true(each < 40, `${each.toFixed(1)} link states for ${flaps} flaps`);
  await settle(clock, world);
  checkRoutes(t, world, 'after the flapping');
});

test('two halves that were apart and have changed meanwhile agree over their first new link, and nothing is sent twice', async (t) => {
  const clock = createSimClock();
  const random = createSimRandom('halves');
  const size = 40;
  const world = createSimRouters({
    clock,
    random: random.fork('world'),
    modes: Array.from({ length: 2 * size }, () => 'interior'),
  });
  for (const [half, label] of [
    [0, 'first'],
    [1, 'second'],
  ] as const) {
    for (const { one, other, costMicroseconds } of sparseGraph(random.fork(label), size, 0, 3))
      world.link(half * size + one, half * size + other, costMicroseconds);
  }
  world.link(0, size, 5_000);
  await settle(clock, world);
  checkRoutes(t, world, 'at first');
  world.cut(0, size);
  await settle(clock, world);
  // Both halves go on: each loses two links.
  const links = world.links();
  for (const { one, other } of [links[3], links[9], links[70], links[75]].flatMap((link) => link ?? []))
    world.cut(one, other);
  await settle(clock, world);
  checkRoutes(t, world, 'apart');
  world.link(3, size + 3, 5_000);
  const { traffic } = await settle(clock, world);
  checkRoutes(t, world, 'together');
  t.log(`${traffic.statements} link states in ${traffic.messages} messages`);
  // What changed in each half are the states of at most eight routers; and both ends of the new link say it.
  t.true(traffic.statements <= 2 * world.links().length * 12, `${traffic.statements}`);
});
