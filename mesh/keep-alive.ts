// The failure detector of one connection, as functions of data: when to ask for a sign of life, when to give the peer up,
// and the smoothed round trip. Called by libp2p-mesh.ts on each beat. Does no I/O and reads no clock.

import { roundTripSampleMs, silentMsCeiling } from './limits.ts';

export interface KeepAliveSettings {
  /** How often `judge` is called. */
  intervalMs: number;
  /** Silence that means death on a link with steady round trips. */
  silentMsMax: number;
}

export interface Liveness {
  /** When anything that the peer sent was last read. */
  heardAt: number;
  /** When the last ping was sent, and whether its answer is still out. */
  pingedAt: number;
  pinging: boolean;
  /** Smoothed round trip and its mean deviation (RFC 6298, section 2); undefined before the first sample. */
  roundTripMs: number | undefined;
  deviationMs: number;
}

export function createLiveness(nowMs: number): Liveness {
  return { heardAt: nowMs, pingedAt: Number.NEGATIVE_INFINITY, pinging: false, roundTripMs: undefined, deviationMs: 0 };
}

/**
 * `ping` when the peer should be asked, `dead` when it has been silent too long. One side's pings keep both sides quiet:
 * who has just heard one does not ask. Silence is only counted while a ping is out.
 */
export function judge(liveness: Liveness, nowMs: number, settings: KeepAliveSettings): 'alive' | 'ping' | 'dead' {
  const silentMs = nowMs - liveness.heardAt;
  if (liveness.pinging) return silentMs > silentMsAllowed(liveness, settings) ? 'dead' : 'alive';
  if (silentMs >= settings.intervalMs / 2 || nowMs - liveness.pingedAt >= roundTripSampleMs) return 'ping';
  return 'alive';
}

/** A link whose answers come late or unevenly gets more time, as a TCP retransmission timer would give it. */
export function silentMsAllowed(liveness: Liveness, settings: KeepAliveSettings): number {
  const expectedMs = (liveness.roundTripMs ?? 0) + 4 * liveness.deviationMs + settings.intervalMs;
  return Math.max(settings.silentMsMax, Math.min(expectedMs, silentMsCeiling));
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
