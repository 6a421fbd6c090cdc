// Datagrams that were dropped because a way, a flow or a table was full, counted by who sent them to whom and told at a bounded rate. State
// only; called by both sides of the tunnel. What the network itself loses nobody sees.

import { createBoundedMap } from './bounded-map.ts';
import { datagramDropsCountedMax, datagramDropsToldPerSweepMax, datagramDropsToldSweeps } from './limits.ts';

export interface DroppedDatagrams {
  /** An instance, or a microservice of another node. */
  from: string;
  to: string;
  reason: string;
  /** Since they were told last. */
  dropped: number;
}

export type CountDrop = (from: string, to: string, reason: string) => void;

export interface DatagramDrops {
  count: CountDrop;
  /** Once a second: tells what is new, a few at a time. */
  sweep(): void;
}

interface Count extends DroppedDatagrams {
  /** Sweeps until it may be told again. */
  wait: number;
}

export function createDatagramDrops({ onDropped }: { onDropped: (drops: DroppedDatagrams) => void }): DatagramDrops {
  const counts = createBoundedMap<string, Count>(datagramDropsCountedMax);

  return {
    count(from, to, reason) {
      const key = `${from} ${to} ${reason}`;
      const known = counts.get(key);
      if (known === undefined) counts.set(key, { from, to, reason, dropped: 1, wait: 0 });
      else known.dropped += 1;
    },
    sweep() {
      // What was told a minute ago, and has not happened since, is forgotten.
      counts.deleteWhere((one) => one.wait === 0 && one.dropped === 0);
      let told = 0;
      for (const one of counts.values()) {
        if (one.wait > 0) one.wait -= 1;
        if (one.wait > 0 || one.dropped === 0 || told >= datagramDropsToldPerSweepMax) continue;
        told += 1;
        const { wait: _, ...drops } = one;
        one.dropped = 0;
        one.wait = datagramDropsToldSweeps;
        onDropped(drops);
      }
    },
  };
}
