// What 10,000 services on 200 nodes cost each node to hear of, and how long it takes until callers have heard of a change. In simulation: the product's
// routing and announcing on 12 routers and 188 edge nodes with two uplinks each, links of 1 to 10 ms and 100 Mbit/s, real signatures and tickets; each
// edge node calls ten services. Beside it the same with 1,000 services.

import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { settle } from '../simulations/router-graph.ts';
import { type ServiceWorld, serviceWorld } from '../simulations/service-world.ts';
import { atMost, median, unbudgeted } from './figures.ts';
import type { Bench, BenchRun } from './run.ts';

const nodes = { routers: 12, edges: 188, callsPerEdge: 10 };
const roundsUsual = 20;
/** Callers of what is unready or has moved make no new connections after this. */
const heardBudgetMs = 1_000;

interface Measured {
  startMs: number;
  edgeKilobytes: number;
  routerKilobytes: number;
  unreadyMs: number;
  movedMs: number;
  /** Of one change, for all nodes together. */
  changeKilobytes: number;
}

/** Of the nodes that call it, those that have heard where it is now and how ready. */
function haveHeard(world: ServiceWorld, service: string): boolean {
  const { routers } = world.nodes;
  const { node, ready } = world.placeOf(service);
  return world.edges.every((edge) => {
    if (edge === node || !world.calledBy(edge).includes(service)) return true;
    const heard = routers[edge]?.endpoints().find(({ microservice }) => microservice === service);
    return heard?.peerId === routers[node]?.peerId && heard?.ready === ready;
  });
}

async function measure(run: BenchRun, services: number): Promise<Measured> {
  const clock = createSimClock();
  const world = serviceWorld({ clock, random: createSimRandom(`announcing ${services}`), services, ...nodes });
  const { routers } = world.nodes;
  const start = await settle(clock, world.nodes);
  run.signal.throwIfAborted();
  run.say(`${services} services on ${routers.length} nodes are known`);
  const kilobytes = (mode: string): number => {
    const received = routers.flatMap((router) => (router.mode === mode ? [router.receivedBytes] : []));
    return received.reduce((sum, bytes) => sum + bytes, 0) / received.length / 1e3;
  };
  const [edgeKilobytes, routerKilobytes] = [kilobytes('edge'), kilobytes('interior')];
  async function heardAfter(change: (service: string) => void): Promise<number> {
    const service = world.someService();
    const beganAtMs = clock.now();
    change(service);
    while (!haveHeard(world, service)) await clock.advance(1);
    const tookMs = clock.now() - beganAtMs;
    run.signal.throwIfAborted();
    await settle(clock, world.nodes);
    return tookMs;
  }
  const [unready, moved, bytes]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < (run.rounds ?? roundsUsual); round++) {
    const before = routers.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
    unready.push(await heardAfter((service) => world.setReady(service, !world.placeOf(service).ready)));
    bytes.push(routers.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0) - before);
    moved.push(await heardAfter((service) => world.move(service)));
  }
  return {
    ...{ startMs: start.tookMs, edgeKilobytes, routerKilobytes },
    ...{ unreadyMs: median(unready), movedMs: median(moved), changeKilobytes: median(bytes) / 1e3 },
  };
}

export const announcing: Bench = async (run) => {
  const few = await measure(run, 1_000);
  const many = await measure(run, 10_000);
  const both = (name: string, unit: string, of: (measured: Measured) => number) => ({
    ...{ name: `announcing.${name}`, value: of(many), unit },
    against: { name: `1,000 services, ${unit}`, value: of(few) },
  });
  return {
    bench: 'announcing',
    figures: [
      unbudgeted(both('start.time', 'ms', ({ startMs }) => startMs)),
      unbudgeted(both('start.edge', 'kB', ({ edgeKilobytes }) => edgeKilobytes)),
      unbudgeted(both('start.router', 'kB', ({ routerKilobytes }) => routerKilobytes)),
      atMost(
        heardBudgetMs,
        both('unready.time', 'ms', ({ unreadyMs }) => unreadyMs),
      ),
      unbudgeted(both('unready.bytes', 'kB', ({ changeKilobytes }) => changeKilobytes)),
      atMost(
        heardBudgetMs,
        both('moved.time', 'ms', ({ movedMs }) => movedMs),
      ),
    ],
  };
};
