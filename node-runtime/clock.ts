// The clock port. Every wait and every "now" in the product goes through it, so that the simulator owns time.
// Adapters: system-clock.ts, and simulations/sim-clock.ts. XState actors take the same object as their clock.

/** What `setTimeout` returns; opaque to callers. */
export type TimerId = unknown;

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): number;
  /** Milliseconds since a moment of this process, never set back or forward: what passes is measured by it, what is dated by `now`. */
  elapsed(): number;
  setTimeout(run: () => void, delayMs: number): TimerId;
  clearTimeout(timer: TimerId): void;
  /** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}
