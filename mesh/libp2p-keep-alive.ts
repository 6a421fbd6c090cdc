// Looks at the connections of one node when it is time (keep-alive.ts says when), asks their peers for signs of life and gives up those that
// are silent. Called by libp2p-links.ts. One timer for all; it never judges by itself, and closes nothing but what is dead.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import {
  carry,
  createLiveness,
  excuse,
  hear,
  judge,
  type KeepAliveSettings,
  type Liveness,
  lateness,
  sampleRoundTrip,
} from './keep-alive.ts';
import type { LinkMuxer } from './libp2p-node.ts';
import {
  backAgainMs,
  latenessAtFirstMs,
  lookAheadMs,
  lookMsMin,
  rememberedPeersMax,
  routedIntervalMs,
  routedSilentMsMax,
} from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface Watched {
  readonly peerId: PeerId;
  readonly routed: boolean;
  readonly muxer: LinkMuxer;
  readonly liveness: Liveness;
}

export interface KeepAliveOptions<Link extends Watched> {
  clock: Clock;
  settings: KeepAliveSettings;
  links(): Iterable<Link>;
  onDead(link: Link, reason: string): void;
  /** A round trip was measured. */
  onSample(link: Link): void;
  /** A good moment for what has time. */
  onLook(): void;
}

export interface KeepAlive {
  start(): void;
  stop(): void;
  /** Of a new connection; whatever arrives on it counts from now on. */
  begin(connection: Omit<Watched, 'liveness'> & { asksFirst: boolean }): Liveness;
  /** It is gone. */
  end(link: Watched): void;
  /** The peer is believed alive for so long at least although it is silent; left out, no longer than others. */
  allow(peerId: PeerId, silentMs: number | undefined): void;
}

/** What is known of a peer from a connection that is gone. */
interface Remembered {
  lateMs: number;
  /** When it was heard last, if it was given up for its silence. */
  silentSince: number | undefined;
}

/** Of a connection through others: what arrives on it are whole messages. */
const noBytes = { received: 0, sent: 0, waiting: 0 };

export function createKeepAlive<Link extends Watched>(options: KeepAliveOptions<Link>): KeepAlive {
  const { clock, settings, links, onDead, onSample, onLook } = options;
  const allowed = createBoundedMap<PeerId, number>(rememberedPeersMax);
  const remembered = createBoundedMap<PeerId, Remembered & { atMs: number }>(rememberedPeersMax);
  const dead = new WeakSet<Liveness>();
  let timer: TimerId | undefined;
  let lookAt = Number.POSITIVE_INFINITY;
  let running = false;

  /** A way through others has a pace of its own, and no faster than that of the links below. */
  function settingsOf({ peerId, routed }: Pick<Watched, 'peerId' | 'routed'>): KeepAliveSettings {
    const silentMs = allowed.get(peerId) ?? 0;
    const intervalMs = Math.max(settings.intervalMs, silentMs / 2);
    const silentMsMax = Math.max(settings.silentMsMax, silentMs);
    if (!routed) return { intervalMs, silentMsMax };
    return {
      intervalMs: Math.max(intervalMs, routedIntervalMs),
      silentMsMax: Math.max(silentMsMax, routedSilentMsMax),
    };
  }

  function schedule(atMs: number): void {
    if (!running || (timer !== undefined && atMs >= lookAt)) return;
    clock.clearTimeout(timer);
    const now = clock.elapsed();
    lookAt = Math.max(atMs, now);
    timer = clock.setTimeout(look, lookAt - now);
  }

  /** Whether this process ran when it should have: if not, the silence of others is its own. */
  function account(now: number): void {
    const awayMs = now - lookAt;
    if (awayMs <= 0) return;
    for (const { liveness } of links()) excuse(liveness, awayMs, now);
    lookAt = now;
  }

  function look(): void {
    timer = undefined;
    const now = clock.elapsed();
    account(now);
    lookAt = Number.POSITIVE_INFINITY;
    onLook();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const link of [...links()]) {
      const { liveness, muxer } = link;
      const own = settingsOf(link);
      const { received, sent, waiting } = muxer.bytes() ?? noBytes;
      carry(liveness, { atMs: now, receivedBytes: received, handedBytes: sent - waiting, waitingBytes: waiting }, own);
      const verdict = judge(liveness, now, own);
      if (verdict.what === 'ping') void ping(link, now);
      if (verdict.what === 'doubt') liveness.doubtedAt = now;
      if (verdict.what === 'dead') {
        dead.add(liveness);
        onDead(link, `no sign of life for ${Math.round(now - liveness.heardAt)} ms`);
      }
      nextMs = Math.min(nextMs, verdict.nextMs);
    }
    if (nextMs < Number.POSITIVE_INFINITY) schedule(Math.max(nextMs, now + lookMsMin));
  }

  async function ping(link: Link, now: number): Promise<void> {
    const { liveness, muxer } = link;
    liveness.pinging = true;
    liveness.pingedAt = now;
    const sentAt = clock.elapsed();
    try {
      await muxer.ping();
      liveness.pinging = false;
      sampleRoundTrip(liveness, clock.elapsed() - sentAt);
      onSample(link);
    } catch {
      // The connection is closing; its event follows.
    }
  }

  /** Who was given up and is back at once was only slow; who is there anew may have just started. */
  function latenessOf(peerId: PeerId, now: number): number {
    const known = remembered.get(peerId);
    if (known === undefined) return latenessAtFirstMs;
    const { lateMs, atMs, silentSince } = known;
    const faded = lateness({ lateMs, lateAt: atMs }, now);
    if (silentSince === undefined) return Math.max(faded, latenessAtFirstMs);
    const silentMs = now - silentSince;
    return silentMs <= backAgainMs ? Math.max(faded, silentMs - settings.silentMsMax) : faded;
  }

  return {
    start() {
      running = true;
      schedule(clock.elapsed());
    },
    stop() {
      running = false;
      clock.clearTimeout(timer);
      timer = undefined;
      lookAt = Number.POSITIVE_INFINITY;
    },
    begin({ peerId, routed, muxer, asksFirst }) {
      const now = clock.elapsed();
      const liveness = createLiveness(now, asksFirst, routed ? 0 : latenessOf(peerId, now));
      muxer.onData(() => {
        const heardAt = clock.elapsed();
        // What waited while this process did not run is read before the look that is overdue.
        if (heardAt - lookAt > lookAheadMs) account(heardAt);
        // No peer is asked sooner than by these settings: what comes one after the other is late for nobody.
        const prompt = heardAt - liveness.heardAt < settings.intervalMs;
        hear(liveness, heardAt, prompt ? settings : settingsOf({ peerId, routed }));
      });
      schedule(now);
      return liveness;
    },
    end({ peerId, routed, liveness }) {
      if (routed) return;
      const atMs = clock.elapsed();
      const silentSince = dead.has(liveness) ? liveness.heardAt : undefined;
      remembered.set(peerId, { lateMs: lateness(liveness, atMs), atMs, silentSince });
    },
    allow(peerId, silentMs) {
      if (silentMs === undefined) allowed.delete(peerId);
      else allowed.set(peerId, silentMs);
      schedule(clock.elapsed());
    },
  };
}
