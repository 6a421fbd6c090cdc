// Services on simulated edge nodes behind simulated routers, for tests and for the bench `announcing`: where each of them is, who calls it, and what
// of that has just been changed. What nodes have heard is compared with this.

import type { RouterMode } from '../../mesh/own-links.ts';
import type { SimClock } from '../../simulations/sim-clock.ts';
import type { SimRandom } from '../../simulations/sim-random.ts';
import { createSimRouters, type SimRouters } from '../../simulations/sim-routers.ts';
import { sparseGraph } from './router-graph.ts';

const linksPerRouter = 4;

interface Place {
  node: number;
  ready: boolean;
  generation: number;
}

export interface ServiceWorld {
  readonly nodes: SimRouters;
  /** The numbers of the edge nodes. */
  readonly edges: readonly number[];
  placeOf(service: string): Readonly<Place>;
  servicesOf(edge: number): string[];
  calledBy(edge: number): readonly string[];
  setCalls(edge: number, services: readonly string[]): void;
  /** One that somebody calls. */
  someService(): string;
  setReady(service: string, ready: boolean): void;
  /** To another edge node, of which its callers hear by the new ticket; the old place serves it no more. */
  move(service: string): void;
  /** The links of a node that crashed are there again. */
  relink(node: number): void;
}

/** All linked; every service is ready, and each edge node calls some of all of them. */
export function serviceWorld({
  clock,
  random,
  routers,
  edges: count,
  services,
  callsPerEdge,
}: {
  clock: SimClock;
  random: SimRandom;
  routers: number;
  edges: number;
  services: number;
  callsPerEdge: number;
}): ServiceWorld {
  const draw = random.fork('services');
  const whole = (below: number): number => Math.floor(draw.next() * below);
  const modes = Array.from({ length: routers + count }, (_, at): RouterMode => (at < routers ? 'interior' : 'edge'));
  const nodes = createSimRouters({ clock, random: random.fork('world'), modes });
  const edges = Array.from({ length: count }, (_, at) => routers + at);
  const names = Array.from({ length: services }, (_, at) => `service-${at}`);
  const places = new Map(
    names.map((name, at): [string, Place] => [name, { node: routers + (at % count), ready: true, generation: 1 }]),
  );
  const calls = new Map(
    edges.map((edge) => [edge, Array.from({ length: callsPerEdge }, () => names[whole(services)] as string)]),
  );
  const graph = sparseGraph(random.fork('graph'), routers, count, linksPerRouter);

  const placeOf = (service: string): Place => places.get(service) as Place;
  const servicesOf = (edge: number): string[] => names.filter((name) => placeOf(name).node === edge);

  function say(edge: number): void {
    const served = servicesOf(edge).map((microservice) => {
      const { ready, generation } = placeOf(microservice);
      return { microservice, index: 0, ready, generation };
    });
    nodes.serve(edge, served);
  }

  for (const edge of edges) {
    nodes.call(edge, calls.get(edge) ?? []);
    say(edge);
  }
  for (const { one, other, costMicroseconds } of graph) nodes.link(one, other, costMicroseconds);

  return {
    ...{ nodes, edges, placeOf, servicesOf },
    calledBy: (edge) => calls.get(edge) ?? [],
    setCalls(edge, wanted) {
      calls.set(edge, [...wanted]);
      nodes.call(edge, wanted);
    },
    someService: () => {
      const called = calls.get(edges[whole(count)] ?? 0) ?? [];
      return called[whole(called.length)] as string;
    },
    setReady(service, ready) {
      const place = placeOf(service);
      place.ready = ready;
      say(place.node);
    },
    move(service) {
      const place = placeOf(service);
      const from = place.node;
      place.node = routers + ((from - routers + 1 + whole(count - 1)) % count);
      place.generation += 1;
      say(from);
      say(place.node);
    },
    relink(node) {
      for (const { one, other, costMicroseconds } of graph)
        if (one === node || other === node) nodes.link(one, other, costMicroseconds);
    },
  };
}
