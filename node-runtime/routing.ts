// Routing on this node, whichever mode it has: what goes over links beside what nodes say of themselves (statements and costs), and which
// way a stream goes. Called by links.ts with the links, by announcer.ts with news, and by whoever opens or forwards a stream.

import { reachWantedMax, servicesWantedMax } from '../mesh/limits.ts';
import { boundedCost } from '../mesh/link-cost.ts';
import type { FindStep, Mesh, PeerId } from '../mesh/mesh.ts';
import type { RouterMode } from '../mesh/own-links.ts';
import { createReferencedLinks } from '../mesh/referenced-links.ts';
import { nextStep, type Routes, stepNow } from '../mesh/routes.ts';
import { createSpreading } from '../mesh/spreading.ts';
import type { Statement, StatementTable } from '../mesh/statements.ts';
import { createUplinkRoutes } from '../mesh/uplink-routes.ts';
import type { TrafficMessage } from './link-session.ts';
import { createReach } from './reach.ts';
import { createRouter, type RouterDependencies } from './router.ts';

/** What links.ts tells of its links. */
export interface LinkTraffic {
  /** The peer said what it is. `send` resolves when the message is handed on, or the link is gone. */
  begin(peerId: PeerId, router: RouterMode, send: (message: TrafficMessage) => Promise<void>): void;
  /** One conversation of several with the peer has ended: what it carried may be lost. */
  renew(peerId: PeerId): void;
  end(peerId: PeerId): void;
  receive(peerId: PeerId, message: TrafficMessage): void;
  /** Whom local instances call, or the authority that signs, may have changed. */
  refresh(): void;
}

export interface Routing extends LinkTraffic {
  start(): void;
  stop(): void;
  /** An announcement was made here, or taken in from a peer. */
  news(statement: Statement, from: PeerId | undefined): void;
  step: FindStep;
  routes(): Routes;
  /** Of the cheapest way to the node, in microseconds; 0 is this node, undefined when no way is known. */
  costTo(peerId: PeerId): number | undefined;
  /** Of the link to the peer, as an operator set it or as it is measured. */
  linkCost(peerId: PeerId): number | undefined;
  /** Revoked nodes go. */
  forget(isGone: (peerId: PeerId) => boolean): void;
}

export interface RoutingDependencies extends Omit<RouterDependencies, 'news' | 'onChanged' | 'peerId'> {
  mesh: Pick<Mesh, 'peerId' | 'connection' | 'costMicroseconds' | 'subscribe'>;
  router: RouterMode;
  announcements: StatementTable;
  /** What its operator says that the link to the peer costs, in milliseconds; undefined where that is measured. */
  setCostMs?(peerId: PeerId): number | undefined;
  /** The same text as one object, where one process is hundreds of nodes. */
  shared?: (text: string) => string;
  /** A link brought it. */
  onAnnouncement(from: PeerId, jws: string): void;
  /** The nodes whose cost matters here: those that serve what local instances call. */
  called(): ReadonlySet<PeerId>;
  /** The services that local instances may call or wait for. */
  servicesWanted(): ReadonlySet<string>;
  /** Of others nothing more will be heard. */
  onServicesWanted(services: ReadonlySet<string>): void;
}

/** Of an edge node. */
const noStatements: StatementTable = { held: () => undefined, all: () => [] };

export function createRouting(dependencies: RoutingDependencies): Routing {
  const { mesh, clock, router: mode, called } = dependencies;
  const self = mesh.peerId;
  const peers = new Map<PeerId, { router: RouterMode; send: (message: TrafficMessage) => Promise<void> }>();
  const uplinks = mode === 'edge' ? createUplinkRoutes() : undefined;
  const router =
    mode === 'edge'
      ? undefined
      : createRouter({
          ...dependencies,
          peerId: self,
          news: (statement, from) => spreading.news('link-state', statement, from),
          onChanged: () => reach.changed(),
        });
  const reach = createReach({ clock, costTo });
  const tables = { 'link-state': router?.table ?? noStatements, announcement: dependencies.announcements };
  const referenced = createReferencedLinks({
    ...{ clock, tables, shared: dependencies.shared },
    receive: (from, message) => spreading.receive(from, message),
    renew: (peerId) => spreading.renew(peerId),
  });
  const spreading = createSpreading({
    ...{ self, router: mode, clock, tables },
    onStatement(kind, from, jws) {
      if (kind === 'announcement') dependencies.onAnnouncement(from, jws);
      else router?.receive(from, jws);
    },
  });
  let wanted = '';
  let servicesSaid: string | undefined;
  let unsubscribe: (() => void) | undefined;

  const routes = (): Routes => uplinks ?? (router as NonNullable<typeof router>).routes();

  function costTo(peerId: PeerId): number | undefined {
    if (peerId === self) return 0;
    const known = routes().to(peerId)?.costMicroseconds;
    // A neighbour that has not said its side of the link yet is reached over it all the same.
    return known ?? (peers.has(peerId) ? linkCost(peerId) : undefined);
  }

  function linkCost(peerId: PeerId): number | undefined {
    const setMs = dependencies.setCostMs?.(peerId);
    return setMs === undefined ? mesh.costMicroseconds(peerId) : boundedCost(setMs * 1_000);
  }

  function setLink(peerId: PeerId): void {
    const peer = peers.get(peerId);
    if (peer === undefined) return;
    router?.linked(peerId, peer.router, linkCost(peerId));
    uplinks?.set(peerId, peer.router, linkCost(peerId));
  }

  function wantedMessage(): TrafficMessage & { type: 'reach-wanted' } {
    const services = [...dependencies.servicesWanted()].sort();
    return {
      type: 'reach-wanted',
      list: [...called()].sort().slice(0, reachWantedMax),
      ...(services.length <= servicesWantedMax && { services }),
    };
  }

  /** Edge nodes ask, of other edge nodes what those serve themselves. Nobody else asks: an interior router holds all that is served. */
  function ask(): void {
    if (uplinks === undefined) return;
    const message = wantedMessage();
    if (JSON.stringify(message) === wanted) return;
    wanted = JSON.stringify(message);
    uplinks.want(called());
    const services = JSON.stringify(message.services);
    const isOther = services !== servicesSaid;
    servicesSaid = services;
    if (isOther && message.services !== undefined) dependencies.onServicesWanted(new Set(message.services));
    for (const { send } of peers.values()) void send(message);
    if (isOther) spreading.tellHeld();
  }

  return {
    start() {
      if (unsubscribe !== undefined) return;
      unsubscribe = mesh.subscribe((event) => {
        if (event.type === 'cost') setLink(event.peerId);
      });
      router?.start();
      ask();
    },
    stop() {
      unsubscribe?.();
      unsubscribe = undefined;
      router?.stop();
      spreading.stop();
      referenced.stop();
      reach.stop();
    },
    begin(peerId, far, send) {
      peers.set(peerId, { router: far, send });
      setLink(peerId);
      if (uplinks !== undefined) void send(wantedMessage());
      spreading.begin(peerId, far, referenced.begin(peerId, send));
    },
    renew(peerId) {
      // Before what is held: the far end may have begun anew, and would send everything.
      if (uplinks !== undefined) void peers.get(peerId)?.send(wantedMessage());
      spreading.renew(peerId);
      referenced.renew(peerId);
    },
    end(peerId) {
      peers.delete(peerId);
      spreading.end(peerId);
      referenced.end(peerId);
      reach.end(peerId);
      router?.unlinked(peerId);
      uplinks?.lost(peerId);
    },
    receive(peerId, message) {
      const peer = peers.get(peerId);
      if (peer === undefined) return;
      if (message.type === 'reach') uplinks?.told(peerId, message.list);
      else if (message.type !== 'reach-wanted') referenced.receive(peerId, message);
      else {
        spreading.wanted(peerId, message.services && new Set(message.services));
        if (router !== undefined && peer.router === 'edge')
          reach.wanted(peerId, message.list, (list) => void peer.send({ type: 'reach', list }));
      }
    },
    news: (statement, from) => spreading.news('announcement', statement, from),
    refresh() {
      ask();
      router?.authorityChanged();
    },
    step: (stream) =>
      stepNow(nextStep({ self, router: mode, routes: routes() }, stream), {
        destination: stream.destination,
        isLinked: (peerId) => peers.has(peerId),
        isOverdue: (peerId) => stream.avoid?.includes(peerId) === true || mesh.connection(peerId)?.overdue === true,
      }),
    routes,
    costTo,
    linkCost,
    forget: (isGone) => router?.forget(isGone),
  };
}
