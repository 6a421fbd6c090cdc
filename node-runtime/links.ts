// The links of this node: decides (mesh/link-choice.ts) whom to link to, runs a link actor for each, holds the sessions of
// all admitted links, and tells node.ts what was said over them. It trusts a peer only after membership was proved on the
// very connection.

import { type Actor, fromPromise } from 'xstate';
import { linkMachine } from '../actors/link.ts';
import type { RouterMode } from '../control/fabric.ts';
import { chooseLinks, type KnownPeer } from '../mesh/link-choice.ts';
import type { Address, FrameStream, Mesh, PeerId } from '../mesh/mesh.ts';
import type { Identity } from '../pki/identity.ts';
import type { ActorSystem } from './actor-system.ts';
import type { Clock, TimerId } from './clock.ts';
import { establishMs, hintsMax, unadmittedMs } from './limits.ts';
import { type LinkMessage, type LinkSession, linkProtocol, type NodeMessage, runLinkSession } from './link-session.ts';

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
  /** It asked to be approved, and waits for an operator. */
  isWaiting(peerId: PeerId): boolean;
  /** Signed announcements to send to a new link. */
  announcements(): string[];
  onLinked(peer: LinkedPeer): void;
  onUnlinked(peer: LinkedPeer, reason: string): void;
  onNode(peer: LinkedPeer): void;
  onAnnouncement(from: PeerId, jws: string): void;
}

export interface Links {
  start(): void;
  stop(): Promise<void>;
  linked(): LinkedPeer[];
  /** To every link but one. */
  broadcast(message: LinkMessage, but?: PeerId): void;
  /** What we say of ourselves, or whom we want, may have changed. */
  refresh(): void;
  /** The peer proved membership to our enrollment server. */
  admitted(peerId: PeerId, identity: Identity): void;
  /** Ends what runs with a peer, at once: it was revoked. */
  drop(peerId: PeerId): void;
  addressesOf(peerId: PeerId): Address[];
}

interface Session {
  peer: LinkedPeer;
  session: LinkSession;
}

export function createLinks(dependencies: LinksDependencies): Links {
  const { mesh, clock, actors, jitter, fabricId, router } = dependencies;
  const identities = new Map<PeerId, Identity>();
  const sessions = new Map<PeerId, Session[]>();
  const wantedLinks = new Map<PeerId, Actor<typeof linkMachine>>();
  /** What neighbours told about others: hints for dialling. */
  const hints = new Map<PeerId, KnownPeer>();
  const unsubscribers: (() => void)[] = [];
  /** Of inbound connections: by when their peers must have proved membership. */
  const deadlines = new Map<PeerId, TimerId>();
  let described = '';
  let stopped = true;

  const linkedPeers = (): LinkedPeer[] => [...sessions.values()].flatMap((list) => (list[0] ? [list[0].peer] : []));

  function knownPeers(): KnownPeer[] {
    const known = new Map<PeerId, KnownPeer>(hints);
    const add = (peerId: PeerId, more: Partial<KnownPeer>): void => {
      const before = known.get(peerId);
      known.set(peerId, {
        peerId,
        router: more.router ?? before?.router,
        controller: more.controller ?? before?.controller ?? false,
        addresses: [...new Set([...(more.addresses ?? []), ...(before?.addresses ?? [])])],
        roundTripMs: mesh.roundTripMs(peerId),
      });
    };
    for (const found of mesh.found()) {
      if (found.fabricId === fabricId) add(found.peerId, { addresses: found.addresses });
    }
    for (const { peerId, addresses } of dependencies.controllers()) add(peerId, { addresses, controller: true });
    for (const { peerId, node } of linkedPeers()) {
      if (node) add(peerId, { router: node.router, controller: node.controller, addresses: node.addresses });
    }
    return [...known.values()];
  }

  function choose(): void {
    if (stopped) return;
    const wanted = chooseLinks({
      self: mesh.peerId,
      router,
      known: knownPeers(),
      linked: new Set(sessions.keys()),
      called: dependencies.called(),
    });
    for (const [peerId, actor] of wantedLinks) {
      // A link that stands is kept: it costs little, and the next choice may want it again.
      if (wanted.has(peerId) || sessions.has(peerId)) continue;
      actor.stop();
      wantedLinks.delete(peerId);
    }
    for (const peerId of wanted) {
      if (wantedLinks.has(peerId) || sessions.has(peerId)) continue;
      wantedLinks.set(peerId, actors.spawn(`link/${peerId}`, machine, { peerId, jitter }));
    }
  }

  const machine = linkMachine.provide({
    actors: {
      establish: fromPromise<void, { peerId: string }>(async ({ input: { peerId }, signal }) => {
        const deadline = new AbortController();
        const timer = clock.setTimeout(() => deadline.abort(new Error('it took too long')), establishMs);
        const limit = AbortSignal.any([signal, deadline.signal]);
        try {
          await mesh.connect({ peerId, addresses: addressesOf(peerId) }, limit);
          if (!mesh.isAdmitted(peerId) || !identities.has(peerId)) {
            identities.set(peerId, await dependencies.present(peerId, limit));
            mesh.admit(peerId);
          }
          // The other side may have opened the session meanwhile: one is enough.
          if (!sessions.has(peerId)) hold(await mesh.open(peerId, linkProtocol, limit), peerId, 'outbound');
        } finally {
          clock.clearTimeout(timer);
        }
      }),
    },
  });

  const addressesOf = (peerId: PeerId): Address[] => [
    ...(knownPeers().find((peer) => peer.peerId === peerId)?.addresses ?? []),
  ];

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
    list.push({ peer, session });
    sessions.set(peerId, list);
    session.send(dependencies.describe());
    for (const jws of dependencies.announcements()) session.send({ type: 'announcement', jws });
    if (router === 'interior') tellNeighbours();
    if (list.length === 1) dependencies.onLinked(peer);
    choose();
    return session.ended.then((reason) => release(peer, session, reason));
  }

  function release(peer: LinkedPeer, session: LinkSession, reason: string): void {
    const list = (sessions.get(peer.peerId) ?? []).filter((held) => held.session !== session);
    if (list.length > 0) {
      sessions.set(peer.peerId, list);
      return;
    }
    sessions.delete(peer.peerId);
    dependencies.onUnlinked(peer, reason);
    wantedLinks.get(peer.peerId)?.send({ type: 'DISCONNECTED', reason });
    choose();
  }

  function receive(peer: LinkedPeer, message: LinkMessage): void {
    if (message.type === 'node') {
      for (const held of sessions.get(peer.peerId) ?? []) held.peer.node = message;
      dependencies.onNode(peer);
      if (router === 'interior') tellNeighbours();
      choose();
    } else if (message.type === 'announcement') {
      dependencies.onAnnouncement(peer.peerId, message.jws);
    } else {
      for (const hint of message.list) {
        if (hint.peerId === mesh.peerId || (hints.size >= hintsMax && !hints.has(hint.peerId))) continue;
        hints.set(hint.peerId, { ...hint, roundTripMs: undefined });
      }
      choose();
    }
  }

  /** An interior router tells its links where the others are, so that they can link directly. */
  function tellNeighbours(): void {
    const list = linkedPeers().flatMap(({ peerId, node }) =>
      node ? [{ peerId, router: node.router, controller: node.controller, addresses: node.addresses }] : [],
    );
    if (list.length > 0) broadcast({ type: 'neighbours', list });
  }

  function broadcast(message: LinkMessage, but?: PeerId): void {
    for (const [peerId, list] of sessions) if (peerId !== but) list[0]?.session.send(message);
  }

  return {
    start() {
      if (!stopped) return;
      stopped = false;
      mesh.handle(linkProtocol, 'admitted', (stream, from) => hold(stream, from, 'inbound'));
      unsubscribers.push(
        mesh.subscribe((event) => {
          if (event.type === 'found' && event.fabricId === fabricId) {
            wantedLinks.get(event.peerId)?.send({ type: 'ADDRESSES_CHANGED' });
            choose();
          } else if (event.type === 'connected') {
            wantedLinks.get(event.peerId)?.send({ type: 'CONNECTED' });
            if (event.direction === 'inbound') limitUnadmitted(event.peerId);
          } else if (event.type === 'disconnected') {
            identities.delete(event.peerId);
            clearDeadline(event.peerId);
            for (const { session } of sessions.get(event.peerId) ?? []) session.end();
          }
        }),
      );
      choose();
    },
    async stop() {
      stopped = true;
      for (const unsubscribe of unsubscribers.splice(0)) unsubscribe();
      for (const actor of wantedLinks.values()) actor.stop();
      wantedLinks.clear();
      for (const peerId of [...deadlines.keys()]) clearDeadline(peerId);
      const ending = [...sessions.values()].flat().map(({ session }) => {
        session.end();
        return session.ended;
      });
      await Promise.all(ending);
    },
    linked: linkedPeers,
    broadcast,
    refresh() {
      const message = dependencies.describe();
      if (JSON.stringify(message) !== described) {
        described = JSON.stringify(message);
        broadcast(message);
      }
      choose();
    },
    admitted(peerId, identity) {
      identities.set(peerId, identity);
      mesh.admit(peerId);
    },
    drop(peerId) {
      identities.delete(peerId);
      mesh.expel(peerId);
      void mesh.disconnect(peerId);
    },
    addressesOf,
  };

  function limitUnadmitted(peerId: PeerId): void {
    // A second connection beside the first one gains no time.
    if (deadlines.has(peerId)) return;
    const timer = clock.setTimeout(() => {
      deadlines.delete(peerId);
      if (mesh.isAdmitted(peerId)) return;
      if (dependencies.isWaiting(peerId)) limitUnadmitted(peerId);
      else void mesh.disconnect(peerId);
    }, unadmittedMs);
    deadlines.set(peerId, timer);
  }

  function clearDeadline(peerId: PeerId): void {
    clock.clearTimeout(deadlines.get(peerId));
    deadlines.delete(peerId);
  }
}
