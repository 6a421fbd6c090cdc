// The search of an edge node for routers that are closer than its uplinks: some that it is not linked to are measured, seldom, one after the
// other, and an uplink whose place was taken is let go once nothing goes over it. Called by links.ts. Which ones those are is decided in
// mesh/link-choice.ts; it makes no link, and ends none that is in use.

import { createBoundedMap } from '../mesh/bounded-map.ts';
import type { Address, PeerId } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';
import {
  measuredPerLookMax,
  measuredRoutersMax,
  measurePauseMs,
  uplinkLookFirstMs,
  uplinkLookMsMax,
  uplinkSettleMs,
} from './limits.ts';

export interface MeasuredRouter {
  peerId: PeerId;
  addresses: readonly Address[];
}

export interface CloserUplinks {
  /** The box has come to another place, or an uplink is gone: what is closest may be another one. */
  lookSoon(): void;
  /** Of a router that is not linked, as it was measured last. */
  costOf(peerId: PeerId): number | undefined;
  measuredAt(peerId: PeerId): number | undefined;
  start(): void;
  stop(): void;
}

export interface CloserUplinksDependencies {
  clock: Clock;
  /** In [0, 1). */
  jitter: () => number;
  /** How many times seldomer than usual, where bytes are paid for or links are slow. */
  seldomer: () => number;
  /** Those that may be measured, in order. */
  candidates(): readonly MeasuredRouter[];
  /** A short connection; resolves with what a link to it would cost, undefined where that did not become known. */
  measure(router: MeasuredRouter): Promise<number | undefined>;
  onMeasured(peerId: PeerId): void;
  /** Uplinks that stand and are no longer needed. */
  surplus(): readonly PeerId[];
  /** Ends the link, unless something goes over it. */
  letGo(peerId: PeerId): void;
}

export function createCloserUplinks(dependencies: CloserUplinksDependencies): CloserUplinks {
  const { clock, jitter, seldomer, candidates, measure, onMeasured, surplus, letGo } = dependencies;
  const measured = createBoundedMap<PeerId, { costMicroseconds: number | undefined; atMs: number }>(measuredRoutersMax);
  let timer: TimerId | undefined;
  /** Looks since something was new. */
  let quiet = 0;
  let looking = false;
  let stopped = true;
  let ended = new AbortController();

  /** A fabric that starts at once does not look at once. */
  const spread = (ms: number): number => Math.round(ms * (0.5 + jitter()));

  function after(delayMs: number): void {
    clock.clearTimeout(timer);
    timer = undefined;
    if (!stopped) timer = clock.setTimeout(() => void look(), delayMs);
  }

  const pauseMs = (): number =>
    spread(Math.min(uplinkLookMsMax, uplinkLookFirstMs * 2 ** Math.min(quiet, 16)) * seldomer());

  async function measureNext(): Promise<boolean> {
    let isNew = false;
    for (const router of candidates().slice(0, measuredPerLookMax)) {
      await clock.sleep(spread(measurePauseMs), ended.signal);
      const { peerId } = router;
      const costMicroseconds = await measure(router).catch(() => undefined);
      if (ended.signal.aborted) return false;
      if (!measured.get(peerId)) isNew = true;
      measured.set(peerId, { costMicroseconds, atMs: clock.now() });
      if (costMicroseconds !== undefined) onMeasured(peerId);
    }
    return isNew;
  }

  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      const isNew = await measureNext();
      quiet = isNew ? 0 : quiet + 1;
      if (surplus().length > 0 || isNew) {
        // What has just been linked is measured for a while before anything is let go for it.
        await clock.sleep(uplinkSettleMs, ended.signal);
        const [farthest] = surplus();
        if (farthest !== undefined) letGo(farthest);
      }
    } catch {
      // It stops.
    } finally {
      looking = false;
      after(pauseMs());
    }
  }

  return {
    lookSoon() {
      if (quiet === 0 || stopped) return;
      quiet = 0;
      if (!looking) after(pauseMs());
    },
    costOf: (peerId) => measured.get(peerId)?.costMicroseconds,
    measuredAt: (peerId) => measured.get(peerId)?.atMs,
    start() {
      if (!stopped) return;
      stopped = false;
      ended = new AbortController();
      after(pauseMs());
    },
    stop() {
      stopped = true;
      clock.clearTimeout(timer);
      timer = undefined;
      ended.abort(new Error('it stops'));
    },
  };
}
