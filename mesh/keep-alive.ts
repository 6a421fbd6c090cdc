// The failure detector of one connection, as functions of data: when to ask for a sign of life, when to doubt, when to give the peer up,
// and the smoothed round trip. Called by libp2p-links.ts at each look and for whatever arrives. Does no I/O and reads no clock.
//
// How much silence is allowed follows how late the peer has lately been (as the detectors of Bertier, Marin and Sens, "Implementation and
// performance evaluation of an adaptable failure detector", 2002, have it): a peer that is always prompt is given up soon, a busy one later.

import {
  answerMsMin,
  doubtMs,
  latenessAtFirstMs,
  latenessFactor,
  latenessHalfLifeMs,
  latenessRoomMsMax,
  lookAheadMs,
  roundTripSampleMs,
  silentMsCeiling,
} from './limits.ts';

export interface KeepAliveSettings {
  /** A peer that has been silent for so long is asked. */
  intervalMs: number;
  /** Silence that means death on a link whose answers are prompt. */
  silentMsMax: number;
}

export interface Liveness {
  /** We dialled: of two ends one asks first, and the other is quiet. */
  readonly asksFirst: boolean;
  /** When anything that the peer sent was last read. */
  heardAt: number;
  /** When the last ping was sent, and whether its answer is still out. */
  pingedAt: number;
  pinging: boolean;
  /** It has been silent too long, unless something is waiting to be read. */
  doubtedAt: number | undefined;
  /** How much later than it should have been the peer was heard, at worst; it fades. */
  lateMs: number;
  lateAt: number;
  /** What the socket had carried at the last look. */
  carried: Carried | undefined;
  /** Smoothed round trip and its mean deviation (RFC 6298, section 2); undefined before the first sample. */
  roundTripMs: number | undefined;
  deviationMs: number;
}

/** Counts of a connection's socket. */
export interface Carried {
  atMs: number;
  receivedBytes: number;
  /** Handed to the system to be sent. */
  handedBytes: number;
  /** Not yet taken by the system, whose buffer is full. */
  waitingBytes: number;
}

export interface Verdict {
  /** `ping`: ask it now. `doubt`: read what has arrived before the next look. `dead`: give it up. */
  what: 'alive' | 'ping' | 'doubt' | 'dead';
  /** When to look again; of `dead` never. */
  nextMs: number;
}

/** A new connection. `lateMs` when the peer is known from an earlier one. */
export function createLiveness(nowMs: number, asksFirst: boolean, lateMs = latenessAtFirstMs): Liveness {
  return {
    ...{ asksFirst, heardAt: nowMs, pingedAt: Number.NEGATIVE_INFINITY, pinging: false, doubtedAt: undefined },
    ...{ lateMs, lateAt: nowMs, carried: undefined, roundTripMs: undefined, deviationMs: 0 },
  };
}

/** The peer was heard. */
export function hear(liveness: Liveness, nowMs: number, { intervalMs }: KeepAliveSettings): void {
  const beyondMs = nowMs - liveness.heardAt - askedAfterMs(liveness, intervalMs);
  if (beyondMs > 0) beLate(liveness, beyondMs, nowMs);
  liveness.heardAt = nowMs;
  liveness.doubtedAt = undefined;
}

/** It was so much later than it should have been. */
function beLate(liveness: Liveness, lateMs: number, nowMs: number): void {
  liveness.lateMs = Math.max(lateness(liveness, nowMs), Math.min(lateMs, silentMsCeiling));
  liveness.lateAt = nowMs;
}

/** The worst of late, halved with time. */
export function lateness({ lateMs, lateAt }: Pick<Liveness, 'lateMs' | 'lateAt'>, nowMs: number): number {
  return lateMs * 0.5 ** (Math.max(0, nowMs - lateAt) / latenessHalfLifeMs);
}

/** This process did not run for so long: it heard nothing meanwhile, whoever spoke. */
export function excuse(liveness: Liveness, awayMs: number, nowMs: number): void {
  liveness.heardAt = Math.min(nowMs, liveness.heardAt + awayMs);
  if (liveness.doubtedAt !== undefined) liveness.doubtedAt = nowMs;
}

/**
 * Bytes of a message that is not whole yet are a sign of life, and so is room in a send buffer that was full: the far end has taken what was
 * in it. Bytes that go into a buffer with room say nothing.
 */
export function carry(liveness: Liveness, now: Carried, settings: KeepAliveSettings): void {
  const before = liveness.carried;
  liveness.carried = now;
  if (before === undefined) return;
  // When a whole message came since the last look is known more exactly.
  const came = liveness.heardAt < before.atMs && now.receivedBytes > before.receivedBytes;
  const taken = before.waitingBytes > 0 && now.handedBytes > before.handedBytes;
  if (came || taken) hear(liveness, now.atMs, settings);
}

/**
 * What to do about the peer now. One side's pings keep both sides quiet: who has just heard one does not ask. Silence is only counted
 * while a ping is out, and nobody is given up before all that has arrived was read.
 */
export function judge(liveness: Liveness, nowMs: number, settings: KeepAliveSettings): Verdict {
  const { heardAt, pingedAt, pinging, doubtedAt } = liveness;
  if (!pinging) {
    const askAt = Math.min(
      heardAt + askedAfterMs(liveness, settings.intervalMs),
      pingedAt + roundTripSampleOf(settings),
    );
    if (nowMs < askAt - lookAheadMs) return { what: 'alive', nextMs: askAt };
  }
  const askedAt = pinging ? pingedAt : nowMs;
  const deadAt = Math.max(heardAt + silentMsAllowed(liveness, nowMs, settings), askedAt + answerMsMin);
  // Sooner, since an answer may come and be followed by silence.
  const nextMs = Math.min(deadAt, nowMs + settings.intervalMs);
  if (!pinging) return { what: 'ping', nextMs };
  if (nowMs < deadAt) return { what: 'alive', nextMs };
  if (doubtedAt === undefined) return { what: 'doubt', nextMs: nowMs + doubtMs };
  return nowMs - doubtedAt < doubtMs
    ? { what: 'alive', nextMs: doubtedAt + doubtMs }
    : { what: 'dead', nextMs: Number.POSITIVE_INFINITY };
}

/** The other end leaves the first word to who dialled. */
const askedAfterMs = ({ asksFirst }: Liveness, intervalMs: number): number =>
  asksFirst ? intervalMs : (intervalMs * 4) / 3;

/** Slow links are not asked more often for the sake of a sample. */
const roundTripSampleOf = ({ intervalMs }: KeepAliveSettings): number => Math.max(roundTripSampleMs, intervalMs);

/**
 * It was asked, and has been silent since for longer than it usually is: a reason to prefer another way, and none yet to give it up. Right after
 * this process has not run its answer may be there unread.
 */
export function isOverdue(liveness: Liveness, nowMs: number): boolean {
  const { pinging, pingedAt, heardAt, roundTripMs = 0, deviationMs } = liveness;
  if (!pinging) return false;
  // RFC 6298, section 2. Whoever says something else first has still to answer.
  const usualMs = Math.max(answerMsMin, roundTripMs + 4 * deviationMs);
  return nowMs - Math.max(pingedAt, heardAt) > usualMs + lateness(liveness, nowMs);
}

export function silentMsAllowed(liveness: Liveness, nowMs: number, { silentMsMax }: KeepAliveSettings): number {
  const lateMs = lateness(liveness, nowMs);
  const roomMs = Math.min((latenessFactor - 1) * lateMs, latenessRoomMsMax);
  return Math.min(silentMsMax + lateMs + roomMs, Math.max(silentMsMax, silentMsCeiling));
}

/** Takes one measured round trip in (RFC 6298, section 2, with its gains of 1/8 and 1/4). */
export function sampleRoundTrip(liveness: Liveness, sampleMs: number): void {
  if (liveness.roundTripMs === undefined) {
    liveness.roundTripMs = sampleMs;
    liveness.deviationMs = sampleMs / 2;
    return;
  }
  liveness.deviationMs += (Math.abs(liveness.roundTripMs - sampleMs) - liveness.deviationMs) / 4;
  liveness.roundTripMs += (sampleMs - liveness.roundTripMs) / 8;
}
