// That somebody sends more than this node takes, told when it begins and once in a while as long as it lasts. Called where a limit turns strangers
// away; it turns nobody away itself.

import type { Clock } from '../node-runtime/clock.ts';
import { floodTellMs } from './limits.ts';

/** What is flooded; each is told by itself. */
export type Flooded = 'discovery' | 'handshakes' | 'strangers';
export type TellFlood = (flooded: Flooded, message: string) => void;

export function createFloodTeller({ clock, tell }: { clock: Clock; tell: (message: string) => void }): TellFlood {
  const toldAt = new Map<Flooded, number>();
  return (flooded, message) => {
    const now = clock.elapsed();
    const before = toldAt.get(flooded);
    if (before !== undefined && now - before < floodTellMs) return;
    toldAt.set(flooded, now);
    tell(message);
  };
}
