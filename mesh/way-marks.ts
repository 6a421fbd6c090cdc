// Which neighbours led a connection through others to a bad end lately: another one is tried first the next time. Pure but for the clock; called
// by libp2p-dials.ts and tunnel-through-nodes.ts. Nobody is given up for it: a far end that fails looks the same from here as a router that harms what it carries.

import type { Clock } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import { lossNoticedMs, wayMarkMs, wayMarksMax } from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface WayMarks {
  mark(to: PeerId, neighbour: PeerId): void;
  /** The neighbour is gone itself: what has just ended with it was no harm. */
  lost(neighbour: PeerId): void;
  /** The same neighbours: as they were, but those that failed after all others, the one that failed last at the end. */
  order(to: PeerId, neighbours: readonly PeerId[]): readonly PeerId[];
  /** Those of them that failed: what another one is asked to carry there had better not come by them again. */
  failed(to: PeerId, neighbours: readonly PeerId[]): PeerId[];
}

export function createWayMarks(clock: Clock): WayMarks {
  const marks = createBoundedMap<string, { neighbour: PeerId; atMs: number }>(wayMarksMax);
  const keyOf = (to: PeerId, neighbour: PeerId): string => `${to} ${neighbour}`;

  /** Of one that has none, before all others. */
  function markedAt(to: PeerId, neighbour: PeerId): number {
    const at = marks.get(keyOf(to, neighbour))?.atMs;
    return at !== undefined && clock.elapsed() - at < wayMarkMs ? at : -1;
  }

  return {
    mark: (to, neighbour) => marks.set(keyOf(to, neighbour), { neighbour, atMs: clock.elapsed() }),
    lost(neighbour) {
      const sinceMs = clock.elapsed() - lossNoticedMs;
      marks.deleteWhere((mark) => mark.neighbour === neighbour && mark.atMs >= sinceMs);
    },
    failed: (to, neighbours) => neighbours.filter((neighbour) => markedAt(to, neighbour) >= 0),
    order(to, neighbours) {
      const at = new Map(neighbours.map((neighbour) => [neighbour, markedAt(to, neighbour)]));
      return [...neighbours].sort((one, other) => (at.get(one) ?? -1) - (at.get(other) ?? -1));
    },
  };
}
