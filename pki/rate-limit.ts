// Counts attempts in fixed windows, per peer and all together. Called by the enrollment server. Its memory is bounded,
// since peer ids cost an attacker nothing.

import type { Clock } from '../node-runtime/clock.ts';

export interface RateLimiter {
  /** Counts one attempt; false when the key, or all keys together, had too many in this window. */
  allow(key: string): boolean;
}

export function createRateLimiter({
  clock,
  windowMs,
  perKeyMax,
  totalMax,
  keysMax,
}: {
  clock: Clock;
  windowMs: number;
  perKeyMax: number;
  totalMax: number;
  /** Keys counted; once there are more, the table starts again and the total alone limits. */
  keysMax: number;
}): RateLimiter {
  let windowStart = clock.elapsed();
  let total = 0;
  const counts = new Map<string, number>();
  return {
    allow(key) {
      const now = clock.elapsed();
      if (now - windowStart >= windowMs) {
        windowStart = now;
        total = 0;
        counts.clear();
      }
      const count = counts.get(key) ?? 0;
      if (count >= perKeyMax || total >= totalMax) return false;
      if (counts.size >= keysMax && !counts.has(key)) counts.clear();
      counts.set(key, count + 1);
      total += 1;
      return true;
    },
  };
}
