// How many messages and how much virtual time five hundred interior routers need until all of them have heard of everything, and what one of
// them needs to compute its routes. In simulation: the product's routing on links of 1 to 10 ms and 100 Mbit/s, with real signatures.
// Beside it the same with 128 routers, at which Skupper stops.

import { createRouteGraph, type RouteGraph } from '../../mesh/route-graph.ts';
import { computeRoutes } from '../../mesh/routes.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createSimRouters, type SimRouters, type SimTraffic } from '../../simulations/sim-routers.ts';
import { settle, sparseGraph } from '../simulations/router-graph.ts';
import { atMost, median, unbudgeted } from './figures.ts';
import type { Bench, BenchRun } from './run.ts';

const linksPerRouter = 4;
const roundsUsual = 5;
const computations = 200;
/** Noticing and saying it, together below a second (design, section 12). */
const lossBudgetMs = 1_000;

interface Measured {
  start: { tookMs: number; traffic: SimTraffic };
  links: { spreadMs: number; traffic: SimTraffic }[];
  routers: { spreadMs: number; traffic: SimTraffic }[];
  computeMs: number;
}

/** The graph that one of them computes its routes on. */
function graphOf(world: SimRouters): RouteGraph {
  const graph = createRouteGraph();
  for (const [index, { peerId }] of world.routers.entries()) {
    const neighbours = world.links().flatMap(({ one, other, costMicroseconds }) => {
      if (one !== index && other !== index) return [];
      return [{ peerId: world.routers[one === index ? other : one]?.peerId ?? '', costMicroseconds }];
    });
    graph.put(peerId, { router: 'interior', neighbours, attached: [] });
  }
  return graph;
}

async function measure(run: BenchRun, size: number): Promise<Measured> {
  const clock = createSimClock();
  const random = createSimRandom(`routing ${size}`);
  const modes = Array.from({ length: size }, () => 'interior' as const);
  const world = createSimRouters({ clock, random: random.fork('world'), modes });
  for (const { one, other, costMicroseconds } of sparseGraph(random.fork('graph'), size, 0, linksPerRouter))
    world.link(one, other, costMicroseconds);
  const settled = async () => {
    const outcome = await settle(clock, world);
    run.signal.throwIfAborted();
    return outcome;
  };
  const start = await settled();
  run.say(`${size} routers on ${world.links().length} links have started`);
  const graph = graphOf(world);
  const times: number[] = [];
  for (let at = 0; at < computations; at++) {
    const began = performance.now();
    computeRoutes(graph, world.routers[at % size]?.peerId ?? '');
    times.push(performance.now() - began);
  }
  const [links, routers]: [Measured['links'], Measured['routers']] = [[], []];
  for (let round = 0; round < (run.rounds ?? roundsUsual); round++) {
    const lost = world.links()[Math.floor(random.next() * world.links().length)];
    if (lost !== undefined) world.cut(lost.one, lost.other);
    links.push(await settled());
    world.crash(Math.floor((size * (round + random.next())) / (run.rounds ?? roundsUsual)));
    routers.push(await settled());
  }
  return { start, links, routers, computeMs: median(times) };
}

export const routing: Bench = async (run) => {
  const few = await measure(run, 128);
  const many = await measure(run, 500);
  const both = (name: string, unit: string, of: (measured: Measured) => number) => ({
    name: `routing.${name}`,
    value: of(many),
    unit,
    against: { name: `128 routers, ${unit}`, value: of(few) },
  });
  const megabytes = ({ bytes }: SimTraffic): number => bytes / 1e6;
  return {
    bench: 'routing',
    figures: [
      unbudgeted(both('start.time', 'ms', ({ start }) => start.tookMs)),
      unbudgeted(both('start.messages', 'messages', ({ start }) => start.traffic.messages)),
      unbudgeted(both('start.bytes', 'MB', ({ start }) => megabytes(start.traffic))),
      atMost(
        lossBudgetMs,
        both('link.time', 'ms', ({ links }) => median(links.map(({ spreadMs }) => spreadMs))),
      ),
      unbudgeted(
        both('link.messages', 'messages', ({ links }) => median(links.map(({ traffic }) => traffic.messages))),
      ),
      unbudgeted(both('link.bytes', 'MB', ({ links }) => median(links.map(({ traffic }) => megabytes(traffic))))),
      atMost(
        lossBudgetMs,
        both('router.time', 'ms', ({ routers }) => median(routers.map(({ spreadMs }) => spreadMs))),
      ),
      unbudgeted(
        both('router.messages', 'messages', ({ routers }) => median(routers.map(({ traffic }) => traffic.messages))),
      ),
      unbudgeted(both('compute', 'ms', ({ computeMs }) => computeMs)),
    ],
  };
};
