// Routers and edge nodes alone, hundreds of them: the product's routing and announcing (node-runtime/routing.ts, announcer.ts) on simulated links
// that carry their messages. Called by tests and by the benches `routing` and `announcing`. It has no discovery, no admission and no streams of frames:
// sim-node.ts has those, and no such number of nodes. What a message is in bytes is what it is as JSON.

import type { MeshEvent, PeerId } from '../mesh/mesh.ts';
import type { RouterMode } from '../mesh/own-links.ts';
import type { Endpoint } from '../mesh/service-network.ts';
import { type Announcer, createAnnouncer } from '../node-runtime/announcer.ts';
import type { TrafficMessage } from '../node-runtime/link-session.ts';
import { createRouting, type Routing } from '../node-runtime/routing.ts';
import type { SignPayload } from '../pki/identity.ts';
import type { SimClock } from './sim-clock.ts';
import { createSimLife } from './sim-life.ts';
import type { SimRandom } from './sim-random.ts';
import { createSimRouterFabric, type SimRouterFabric } from './sim-router-fabric.ts';

export interface SimRouter {
  readonly peerId: PeerId;
  readonly mode: RouterMode;
  readonly routing: Routing;
  readonly running: boolean;
  /** As the authority of its node. */
  readonly sign: SignPayload;
  /** What it has heard that is served, and does not serve itself. */
  endpoints(): Endpoint[];
  /** Bytes of all messages that have arrived here. */
  readonly receivedBytes: number;
}

/** An instance of the microservice of that name, in an application of the same name; `ready` may change. */
export interface SimServed {
  microservice: string;
  index: number;
  ready: boolean;
  /** Of its ticket. */
  generation: number;
}

export interface SimTraffic {
  messages: number;
  bytes: number;
  /** Link states and announcements in them. */
  statements: number;
  /** When the last message that carried any arrived. */
  lastAtMs: number;
  /** When the last end of a link noticed that it is lost. */
  noticedAtMs: number;
}

export interface SimRouters {
  readonly routers: readonly SimRouter[];
  readonly fabric: SimRouterFabric;
  /** Of all routers together, since the last call. */
  takeTraffic(): SimTraffic;
  /** Both ends have the link a moment later. */
  link(one: number, other: number, costMicroseconds: number): void;
  /** Nothing passes any more, and both ends notice it after the time that keep-alives take. */
  cut(one: number, other: number): void;
  /** It is gone, without a word. */
  crash(index: number): void;
  /** As one whose disk has kept its boot counter. */
  restart(index: number): void;
  /** What it serves from now on. */
  serve(index: number, served: readonly SimServed[]): void;
  /** The microservices that it calls from now on. */
  call(index: number, microservices: readonly string[]): void;
  /** What anybody might say to a neighbour. */
  send(from: number, to: number, message: TrafficMessage): void;
  /** The whole numbers of both ends and what a link costs. */
  links(): { one: number; other: number; costMicroseconds: number }[];
  /** Why link states and announcements were refused; nothing where everybody is honest. */
  readonly refused: string[];
}

interface Link {
  ends: [number, number];
  costMicroseconds: number;
  latencyMs: number;
  open: boolean;
  /** When the wire of each direction is free again. */
  freeAtMs: [number, number];
}

/** 100 Mbit/s. */
const bytesPerMs = 12_500;
const lossNoticeMs = { min: 600, max: 1_400 };

export function createSimRouters({
  clock,
  random,
  modes,
}: {
  clock: SimClock;
  random: SimRandom;
  /** One router for each. */
  modes: readonly RouterMode[];
}): SimRouters {
  const fabric = createSimRouterFabric(clock, random);
  const links = new Set<Link>();
  const refused: string[] = [];
  const none = (): SimTraffic => ({
    ...{ messages: 0, bytes: 0, statements: 0, lastAtMs: clock.now(), noticedAtMs: clock.now() },
  });
  let traffic = none();

  function createOne(mode: RouterMode, index: number) {
    const { peerId, node, sign } = fabric.member(index);
    let bootCounter = 0;
    let served: readonly SimServed[] = [];
    let called: ReadonlySet<string> = new Set();
    const tickets = new Map<string, string>();

    function announced({ microservice, index: at, ready, generation }: SimServed) {
      const instance = `default.${microservice}.${microservice}.${at}`;
      const key = `${instance} ${generation}`;
      const ticket =
        tickets.get(key) ?? fabric.ticket({ application: microservice, microservice, instance, peerId, generation });
      tickets.set(key, ticket);
      return { instance, ready, ticket };
    }

    const isCalled = ({ application, microservice }: Endpoint): boolean =>
      called.has(`default.${application}.${microservice}`);
    const neighbours = new Map<PeerId, Link>();
    const listeners = new Set<(event: MeshEvent) => void>();

    function live(): { routing: Routing; announcer: Announcer; end(): void } {
      bootCounter += 1;
      neighbours.clear();
      listeners.clear();
      const life = createSimLife(clock);
      const jitter = random.fork(`router-${index}-${bootCounter}`);
      const announcer = createAnnouncer({
        ...{
          fabricId: fabric.fabricId,
          peerId,
          node,
          bootCounter,
          clock: life.clock,
          verifySigned: fabric.verifySigned,
        },
        sign: () => sign,
        served: () => served.map(announced),
        news: (statement, from) => routing.news(statement, from),
        onEndpoints: () => routing.refresh(),
        onRefused: (_, reason) => refused.push(reason),
      });
      const routing = createRouting({
        ...{ fabricId: fabric.fabricId, node, router: mode, bootCounter, clock: life.clock },
        mesh: {
          peerId,
          // None is ever overdue here.
          connection: () => undefined,
          costMicroseconds: (to) => neighbours.get(to)?.costMicroseconds,
          subscribe(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
        },
        jitter: () => jitter.next(),
        sign: () => sign,
        verifySigned: fabric.verifySigned,
        announcements: announcer.table,
        onAnnouncement: (from, jws) => announcer.receive(from, jws),
        shared: fabric.shared,
        called: () => new Set(announcer.endpoints().flatMap((one) => (isCalled(one) ? [one.peerId] : []))),
        servicesWanted: () => called,
        onServicesWanted: (services) => announcer.keepServing(services),
        onRefused: (_, reason) => refused.push(reason),
      });
      routing.start();
      if (served.length > 0) announcer.announce();
      return { routing, announcer, end: () => life.end() };
    }

    let current: ReturnType<typeof live> | undefined = live();
    const last = current.routing;
    return {
      ...{ peerId, mode, sign, neighbours, receivedBytes: 0 },
      endpoints: () => (current?.announcer.endpoints() ?? []).filter((one) => one.peerId !== peerId),
      serve(list: readonly SimServed[]) {
        served = list;
        current?.announcer.announce();
      },
      call(microservices: readonly string[]) {
        called = new Set(microservices.map((name) => `default.${name}.${name}`));
        current?.routing.refresh();
      },
      get running() {
        return current !== undefined;
      },
      get routing() {
        return current?.routing ?? last;
      },
      crash() {
        current?.end();
        current = undefined;
      },
      restart() {
        current ??= live();
      },
    };
  }

  const routers = modes.map(createOne);
  const at = (index: number): (typeof routers)[number] => routers[index] as (typeof routers)[number];

  /** As JSON; a JWS is the same text there. */
  function sizeOf(message: TrafficMessage): number {
    if (message.type !== 'statements') return JSON.stringify(message).length;
    const jws = message.list.reduce((bytes, statement) => bytes + statement.jws.length, 0);
    return jws + JSON.stringify({ ...message, list: message.list.map((each) => ({ ...each, jws: '' })) }).length;
  }

  /** Resolves when the wire has taken it. */
  async function carry(link: Link, direction: 0 | 1, message: TrafficMessage): Promise<void> {
    const bytes = sizeOf(message);
    const from = at(link.ends[direction]);
    const to = at(link.ends[direction === 0 ? 1 : 0]);
    const statements = message.type === 'statements' || message.type === 'referenced' ? message.list.length : 0;
    traffic.messages += 1;
    traffic.bytes += bytes;
    traffic.statements += statements;
    const now = clock.now();
    const begin = Math.max(now, link.freeAtMs[direction]);
    link.freeAtMs[direction] = begin + bytes / bytesPerMs;
    clock.setTimeout(
      () => {
        if (!link.open || !from.running || to.neighbours.get(from.peerId) !== link) return;
        if (statements > 0 || message.type === 'certificates') traffic.lastAtMs = clock.now();
        to.receivedBytes += bytes;
        to.routing.receive(from.peerId, message);
      },
      link.freeAtMs[direction] - now + link.latencyMs,
    );
    if (link.freeAtMs[direction] - now >= 1) await clock.sleep(link.freeAtMs[direction] - now);
  }

  function notice(link: Link, direction: 0 | 1): void {
    const [self, far] = [at(link.ends[direction]), at(link.ends[direction === 0 ? 1 : 0])];
    clock.setTimeout(
      () => {
        if (!self.running || self.neighbours.get(far.peerId) !== link) return;
        self.neighbours.delete(far.peerId);
        traffic.noticedAtMs = clock.now();
        self.routing.end(far.peerId);
      },
      lossNoticeMs.min + (lossNoticeMs.max - lossNoticeMs.min) * random.next(),
    );
  }

  function lose(link: Link): void {
    link.open = false;
    links.delete(link);
    notice(link, 0);
    notice(link, 1);
  }

  return {
    routers,
    fabric,
    refused,
    takeTraffic() {
      const taken = traffic;
      traffic = none();
      return taken;
    },
    link(one, other, costMicroseconds) {
      const latencyMs = costMicroseconds / 2_000;
      const link: Link = { ends: [one, other], costMicroseconds, latencyMs, open: true, freeAtMs: [0, 0] };
      links.add(link);
      clock.setTimeout(() => {
        if (!link.open) return;
        for (const direction of [0, 1] as const) {
          const [self, far] = [at(link.ends[direction]), at(link.ends[direction === 0 ? 1 : 0])];
          self.neighbours.set(far.peerId, link);
          self.routing.begin(far.peerId, far.mode, (message) => carry(link, direction, message));
        }
      }, latencyMs);
    },
    cut(one, other) {
      for (const link of links) if (link.ends.includes(one) && link.ends.includes(other)) lose(link);
    },
    crash(index) {
      at(index).crash();
      for (const link of links) if (link.ends.includes(index)) lose(link);
    },
    restart: (index) => at(index).restart(),
    serve: (index, served) => at(index).serve(served),
    call: (index, microservices) => at(index).call(microservices),
    send(from, to, message) {
      const link = at(from).neighbours.get(at(to).peerId);
      if (link !== undefined) void carry(link, link.ends[0] === from ? 0 : 1, message);
    },
    links: () => [...links].map(({ ends: [one, other], costMicroseconds }) => ({ one, other, costMicroseconds })),
  };
}
