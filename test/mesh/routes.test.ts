// Routes: least cost and all next hops on random graphs, held against Floyd and Warshall; links that one end alone says; edge nodes as
// leaves; and streams that end although routers disagree.

import test from 'ava';
import { equalNextHopsMax, routeHopsMax } from '../../mesh/limits.ts';
import type { PeerId } from '../../mesh/mesh.ts';
import { createRouteGraph, type RouteGraph } from '../../mesh/route-graph.ts';
import { computeRoutes, nextStep, type Routes, type Step, stepNow } from '../../mesh/routes.ts';
import { createSimRandom, type SimRandom } from '../../simulations/sim-random.ts';

interface Said {
  router: 'interior' | 'edge';
  neighbours: Map<PeerId, number>;
  attached: Map<PeerId, number>;
}
type World = Map<PeerId, Said>;

const ends = (costs: Map<PeerId, number>) =>
  [...costs].map(([peerId, costMicroseconds]) => ({ peerId, costMicroseconds }));

function put(graph: RouteGraph, peerId: PeerId, { router, neighbours, attached }: Said): void {
  graph.put(peerId, { router, neighbours: ends(neighbours), attached: ends(attached) });
}

function graphOf(world: World): RouteGraph {
  const graph = createRouteGraph();
  for (const [peerId, said] of world) put(graph, peerId, said);
  return graph;
}

const whole = (random: SimRandom, below: number): number => Math.floor(random.next() * below);
const nameOf = (index: number): PeerId => `r${String(index).padStart(3, '0')}`;

/** Few different costs, so that many paths are equal; some links that one end alone says; some routers that are edge nodes. */
function randomWorld(random: SimRandom, size: number): World {
  const world: World = new Map();
  for (let index = 0; index < size; index++) {
    const router = random.next() < 0.1 ? 'edge' : 'interior';
    world.set(nameOf(index), { router, neighbours: new Map(), attached: new Map() });
  }
  const links = Math.floor(size * (0.8 + 2 * random.next()));
  for (let link = 0; link < links; link++) {
    const [one, other] = [nameOf(whole(random, size)), nameOf(whole(random, size))];
    const cost = 1 + whole(random, 3);
    world.get(one)?.neighbours.set(other, cost);
    if (random.next() < 0.15) continue;
    world.get(other)?.neighbours.set(one, random.next() < 0.2 ? 1 + whole(random, 3) : cost);
  }
  for (let leaf = 0; leaf < size / 3; leaf++) {
    for (let uplink = 0; uplink < 2; uplink++)
      world.get(nameOf(whole(random, size)))?.attached.set(`leaf${leaf}`, 1 + whole(random, 6));
  }
  // What somebody says of a router that is one.
  world.get(nameOf(whole(random, size)))?.attached.set(nameOf(whole(random, size)), 1);
  return world;
}

/** Cost and hops in one number: hops of the tested graphs are below a thousand. */
const both = (cost: number, hops: number): number => cost * 1_000 + hops;

/** All distances by Floyd and Warshall; nothing passes through an edge node. Independent of what is tested. */
function distances(world: World): { to(from: PeerId, to: PeerId): number; link(from: PeerId, to: PeerId): number } {
  const names = [...world.keys()];
  const size = names.length;
  const at = new Map(names.map((name, index) => [name, index]));
  const links = names.map((from) =>
    names.map((to) => {
      const there = world.get(from)?.neighbours.get(to);
      const back = world.get(to)?.neighbours.get(from);
      if (from === to || there === undefined || back === undefined) return Number.POSITIVE_INFINITY;
      return both(Math.max(there, back), 1);
    }),
  );
  const shortest = links.map((row, index) => row.map((value, column) => (index === column ? 0 : value)));
  for (let through = 0; through < size; through++) {
    if (world.get(names[through] as string)?.router !== 'interior') continue;
    for (let from = 0; from < size; from++) {
      for (let to = 0; to < size; to++) {
        const long = (shortest[from]?.[through] ?? 0) + (shortest[through]?.[to] ?? 0);
        const row = shortest[from] as number[];
        if (long < (row[to] as number)) row[to] = long;
      }
    }
  }
  const look = (table: number[][]) => (from: PeerId, to: PeerId) =>
    table[at.get(from) as number]?.[at.get(to) as number] ?? Number.POSITIVE_INFINITY;
  return { to: look(shortest), link: look(links) };
}

/** What a router must find, by distances alone. */
function expectedRoute(world: World, self: PeerId, destination: PeerId, by: ReturnType<typeof distances>) {
  const distance = (from: PeerId): number => {
    if (world.has(destination) && Number.isFinite(by.to(self, destination))) return by.to(from, destination);
    let best = Number.POSITIVE_INFINITY;
    for (const [router, { attached, router: mode }] of world) {
      const cost = attached.get(destination);
      if (cost === undefined || mode !== 'interior') continue;
      if (Number.isFinite(by.to(self, router))) best = Math.min(best, by.to(from, router) + both(cost, 1));
    }
    return best;
  };
  const total = distance(self);
  if (!Number.isFinite(total) || total % 1_000 > routeHopsMax) return undefined;
  const nextHops = [...world.keys()].filter((neighbour) => {
    const first = by.link(self, neighbour);
    if (!Number.isFinite(first)) return false;
    // A next hop that is an edge node is the destination itself.
    if (world.get(neighbour)?.router === 'edge' && neighbour !== destination) return false;
    return first + distance(neighbour) === total;
  });
  const own = world.get(self);
  const direct = own?.router === 'interior' ? own.attached.get(destination) : undefined;
  const asRouter = world.has(destination) && Number.isFinite(by.to(self, destination));
  if (!asRouter && direct !== undefined && both(direct, 1) === total) nextHops.push(destination);
  return {
    costMicroseconds: Math.floor(total / 1_000),
    hops: total % 1_000,
    nextHops: nextHops.sort().slice(0, equalNextHopsMax),
  };
}

test('on random graphs each route is the one that Floyd and Warshall find, with every equal next hop', (t) => {
  let compared = 0;
  let equal = 0;
  for (let seed = 0; seed < 40; seed++) {
    const random = createSimRandom(`routes-${seed}`);
    const world = randomWorld(random, 5 + whole(random, 35));
    const graph = graphOf(world);
    const by = distances(world);
    const leaves = new Set([...world.values()].flatMap(({ attached }) => [...attached.keys()]));
    for (const self of world.keys()) {
      const routes = computeRoutes(graph, self);
      for (const destination of new Set([...world.keys(), ...leaves])) {
        if (destination === self) continue;
        const route = routes.to(destination);
        const wanted = expectedRoute(world, self, destination, by);
        t.deepEqual(route && { ...route }, wanted, `seed ${seed}: from ${self} to ${destination}`);
        compared += 1;
        if ((route?.nextHops.length ?? 0) > 1) equal += 1;
      }
    }
  }
  t.true(compared > 10_000 && equal > 500, `${compared} routes, ${equal} with alternatives`);
});

test('a graph that was changed step by step is the one that is made at once', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const random = createSimRandom(`steps-${seed}`);
    const size = 20;
    const graph = createRouteGraph();
    const world: World = new Map();
    for (let step = 0; step < 60; step++) {
      const from = randomWorld(random, size);
      const peerId = nameOf(whole(random, size));
      if (random.next() < 0.2) {
        graph.remove(peerId);
        world.delete(peerId);
      } else {
        const said = from.get(peerId) as Said;
        put(graph, peerId, said);
        world.set(peerId, said);
      }
    }
    const fresh = graphOf(world);
    for (const self of world.keys()) {
      const [changed, made] = [computeRoutes(graph, self), computeRoutes(fresh, self)];
      t.deepEqual(new Map([...changed.routers()].sort()), new Map([...made.routers()].sort()), `seed ${seed}`);
      for (let leaf = 0; leaf < size / 3; leaf++) t.deepEqual(changed.to(`leaf${leaf}`), made.to(`leaf${leaf}`));
    }
  }
});

/** Follows next hops, any of the equal ones, from table to table; the routers that were visited. */
function follow(
  tables: Map<PeerId, Routes>,
  random: SimRandom,
  from: PeerId,
  destination: PeerId,
  modes: World,
): { visited: PeerId[]; arrived: boolean } {
  const visited = [from];
  let hopsLeft = Number.MAX_SAFE_INTEGER;
  for (let before: PeerId | undefined; ; ) {
    const self = visited.at(-1) as PeerId;
    const routes = tables.get(self);
    const router = modes.get(self)?.router ?? 'edge';
    if (self === destination) return { visited, arrived: true };
    if (routes === undefined) return { visited, arrived: false };
    const step = nextStep({ self, router, routes }, { destination, from: before, hopsLeft });
    if (step.type !== 'forward') return { visited, arrived: false };
    hopsLeft = step.hopsLeft;
    before = self;
    visited.push(step.nextHops[whole(random, step.nextHops.length)] as PeerId);
  }
}

test('who follows next hops through equal tables arrives by the hops that the route says, and meets nobody twice', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const random = createSimRandom(`follow-${seed}`);
    const world = randomWorld(random, 40);
    const graph = graphOf(world);
    const tables = new Map([...world.keys()].map((self) => [self, computeRoutes(graph, self)]));
    for (const from of world.keys()) {
      for (const destination of [...world.keys(), 'leaf0', 'leaf1', 'leaf2']) {
        const route = tables.get(from)?.to(destination);
        if (route === undefined) continue;
        const { visited, arrived } = follow(tables, random, from, destination, world);
        t.true(arrived, `seed ${seed}: ${visited.join(' ')}`);
        t.is(visited.length - 1, route.hops);
        t.is(new Set(visited).size, visited.length);
      }
    }
  }
});

test('through tables that contradict each other every stream ends within the hop bound', (t) => {
  let bounded = 0;
  for (let seed = 0; seed < 30; seed++) {
    const random = createSimRandom(`contradict-${seed}`);
    // Each router has heard something else.
    const worlds = Array.from({ length: 20 }, () => randomWorld(random, 20));
    const tables = new Map(worlds.map((world, index) => [nameOf(index), computeRoutes(graphOf(world), nameOf(index))]));
    const modes = worlds[0] as World;
    for (const from of tables.keys()) {
      for (const destination of [...tables.keys(), 'leaf0']) {
        const { visited } = follow(tables, random, from, destination, modes);
        t.true(visited.length - 1 <= routeHopsMax, visited.join(' '));
        if (visited.length - 1 === routeHopsMax) bounded += 1;
      }
    }
  }
  t.true(bounded > 0, 'no stream went in a circle: the test shows nothing');
});

test('a link that one end alone says is none, and the dearer end says what it costs', (t) => {
  const graph = createRouteGraph();
  const said = (neighbours: Record<string, number>, attached: Record<string, number> = {}) => ({
    router: 'interior' as const,
    neighbours: ends(new Map(Object.entries(neighbours))),
    attached: ends(new Map(Object.entries(attached))),
  });
  graph.put('A', said({ B: 10 }));
  graph.put('B', said({ A: 10 }));
  // C claims to be next to everybody, for nothing.
  graph.put('C', said({ A: 1, B: 1 }));
  t.is(computeRoutes(graph, 'A').to('C'), undefined);
  t.deepEqual(computeRoutes(graph, 'A').to('B'), { costMicroseconds: 10, hops: 1, nextHops: ['B'] });
  graph.put('B', said({ A: 10, C: 50 }));
  t.deepEqual(computeRoutes(graph, 'A').to('C'), { costMicroseconds: 60, hops: 2, nextHops: ['B'] });
  // That another router is an edge node of theirs draws nothing away from it.
  graph.put('C', said({ B: 1 }, { A: 1, B: 1 }));
  t.deepEqual(computeRoutes(graph, 'B').to('A'), { costMicroseconds: 10, hops: 1, nextHops: ['A'] });
  graph.remove('B');
  t.is(computeRoutes(graph, 'A').to('C'), undefined);
});

test('nothing goes through an edge node, whatever it says', (t) => {
  const graph = createRouteGraph();
  const neighbours = (...peers: string[]) => peers.map((peerId) => ({ peerId, costMicroseconds: 1 }));
  graph.put('A', { router: 'interior', neighbours: neighbours('E'), attached: [] });
  graph.put('B', { router: 'interior', neighbours: neighbours('E'), attached: [] });
  graph.put('E', { router: 'edge', neighbours: neighbours('A', 'B'), attached: neighbours('X') });
  t.deepEqual(computeRoutes(graph, 'A').to('E'), { costMicroseconds: 1, hops: 1, nextHops: ['E'] });
  t.is(computeRoutes(graph, 'A').to('B'), undefined);
  t.is(computeRoutes(graph, 'A').to('X'), undefined);
  const self = { self: 'E', router: 'edge' as const, routes: computeRoutes(graph, 'E') };
  t.like(nextStep(self, { destination: 'B', from: 'A', hopsLeft: 5 }), { type: 'refuse' });
  t.like(nextStep(self, { destination: 'B', from: undefined, hopsLeft: 5 }), { type: 'forward', nextHops: ['B'] });
});

test('a neighbour that is overdue is the last way, and where all are a far end that is linked here is the first', (t) => {
  const forward = (...nextHops: string[]) => ({ type: 'forward' as const, nextHops, hopsLeft: 3 });
  const ways = (step: Step, linked: string[], overdue: string[]) =>
    stepNow(step, {
      destination: 'far',
      isLinked: (peerId) => linked.includes(peerId),
      isOverdue: (peerId) => overdue.includes(peerId),
    });
  t.deepEqual(ways(forward('A', 'B', 'C'), [], []), forward('A', 'B', 'C'));
  t.deepEqual(ways(forward('A', 'B', 'C'), [], ['A', 'B']), forward('C', 'A', 'B'));
  t.deepEqual(ways(forward('A'), [], ['A']), forward('A'), 'still better than none');
  t.deepEqual(ways(forward('A'), ['far'], []), forward('A'));
  t.deepEqual(ways(forward('A', 'B'), ['far'], ['A']), forward('B', 'A'));
  t.deepEqual(ways(forward('A', 'B'), ['far'], ['A', 'B']), forward('far', 'A', 'B'));
  t.deepEqual(ways(forward('far'), ['far'], ['far']), forward('far'));
  const refusal = { type: 'refuse' as const, reason: 'an edge node does not forward' };
  t.is(ways(refusal, ['far'], []), refusal);
});

test('a path longer than the hop bound is no route, and no step begins without a hop left', (t) => {
  const graph = createRouteGraph();
  const last = routeHopsMax + 1;
  for (let index = 0; index <= last; index++) {
    const neighbours = [index - 1, index + 1].filter((each) => each >= 0 && each <= last);
    const said = neighbours.map((each) => ({ peerId: nameOf(each), costMicroseconds: 1 }));
    graph.put(nameOf(index), { router: 'interior', neighbours: said, attached: [] });
  }
  const routes = computeRoutes(graph, nameOf(0));
  t.is(routes.to(nameOf(routeHopsMax))?.hops, routeHopsMax);
  t.is(routes.to(nameOf(last)), undefined);
  const at = { self: nameOf(0), router: 'interior' as const, routes };
  const stream = { destination: nameOf(5), from: undefined };
  t.like(nextStep(at, { ...stream, hopsLeft: Number.MAX_SAFE_INTEGER }), { hopsLeft: routeHopsMax - 1 });
  t.like(nextStep(at, { ...stream, hopsLeft: 1 }), { type: 'forward', hopsLeft: 0 });
  for (const hopsLeft of [0, -1, Number.NaN]) t.like(nextStep(at, { ...stream, hopsLeft }), { type: 'refuse' });
  t.like(nextStep(at, { ...stream, from: nameOf(1), hopsLeft: 9 }), { type: 'refuse' }, 'never back');
  t.deepEqual(nextStep(at, { destination: nameOf(0), from: nameOf(1), hopsLeft: 0 }), { type: 'deliver' });
});
