// How long to wait before the next try. Pure; used by every actor that tries again.

export interface BackOff {
  firstMs: number;
  /** The cap: no wait is ever longer, however many tries failed. */
  maxMs: number;
}

/**
 * Exponential back-off with full-range jitter of one half: between 50 % and 100 % of `first × 2^(tries-1)`, capped.
 * `tries` counts the failures so far, from 1; `jitter` is uniform in [0, 1).
 */
export function backOffMs({ firstMs, maxMs }: BackOff, tries: number, jitter: number): number {
  // 2^30 × any first wait is beyond every cap; more would overflow to Infinity.
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(30, Math.max(0, tries - 1)));
  return Math.round(full * (0.5 + jitter / 2));
}

/** Restarts of a workload: quick at first, never rarer than every five minutes. */
export const workloadBackOff: BackOff = { firstMs: 500, maxMs: 5 * 60_000 };
/** Dialling a neighbour: a LAN comes back in moments, a dead neighbour must not be hammered. */
export const linkBackOff: BackOff = { firstMs: 200, maxMs: 30_000 };
/** Replication after a failure on a live link. */
export const replicaBackOff: BackOff = { firstMs: 100, maxMs: 15_000 };
/** Asking to be admitted: the controller limits attempts per peer, so it starts slower. */
export const enrollmentBackOff: BackOff = { firstMs: 500, maxMs: 30_000 };
/** Renewing a certificate: a day of validity is left when it begins. */
export const certificateBackOff: BackOff = { firstMs: 1_000, maxMs: 10 * 60_000 };
/** Listening for a gateway: what has the port may go any moment, and is then replaced within half a minute. */
export const gatewayBackOff: BackOff = { firstMs: 500, maxMs: 30_000 };
/** A workload that ran this long is healthy again: its next failure waits the first wait. */
export const healthyAfterMs = 60_000;
