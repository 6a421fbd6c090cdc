// Tries several addresses one beside the other, each a little later than the one before, until one succeeds (RFC 8305, section 5).
// Pure but for the clock; called by tunnel-session.ts.

import type { Clock } from '../node-runtime/clock.ts';
import { addressStaggerMs } from './limits.ts';

/** What is tried when all addresses have failed, or have not answered for a while. */
export interface LastResort<T> {
  attempt: (signal: AbortSignal) => Promise<T>;
  afterMs: number;
}

/**
 * The first success; all other attempts are aborted. A failure starts the next address at once. Rejects with the last failure when
 * all have failed, or with the signal's reason. `attempt` must end when its signal aborts, and not listen to it once it has succeeded.
 */
export function raceAddresses<T>(
  clock: Clock,
  addresses: readonly string[],
  attempt: (address: string, signal: AbortSignal) => Promise<T>,
  signal: AbortSignal,
  lastResort?: LastResort<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const losers = new AbortController();
    let timer: unknown;
    let lastTimer: unknown;
    let last = lastResort;
    let started = 0;
    let running = 0;
    let settled = false;

    function settle(finish: () => void): void {
      if (settled) return;
      settled = true;
      clock.clearTimeout(timer);
      clock.clearTimeout(lastTimer);
      signal.removeEventListener('abort', onAbort);
      finish();
      losers.abort(new Error('another address answered first'));
    }

    function onAbort(): void {
      settle(() => reject(signal.reason));
    }

    function startNext(): void {
      clock.clearTimeout(timer);
      const address = addresses[started];
      if (settled || address === undefined) return;
      started += 1;
      follow(attempt(address, losers.signal));
      if (started < addresses.length) timer = clock.setTimeout(startNext, addressStaggerMs);
    }

    function startLast(): void {
      const { attempt: attemptLast } = last ?? {};
      last = undefined;
      if (!settled && attemptLast !== undefined) follow(attemptLast(losers.signal));
    }

    function follow(attempted: Promise<T>): void {
      running += 1;
      attempted.then(
        (value) => settle(() => resolve(value)),
        (error: unknown) => {
          running -= 1;
          if (started < addresses.length) startNext();
          else if (running === 0 && last !== undefined) startLast();
          else if (running === 0) settle(() => reject(error));
        },
      );
    }

    if (signal.aborted) onAbort();
    else if (addresses.length === 0 && last === undefined) settle(() => reject(new Error('there is no address')));
    else {
      signal.addEventListener('abort', onAbort, { once: true });
      if (addresses.length === 0) startLast();
      else {
        startNext();
        if (last !== undefined) lastTimer = clock.setTimeout(startLast, last.afterMs);
      }
    }
  });
}
