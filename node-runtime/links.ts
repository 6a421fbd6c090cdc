// The links of this node: decides (mesh/link-choice.ts) whom to link to, runs a link actor for each, holds the sessions of
// all admitted links, and tells node.ts what was said over them. It trusts a peer only after membership was proved on the
// very connection.

import { type Actor, fromPromise } from 'xstate';
import { linkMachine } from '../actors/link.ts';
import type { ObservedUnreached, RouterMode } from '../control/fabric.ts';
import { silentMsMax } from '../mesh/limits.ts';
import {
  chooseLinks,
  type KnownPeer,
  type LinkChoiceInput,
  routersToMeasure,
  surplusUplinks,
} from '../mesh/link-choice.ts';
import type { Address, FrameStream, Mesh, PeerId } from '../mesh/mesh.ts';
import type { Identity } from '../pki/identity.ts';
import type { ActorSystem } from './actor-system.ts';
import { createAtMostEvery } from './at-most-every.ts';
import type { Clock, TimerId } from './clock.ts';
import { createCloserUplinks } from './closer-uplinks.ts';
import { createDirectLinks } from './direct-links.ts';
import { createKnownPeers, dropOldest } from './known-peers.ts';
import {
  chooseAgainMs,
  establishMs,
  failedPeersMax,
  foundChoiceMs,
  linkStoodMs,
  neighboursPeriodMs,
  neighboursPerMessageMax,
  sessionsPerPeerMax,
  unreachedMax,
  unreachedReasonCharactersMax,
} from './limits.ts';
import { type LinkMessage, type LinkSession, linkProtocol, type NodeMessage, runLinkSession } from './link-session.ts';
import { measureRouter } from './measure-router.ts';
import type { LinkTraffic } from './routing.ts';
import { createUnadmitted } from './unadmitted.ts';

export interface LinkedPeer {
  peerId: PeerId;
  identity: Identity;
  /** What it said of itself; undefined until its first message. */
  node: NodeMessage | undefined;
  direction: 'inbound' | 'outbound';
}

export interface LinksDependencies {
  mesh: Mesh;
  clock: Clock;
  actors: ActorSystem;
  jitter: () => number;
  fabricId: string;
  router: RouterMode;
  /** Controllers as enrollment and the bulletin told. */
  controllers: () => { peerId: PeerId; addresses: Address[] }[];
  /** Proves membership both ways on a connection; rejects when the peer is no member. */
  present(peerId: PeerId, signal: AbortSignal): Promise<Identity>;
  /** What to say of ourselves. */
  describe(): NodeMessage;
  /** Peers that local instances call. */
  called(): ReadonlySet<PeerId>;
  /** Whether a way through other nodes is known. */
  leadsTo(peerId: PeerId): boolean;
  /** It asked to be approved, and waits for an operator. */
  isWaiting(peerId: PeerId): boolean;
  /** How long a link to that node (`*`: to any) is to be believed in although nothing is heard, where its operator says so. */
  keepAliveMs?(node: string): number | undefined;
  /** Of a link to the peer, as an operator set it or as it is measured. */
  linkCost(peerId: PeerId): number | undefined;
  /** Calls go over what this node has with that neighbour. */
  carries(peerId: PeerId): boolean;
  /** What goes over links beside that. */
  traffic: LinkTraffic;
  onLinked(peer: LinkedPeer): void;
  /** `wayLost`: it went through others, and neither end had closed it. */
  onUnlinked(peer: LinkedPeer, reason: string, wayLost: boolean): void;
  onNode(peer: LinkedPeer): void;
}

export interface Links {
  start(): void;
  stop(): Promise<void>;
  linked(): LinkedPeer[];
  /** Whom this node wants to be linked to, and why it is not. */
  unreached(): ObservedUnreached[];
  /** Why the link to the peer goes through others; undefined where it does not, or no direct one was tried yet. */
  indirect(peerId: PeerId): string | undefined;
  /** To every link but one. */
  broadcast(message: LinkMessage, but?: PeerId): void;
  /** What we say of ourselves, or whom we want, may have changed. */
  refresh(): void;
  /** The peer proved membership, to our enrollment server or as we presented ours. */
  admitted(peerId: PeerId, identity: Identity): void;
  /** Ends what runs with a peer, at once: it was revoked. */
  drop(peerId: PeerId): void;
  addressesOf(peerId: PeerId): Address[];
}

interface Session {
  since: number;
  peer: LinkedPeer;
  session: LinkSession;
}

export function createLinks(dependencies: LinksDependencies): Links {
  const { mesh, clock, actors, jitter, fabricId, router, traffic } = dependencies;
  const identities = new Map<PeerId, Identity>();
  const sessions = new Map<PeerId, Session[]>();
  /** Peers whose links carry traffic, and the mode that they said they have. */
  const carrying = new Map<PeerId, RouterMode>();
  const wantedLinks = new Map<PeerId, Actor<typeof linkMachine>>();
  /** Where the peers of wanted links were when their actors were last told. */
  const toldAddresses = new Map<PeerId, string>();
  /** Attempts that failed since the peer was last linked. */
  const failed = new Map<PeerId, { count: number; reason: string; since: number }>();
  /** Why the last connection to a peer ended, for its conversations, which know only that they did. */
  const gone = new Map<PeerId, { reason: string; wayLost?: boolean }>();
  let telling: TimerId | undefined;
  let choosing: TimerId | undefined;
  const unsubscribers: (() => void)[] = [];
  let described = '';
  let stopped = true;

  const linkedPeers = (): LinkedPeer[] => [...sessions.values()].flatMap((list) => (list[0] ? [list[0].peer] : []));

  const choiceOf = (known: readonly KnownPeer[]): LinkChoiceInput => ({
    ...{ self: mesh.peerId, router, known },
    linked: new Set(sessions.keys()),
    called: dependencies.called(),
  });

  const peers = createKnownPeers({
    ...{ ...dependencies, linked: linkedPeers },
    failures: (peerId) => failed.get(peerId)?.count ?? 0,
    costOf: (peerId) => dependencies.linkCost(peerId) ?? closer.costOf(peerId),
  });
  const unadmitted = createUnadmitted(dependencies);

  function choose(): void {
    if (stopped) return;
    const known = peers.all();
    direct.look(known.filter(({ peerId }) => sessions.has(peerId) && isRouted(peerId)));
    const wanted = chooseLinks(choiceOf(known));
    for (const [peerId, actor] of wantedLinks) {
      // A link that stands is kept: it costs little, and the next choice may want it again.
      if (wanted.has(peerId) || sessions.has(peerId)) continue;
      actor.stop();
      wantedLinks.delete(peerId);
      toldAddresses.delete(peerId);
    }
    for (const { peerId, addresses } of known) {
      if (!wanted.has(peerId)) continue;
      const now = [...addresses].sort().join();
      const actor = wantedLinks.get(peerId);
      if (actor !== undefined && toldAddresses.get(peerId) !== now) actor.send({ type: 'ADDRESSES_CHANGED' });
      else if (actor === undefined && !sessions.has(peerId))
        wantedLinks.set(peerId, actors.spawn(`link/${peerId}`, machine, { peerId, jitter }));
      if (wantedLinks.has(peerId)) toldAddresses.set(peerId, now);
    }
  }

  /** Anybody on the network can say a thousand names a second. */
  const chooseOfFound = createAtMostEvery(clock, foundChoiceMs, choose);

  const machine = linkMachine.provide({
    actors: {
      establish: fromPromise<void, { peerId: string; anew: boolean }>(async ({ input: { peerId, anew }, signal }) => {
        const deadline = new AbortController();
        const timer = clock.setTimeout(() => deadline.abort(new Error('it took too long')), establishMs);
        const limit = AbortSignal.any([signal, deadline.signal]);
        try {
          const direct = !isWorthTheWay(peerId);
          await mesh.connect({ peerId, addresses: peers.addressesOf(peerId), direct }, limit);
          if (anew || !mesh.isAdmitted(peerId)) {
            admit(peerId, await dependencies.present(peerId, limit));
          }
          // The other side may have opened the session meanwhile: one is enough.
          if (!sessions.has(peerId)) hold(await mesh.open(peerId, linkProtocol, limit), peerId, 'outbound');
          failed.delete(peerId);
        } catch (error) {
          if (!signal.aborted) {
            const { count, since } = failed.get(peerId) ?? { count: 0, since: clock.now() };
            failed.set(peerId, { count: count + 1, since, reason: (error as Error).message });
            dropOldest(failed, failedPeersMax);
            // Others may deserve the place soon: where every dial fails at once, this is what keeps them apart.
            choosing ??= clock.setTimeout(() => {
              choosing = undefined;
              choose();
            }, chooseAgainMs);
          }
          throw error;
        } finally {
          clock.clearTimeout(timer);
        }
      }),
    },
  });

  /** Of whom the mesh serves the identity is known, and the other way round: both end with the peer's last connection. */
  function admit(peerId: PeerId, identity: Identity): void {
    mesh.admit(peerId);
    if (mesh.isAdmitted(peerId)) identities.set(peerId, identity);
  }

  /** The connection to it goes through others. */
  const isRouted = (peerId: PeerId): boolean => mesh.connection(peerId)?.through !== undefined;

  /** To these a link may go through others; an uplink through an uplink would be none. */
  const isWorthTheWay = (peerId: PeerId): boolean =>
    dependencies.called().has(peerId) || dependencies.controllers().some((one) => one.peerId === peerId);

  function sayTo({ identity }: LinkedPeer): NodeMessage {
    const keepAliveMs = dependencies.keepAliveMs?.(identity.node);
    return { ...dependencies.describe(), ...(keepAliveMs !== undefined && { keepAliveMs }) };
  }

  /** As long as the more patient end would have it: a slow link is slow for both, and either may pay for it. */
  function bePatient({ peerId, identity, node }: LinkedPeer): void {
    // What was so before holds until the other end has said what it wants now.
    const wishes = [dependencies.keepAliveMs?.(identity.node), node?.keepAliveMs].filter((ms) => ms !== undefined);
    if (node !== undefined || wishes.length > 0)
      mesh.allowSilence(peerId, wishes.length === 0 ? undefined : Math.max(...wishes));
  }

  /** Keeps a session until it ends. */
  function hold(stream: FrameStream, peerId: PeerId, direction: 'inbound' | 'outbound'): Promise<void> {
    const identity = identities.get(peerId);
    if (identity === undefined || stopped) {
      stream.abort(new Error('the link is not admitted'));
      return Promise.resolve();
    }
    const peer: LinkedPeer = { peerId, identity, node: undefined, direction };
    const session = runLinkSession(stream, (message) => receive(peer, message));
    const list = sessions.get(peerId) ?? [];
    failed.delete(peerId);
    // Both sides may have opened one; more than that only hold memory.
    if (list.length >= sessionsPerPeerMax) list[0]?.session.end();
    list.push({ since: clock.now(), peer, session });
    sessions.set(peerId, list);
    void session.send(sayTo(peer));
    bePatient(peer);
    if (router === 'interior') tellNeighbours();
    if (list.length === 1) dependencies.onLinked(peer);
    choose();
    return session.ended.then((reason) => release(peer, session, reason));
  }

  function release(peer: LinkedPeer, session: LinkSession, reason: string): void {
    const before = sessions.get(peer.peerId) ?? [];
    const list = before.filter((held) => held.session !== session);
    if (list.length > 0) {
      sessions.set(peer.peerId, list);
      if (before[0]?.session === session) traffic.renew(peer.peerId);
      return;
    }
    sessions.delete(peer.peerId);
    const { reason: why, wayLost = false } = gone.get(peer.peerId) ?? { reason };
    gone.delete(peer.peerId);
    if (carrying.delete(peer.peerId)) traffic.end(peer.peerId);
    closer.lookSoon();
    dependencies.onUnlinked(peer, why, wayLost);
    const since = before.find((held) => held.session === session)?.since ?? clock.now();
    const stood = clock.now() - since >= linkStoodMs;
    wantedLinks.get(peer.peerId)?.send({ type: 'DISCONNECTED', reason: why, stood });
    choose();
  }

  function receive(peer: LinkedPeer, message: LinkMessage): void {
    if (message.type === 'node') {
      if (JSON.stringify(message) === JSON.stringify(peer.node)) return;
      for (const held of sessions.get(peer.peerId) ?? []) held.peer.node = message;
      bePatient(peer);
      carry(peer.peerId, message.router);
      dependencies.onNode(peer);
      if (router === 'interior') tellNeighbours();
      choose();
    } else if (message.type === 'neighbours') {
      peers.takeHints(peer.peerId, message.list);
      choose();
    } else {
      traffic.receive(peer.peerId, message);
    }
  }

  /** What the peer is says what it is to be told. */
  function carry(peerId: PeerId, mode: RouterMode): void {
    // Through others it is no link of this node: what it knows comes from its own neighbours.
    if (carrying.get(peerId) === mode || isRouted(peerId)) return;
    if (carrying.has(peerId)) traffic.end(peerId);
    carrying.set(peerId, mode);
    traffic.begin(peerId, mode, async (message) => sessions.get(peerId)?.[0]?.session.send(message));
  }

  /** An interior router tells its links where the others are, so that they can link directly; at most once a period. */
  function tellNeighbours(): void {
    telling ??= clock.setTimeout(() => {
      telling = undefined;
      const list = linkedPeers().flatMap(({ peerId, identity, node }) =>
        node
          ? [{ peerId, router: node.router, controller: identity.kind === 'controller', addresses: node.addresses }]
          : [],
      );
      for (let from = 0; from < list.length; from += neighboursPerMessageMax) {
        broadcast({ type: 'neighbours', list: list.slice(from, from + neighboursPerMessageMax) });
      }
    }, neighboursPeriodMs);
  }

  function broadcast(message: LinkMessage, but?: PeerId): void {
    for (const [peerId, list] of sessions) if (peerId !== but) void list[0]?.session.send(message);
  }

  function refresh(): void {
    const message = dependencies.describe();
    if (JSON.stringify(message) !== described) {
      described = JSON.stringify(message);
      for (const peer of linkedPeers()) void sessions.get(peer.peerId)?.[0]?.session.send(sayTo(peer));
    }
    traffic.refresh();
    choose();
  }

  /** Where a link goes through others, a direct one may be possible: the two met there, or have another address or cable by now. */
  const direct = createDirectLinks({
    clock,
    async connect({ peerId, addresses }) {
      // It came to us meanwhile.
      if (!isRouted(peerId)) return;
      await mesh.connect({ peerId, addresses, direct: true });
      // The new conversation first, so that the link never ends.
      const old = sessions.get(peerId)?.map(({ session }) => session) ?? [];
      void hold(await mesh.open(peerId, linkProtocol), peerId, 'outbound');
      for (const session of old) session.end();
    },
  });

  const closer = createCloserUplinks({
    ...{ clock, jitter },
    seldomer: () => Math.max(1, (dependencies.keepAliveMs?.('*') ?? 0) / silentMsMax),
    candidates: () =>
      routersToMeasure(choiceOf(peers.all()), closer.measuredAt, jitter).filter(
        ({ peerId }) => mesh.connection(peerId) === undefined,
      ),
    measure: (router) => measureRouter({ mesh, clock, isWanted: (peerId) => wantedLinks.has(peerId) }, router),
    onMeasured(peerId) {
      // It answers: what failed before counts no more.
      failed.delete(peerId);
      choose();
    },
    // Whoever dialled this node wants the link itself.
    surplus: () =>
      surplusUplinks(choiceOf(peers.all())).filter((peerId) =>
        (sessions.get(peerId) ?? []).every(({ peer }) => peer.direction === 'outbound'),
      ),
    letGo(peerId) {
      const carries = mesh.connected().some((other) => mesh.connection(other)?.through === peerId);
      if (carries || dependencies.carries(peerId)) return;
      wantedLinks.get(peerId)?.stop();
      wantedLinks.delete(peerId);
      toldAddresses.delete(peerId);
      gone.set(peerId, { reason: 'closer routers have taken its place' });
      for (const { session } of sessions.get(peerId) ?? []) session.end();
      void mesh.disconnect(peerId);
    },
  });

  return {
    start() {
      if (!stopped) return;
      stopped = false;
      if (router === 'edge') closer.start();
      mesh.handle(linkProtocol, 'admitted', (stream, from) => hold(stream, from, 'inbound'));
      unsubscribers.push(
        mesh.subscribe((event) => {
          if (event.type === 'found' && event.fabricId === fabricId) {
            // It is there again, perhaps where it was before.
            toldAddresses.delete(event.peerId);
            chooseOfFound.ask();
          } else if (event.type === 'moved') {
            refresh();
            closer.lookSoon();
          } else if (event.type === 'connected') {
            wantedLinks.get(event.peerId)?.send({ type: 'CONNECTED' });
            if (event.direction === 'inbound') unadmitted.connected(event.peerId);
          } else if (event.type === 'disconnected') {
            identities.delete(event.peerId);
            unadmitted.gone(event.peerId);
            if (sessions.has(event.peerId) && !gone.has(event.peerId)) gone.set(event.peerId, event);
            for (const { session } of sessions.get(event.peerId) ?? []) session.end();
          }
        }),
      );
      choose();
    },
    async stop() {
      stopped = true;
      chooseOfFound.stop();
      for (const unsubscribe of unsubscribers.splice(0)) unsubscribe();
      for (const actor of wantedLinks.values()) actor.stop();
      wantedLinks.clear();
      toldAddresses.clear();
      clock.clearTimeout(telling);
      telling = undefined;
      clock.clearTimeout(choosing);
      choosing = undefined;
      direct.stop();
      unadmitted.stop();
      closer.stop();
      const ending = [...sessions.values()].flat().map(({ session }) => {
        session.end();
        return session.ended;
      });
      await Promise.all(ending);
    },
    linked: linkedPeers,
    unreached: () =>
      [...failed]
        .filter(([peerId]) => wantedLinks.has(peerId) && !sessions.has(peerId))
        .slice(0, unreachedMax)
        .map(([peerId, { reason, since }]) => ({
          ...{ peerId, since, reason: reason.slice(0, unreachedReasonCharactersMax) },
        })),
    indirect: (peerId) =>
      isRouted(peerId) ? direct.reason(peerId)?.slice(0, unreachedReasonCharactersMax) : undefined,
    broadcast,
    refresh,
    admitted: admit,
    drop(peerId) {
      identities.delete(peerId);
      mesh.expel(peerId);
      void mesh.disconnect(peerId);
    },
    addressesOf: peers.addressesOf,
  };
}
