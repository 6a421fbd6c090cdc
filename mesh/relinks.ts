// Links that were lost a moment ago, and calls that wait for them to come back another way. Called by service-calls.ts. It makes no link, and
// nobody waits for one that has been gone for long.

import type { Clock } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import { relinkMs, rememberedPeersMax } from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface Relinks {
  lost(peerId: PeerId): void;
  linked(peerId: PeerId): void;
  /** Resolves when there is a link to one of them again, when none has come in time, and at once when none was lost just now. */
  wait(peers: ReadonlySet<PeerId>, signal: AbortSignal): Promise<void>;
}

export function createRelinks({ clock }: { clock: Clock }): Relinks {
  const lostAt = createBoundedMap<PeerId, number>(rememberedPeersMax);
  const waiting = new Set<(peerId: PeerId) => void>();

  return {
    lost: (peerId) => lostAt.set(peerId, clock.elapsed()),
    linked(peerId) {
      lostAt.delete(peerId);
      for (const tell of [...waiting]) tell(peerId);
    },
    async wait(peers, signal) {
      const now = clock.elapsed();
      const lately = [...peers].map((peerId) => relinkMs - (now - (lostAt.get(peerId) ?? Number.NEGATIVE_INFINITY)));
      const leftMs = Math.max(0, ...lately);
      if (leftMs === 0 || signal.aborted) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const tell = (peerId: PeerId): void => void (peers.has(peerId) && resolve());
      const giveUp = (): void => resolve();
      const timer = clock.setTimeout(giveUp, leftMs);
      waiting.add(tell);
      signal.addEventListener('abort', giveUp, { once: true });
      try {
        await promise;
      } finally {
        waiting.delete(tell);
        clock.clearTimeout(timer);
        signal.removeEventListener('abort', giveUp);
      }
    },
  };
}
