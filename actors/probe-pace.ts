// How soon a workload that has just started is asked again whether it is ready. Pure; used by instance.ts.

/** The first wait; a refused connection costs a fraction of a millisecond. */
const firstMs = 3;
/** Each wait is a twelfth longer: readiness is seen at most a twelfth of the start-up late, after some 45 probes in the first second. */
const growth = 1.08;
/** A start that takes longer than about 150 ms says why it is not ready; a quicker one is ready before anybody could read it. */
const tellFromMs = 15;

/**
 * Milliseconds from the failed probe number `failures` (from 1) of a workload that was not ready yet to the next one; never
 * more than its `periodMs`. Counts probes instead of reading a clock, which may jump by years on a box without one of its own.
 */
export function startUpProbeMs(periodMs: number, failures: number): number {
  return Math.min(periodMs, Math.round(firstMs * growth ** Math.min(100, Math.max(0, failures - 1))));
}

/** Whether the reason of this failure is worth an observation. */
export const isWorthTelling = (periodMs: number, failures: number): boolean =>
  startUpProbeMs(periodMs, failures) >= Math.min(periodMs, tellFromMs);
