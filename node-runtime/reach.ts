// Tells the edge nodes that are attached to this router what the nodes cost that they asked about, and again what has changed. Called by
// routing.ts. That is all that an edge node learns of routes: it has few links, and its routers know the rest.

import { reachTellMs } from '../mesh/limits.ts';
import type { PeerId } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';

export type ReachList = { peerId: PeerId; costMicroseconds?: number }[];

export interface Reach {
  /** An edge node wants to know of these and no others; answered at once. */
  wanted(from: PeerId, list: readonly PeerId[], tell: (list: ReachList) => void): void;
  /** Costs may be others. */
  changed(): void;
  end(from: PeerId): void;
  stop(): void;
}

interface Asker {
  told: Map<PeerId, number | undefined>;
  tell(list: ReachList): void;
}

export function createReach({
  clock,
  costTo,
}: {
  clock: Clock;
  /** Undefined when it cannot be reached. */
  costTo(peerId: PeerId): number | undefined;
}): Reach {
  const askers = new Map<PeerId, Asker>();
  let resting: TimerId | undefined;

  function tell({ told, tell: say }: Asker, peers: Iterable<PeerId>, all: boolean): void {
    const list: ReachList = [];
    for (const peerId of peers) {
      const costMicroseconds = costTo(peerId);
      if (!all && told.get(peerId) === costMicroseconds) continue;
      told.set(peerId, costMicroseconds);
      list.push({ peerId, ...(costMicroseconds !== undefined && { costMicroseconds }) });
    }
    if (list.length > 0) say(list);
  }

  return {
    wanted(from, list, say) {
      const asker: Asker = { told: new Map(), tell: say };
      askers.set(from, asker);
      tell(asker, new Set(list), true);
    },
    changed() {
      if (askers.size === 0) return;
      resting ??= clock.setTimeout(() => {
        resting = undefined;
        for (const asker of askers.values()) tell(asker, [...asker.told.keys()], false);
      }, reachTellMs);
    },
    end: (from) => void askers.delete(from),
    stop() {
      clock.clearTimeout(resting);
      resting = undefined;
      askers.clear();
    },
  };
}
