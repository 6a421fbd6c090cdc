// What crossing a link costs, as functions of data: the round trip that keep-alives measure, smoothed, and said anew only when it has
// really changed, so that routes do not flap. Called by the mesh adapters with each sample. Does no I/O and reads no clock.
//
// A cost that follows the load of its link moves the traffic away, which makes the link cheap again, and so on (Khanna and Zinky, "The
// revised ARPANET routing metric", 1989): hence a band, a time that it must be left for, and a least cost.

import {
  costBandMicrosecondsMin,
  costBandPart,
  costSettleMs,
  forwardingCostMicroseconds,
  linkCostMicrosecondsMax,
} from './limits.ts';

export interface LinkCost {
  /** What is said now, in microseconds; undefined before the first sample. */
  saidMicroseconds: number | undefined;
  /** Since when the samples have been beyond the band, and on which side. */
  beyond: { sinceMs: number; dearer: boolean } | undefined;
}

export function createLinkCost(): LinkCost {
  return { saidMicroseconds: undefined, beyond: undefined };
}

/** Of a smoothed round trip (keep-alive.ts: RFC 6298, section 2). */
export function costOfRoundTrip(roundTripMs: number): number {
  return boundedCost(roundTripMs * 1_000 + forwardingCostMicroseconds);
}

/** A whole number of microseconds within the bounds; also for what an operator sets. */
export function boundedCost(microseconds: number): number {
  return Math.max(1, Math.min(Math.round(microseconds), linkCostMicrosecondsMax));
}

/** By more than noise. */
export function linkCostIsOther(said: number, now: number): boolean {
  return Math.abs(now - said) > Math.max(said * costBandPart, costBandMicrosecondsMin);
}

/** Takes one smoothed round trip in; true when another cost is said from now on. The first one counts at once. */
export function sampleCost(cost: LinkCost, roundTripMs: number, nowMs: number): boolean {
  const now = costOfRoundTrip(roundTripMs);
  const said = cost.saidMicroseconds;
  if (said === undefined) {
    cost.saidMicroseconds = now;
    return true;
  }
  if (!linkCostIsOther(said, now)) {
    cost.beyond = undefined;
    return false;
  }
  const dearer = now > said;
  if (cost.beyond?.dearer !== dearer) cost.beyond = { sinceMs: nowMs, dearer };
  if (nowMs - cost.beyond.sinceMs < costSettleMs) return false;
  cost.saidMicroseconds = now;
  cost.beyond = undefined;
  return true;
}
