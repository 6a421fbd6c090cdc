// The calling side of the tunnel: the pool of sessions, one per calling workload, called workload and node as long as one is enough.
// Called by service-calls.ts. It chooses no endpoint and carries no bytes.

import type { ClientHttp2Stream } from 'node:http2';
import type { MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { VerifyChain } from '../pki/identity.ts';
import type { TellDenied } from './denied-calls.ts';
import { TunnelPeerError, TunnelRefusedError, TunnelUnreachableError } from './errors.ts';
import {
  betterWayMs,
  betterWayRetryMs,
  doubtMs,
  relinkMs,
  tunnelDirectRetryMs,
  tunnelIdleMs,
  tunnelPastCertificateMs,
  tunnelSessionsMax,
  tunnelSessionsPerPairMax,
} from './limits.ts';
import type { LocalMicroservice } from './local-instances.ts';
import type { PeerId } from './mesh.ts';
import { nameOf, serviceKey } from './service-names.ts';
import type { Endpoint, TunnelOffer } from './service-network.ts';
import type { LoadedCredential } from './tunnel-credentials.ts';
import { waitFor } from './tunnel-handshake.ts';
import type { TunnelOverLink } from './tunnel-over-link.ts';
import { connectTunnel, type TunnelSession, type TunnelSessionRequest } from './tunnel-session.ts';

export interface TunnelClientOptions {
  clock: Clock;
  verifyChain: VerifyChain;
  isPeerRevoked: (peerId: PeerId) => boolean;
  tellDenied: TellDenied;
  /** What the way to the peer costs, in microseconds; undefined where nothing is known. */
  costOf: (peerId: PeerId) => number | undefined;
  overLink?: TunnelOverLink | undefined;
}

export interface TunnelClient {
  /**
   * An answered stream to the endpoint. Rejects with TunnelRefusedError, TunnelPeerError, TunnelUnreachableError or the signal's
   * reason; the endpoint has then got nothing.
   */
  open(caller: LocalMicroservice, endpoint: Endpoint, signal: AbortSignal): Promise<ClientHttp2Stream>;
  hasLink(peerId: PeerId): boolean;
  /** Undefined when the link is gone: no new sessions, none is waited for, and the open ones must show that they live. */
  setOffer(peerId: PeerId, offer: TunnelOffer | undefined): void;
  /** The link went through others and is gone against its ends' will: other ways are tried with what the peer offered, while a new one is made. */
  loseWay(peerId: PeerId): void;
  /** That was a moment ago, and there is no link yet. */
  hasLostWay(peerId: PeerId): boolean;
  /** The microservice has another credential now (old sessions take no more calls), or none (they are closed). */
  refresh(name: MicroserviceName, current: LocalMicroservice | undefined): void;
  sweep(): void;
  close(): void;
}

export function createTunnelClient({
  clock,
  verifyChain,
  isPeerRevoked,
  tellDenied,
  costOf,
  overLink,
}: TunnelClientOptions): TunnelClient {
  const offers = new Map<PeerId, TunnelOffer>();
  /** Until when offers hold although the link is gone, by the time that is never set. */
  const heldUntil = new Map<PeerId, number>();
  /** Ends what is being connected to a peer when the link to it goes, or is there again: a way that was good for the one is none for the other. */
  const links = new Map<PeerId, AbortController>();
  const sessions = new Set<TunnelSession>();
  /** The same ones by calling workload, called workload and node. */
  const pools = new Map<string, Set<TunnelSession>>();
  /** Those that went through others, as the link did, when they were made. */
  const routed = new WeakSet<TunnelSession>();
  /** When a session on a link looks for a better way next. */
  const seekAt = new WeakMap<TunnelSession, number>();
  /** When a better one is looked for than a session of which the way is overdue. */
  const seekBetterAt = new WeakMap<TunnelSession, number>();
  const connecting = new Map<
    string,
    { link: AbortController | undefined; made: Promise<TunnelSession>; sinceMs: number }
  >();
  let stopped = new AbortController();

  const keyOf = (called: MicroserviceName, peerId: PeerId, { identity }: LoadedCredential) =>
    `${serviceKey(identity)} ${serviceKey(called)} ${peerId}`;

  function isUsable({ request: { credential, offer }, closed }: TunnelSession, wanted: TunnelSessionRequest): boolean {
    const current = credential === wanted.credential && offer.authorityKeySha256 === wanted.offer.authorityKeySha256;
    return current && !closed;
  }

  function add(key: string, session: TunnelSession): void {
    const pool = pools.get(key) ?? new Set();
    pools.set(key, pool.add(session));
    sessions.add(session);
    session.onClose(() => {
      sessions.delete(session);
      pool.delete(session);
      if (pool.size === 0 && pools.get(key) === pool) pools.delete(key);
    });
  }

  async function connect(key: string, request: TunnelSessionRequest, direct = false): Promise<TunnelSession> {
    const link = links.get(request.peerId)?.signal;
    const signal = link === undefined ? stopped.signal : AbortSignal.any([stopped.signal, link]);
    try {
      const last = direct ? undefined : overLinkTo(request.peerId);
      const isRouted = last?.through(request.peerId) !== undefined || hasLostWay(request.peerId);
      const session = await connectTunnel({ clock, verifyChain, costOf, overLink: last }, request, signal);
      if (signal.aborted) {
        session.destroy();
        throw signal.reason;
      }
      add(key, session);
      if (session.overLink && isRouted) routed.add(session);
      return session;
    } catch (error) {
      if (error instanceof TunnelPeerError) {
        const caller = nameOf(request.credential.identity);
        const reason = error.message;
        tellDenied({ kind: 'wrong-peer', caller, callerPeerId: undefined, called: request.called, reason });
      }
      throw error;
    }
  }

  const hasLostWay = (peerId: PeerId): boolean => heldUntil.has(peerId);

  /** The link goes nowhere but to the peer. */
  const isDirect = (peerId: PeerId): boolean => overLink?.through(peerId) === undefined && !hasLostWay(peerId);

  /** The far end of a link that was lost may know nothing of it yet, or more: no way is to blame for that. */
  function overLinkTo(peerId: PeerId): TunnelOverLink | undefined {
    return overLink && { ...overLink, blame: (stream) => void (hasLostWay(peerId) || overLink.blame?.(stream)) };
  }

  function endLink(peerId: PeerId, reason: string): void {
    links.get(peerId)?.abort(new TunnelUnreachableError(`the link to ${peerId} is ${reason}`));
    links.delete(peerId);
  }

  function setOffer(peerId: PeerId, offer: TunnelOffer | undefined): void {
    const wasHeld = heldUntil.delete(peerId);
    if (offer !== undefined) {
      offers.set(peerId, offer);
      if (wasHeld) endLink(peerId, 'another one');
      if (!links.has(peerId)) links.set(peerId, new AbortController());
      return;
    }
    offers.delete(peerId);
    endLink(peerId, 'gone');
    for (const session of sessions) if (session.request.peerId === peerId) session.liveness.hurry();
  }

  const hasRoom = (ofPair: number): boolean =>
    ofPair < tunnelSessionsPerPairMax && sessions.size + connecting.size < tunnelSessionsMax;

  /** A session with room for one more stream. Called for each call, so that it waits for nothing. */
  function roomySession(key: string, request: TunnelSessionRequest): TunnelSession | undefined {
    const pool = pools.get(key) ?? new Set();
    let overdue: TunnelSession | undefined;
    for (const session of pool) {
      if (session.full || !isUsable(session, request)) continue;
      if (!session.isWayOverdue) return session;
      overdue ??= session;
    }
    return overdue;
  }

  /**
   * For a call that found only a session by a way that is overdue: one by another way when that comes about soon, else the same one. Such a way may
   * well carry, and another one not.
   */
  async function sessionNow(
    overdue: TunnelSession,
    key: string,
    request: TunnelSessionRequest,
    signal: AbortSignal,
  ): Promise<TunnelSession | undefined> {
    const within = (ms: number, done: Promise<unknown>): Promise<unknown> =>
      waitFor(clock, ms, signal, (resolve, reject) => done.then(resolve, reject)).catch(() => undefined);
    // While this process did not run nobody was heard: what has arrived is read first.
    await within(doubtMs, new Promise(() => undefined));
    if (signal.aborted || offers.get(request.peerId) !== request.offer || !overdue.isWayOverdue)
      return roomySession(key, request);
    const now = clock.elapsed();
    const sinceMs = connecting.get(key)?.sinceMs;
    const maySeek = now >= (seekBetterAt.get(overdue) ?? 0) && hasRoom(pools.get(key)?.size ?? 0);
    if (sinceMs === undefined && !maySeek) return roomySession(key, request);
    if (sinceMs === undefined) seekBetterAt.set(overdue, now + betterWayRetryMs);
    // All wait for the same one, and no longer than the first of them.
    const leftMs = betterWayMs - (now - (sinceMs ?? now));
    if (leftMs > 0) await within(leftMs, newSession(key, request));
    const found = roomySession(key, request);
    if (found?.isWayOverdue === false) seekBetterAt.delete(overdue);
    return found;
  }

  /** Undefined when one that another call was making has come about meanwhile. */
  async function newSession(key: string, request: TunnelSessionRequest): Promise<TunnelSession | undefined> {
    const link = links.get(request.peerId);
    const underWay = connecting.get(key);
    if (underWay !== undefined && underWay.link === link) {
      await underWay.made;
      return undefined;
    }
    const usable = [...(pools.get(key) ?? [])].filter((session) => isUsable(session, request)).length;
    if (!hasRoom(usable)) throw new TunnelUnreachableError('all sessions to it are in use');
    const made = connect(key, request);
    connecting.set(key, { link, made, sinceMs: clock.elapsed() });
    try {
      return await made;
    } finally {
      if (connecting.get(key)?.made === made) connecting.delete(key);
    }
  }

  /** The network may let it through by now; until it does, calls go over the link. */
  function seekDirect(session: TunnelSession): void {
    const now = clock.elapsed();
    if (!session.overLink || session.closed || now < (seekAt.get(session) ?? 0)) return;
    const first = !seekAt.has(session);
    seekAt.set(session, now + tunnelDirectRetryMs);
    if (first) return;
    const offer = offers.get(session.request.peerId) ?? session.request.offer;
    const request = { ...session.request, offer };
    connect(keyOf(request.called, request.peerId, request.credential), request, true).then(
      () => session.retire(),
      // The next time, then.
      () => undefined,
    );
  }

  function isOver(session: TunnelSession, now: number): boolean {
    const { request, server, idleMs, liveness } = session;
    const validUntil = Math.min(server.notAfter, request.credential.identity.notAfter) + tunnelPastCertificateMs;
    if (now > validUntil || isPeerRevoked(request.peerId)) return true;
    if (idleMs > tunnelIdleMs) return true;
    const isSilent = !liveness.check();
    if (isSilent) session.blameWay();
    return isSilent;
  }

  return {
    async open(caller, endpoint, signal) {
      const key = keyOf(endpoint, endpoint.peerId, caller.credential);
      for (;;) {
        const offer = offers.get(endpoint.peerId);
        if (offer === undefined) throw new TunnelUnreachableError(`there is no link to ${endpoint.peerId}`);
        const request = { credential: caller.credential, called: nameOf(endpoint), peerId: endpoint.peerId, offer };
        let used = roomySession(key, request);
        if (used?.isWayOverdue) {
          used = await sessionNow(used, key, request, signal);
          signal.throwIfAborted();
          // What was known of the peer may be another by now.
          if (used === undefined || offers.get(endpoint.peerId) !== offer) continue;
        }
        const link = links.get(endpoint.peerId);
        try {
          const session = used ?? (await newSession(key, request));
          if (session === undefined) continue;
          signal.throwIfAborted();
          return await session.open(endpoint, endpoint.instance, signal);
        } catch (error) {
          if (signal.aborted || error instanceof TunnelRefusedError) throw error;
          // The far side may have ended an older session while this call was on its way: a new one says what really is.
          const wasOld = used?.closed === true;
          // The link was lost, or came back, while this one was being made.
          const isOtherLink = used === undefined && links.get(endpoint.peerId) !== link;
          if (!wasOld && !isOtherLink) throw error;
        }
      }
    },

    hasLink: (peerId) => offers.has(peerId) && !hasLostWay(peerId),

    hasLostWay,
    setOffer,

    loseWay(peerId) {
      const offer = offers.get(peerId);
      setOffer(peerId, undefined);
      if (offer === undefined || overLink === undefined) return;
      // Dials to where it was not reached before would only hang, and the call with them.
      offers.set(peerId, { ...offer, addresses: [] });
      links.set(peerId, new AbortController());
      heldUntil.set(peerId, clock.elapsed() + relinkMs);
    },

    refresh(name, current) {
      for (const session of sessions) {
        const { credential } = session.request;
        if (serviceKey(credential.identity) !== serviceKey(name)) continue;
        if (current === undefined) session.destroy();
        else if (credential !== current.credential) session.retire();
      }
    },

    sweep() {
      const now = clock.now();
      for (const [peerId, untilMs] of heldUntil)
        if (clock.elapsed() >= untilMs || isPeerRevoked(peerId)) setOffer(peerId, undefined);
      for (const session of sessions) {
        if (isOver(session, now)) session.destroy();
        // The link is direct by now: its old connection lasts for the calls that are open.
        else if (routed.has(session) && isDirect(session.request.peerId)) session.retire();
        else seekDirect(session);
      }
    },

    close() {
      stopped.abort(new TunnelUnreachableError('the service network stops'));
      stopped = new AbortController();
      for (const session of sessions) session.destroy();
      offers.clear();
      heldUntil.clear();
      links.clear();
    },
  };
}
