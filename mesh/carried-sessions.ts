// What a router carries between two neighbours, once both have said yes. Made by tunnel-through-nodes.ts. Both ends of a session ask each other for a
// sign of life after seconds of silence (tunnel-http2.ts): who says nothing for a minute is gone, or keeps a place for nothing. It reads nothing of it.

import type { Duplex } from 'node:stream';
import { carriedSilentSweepsMax } from './limits.ts';
import { type Relay, relay, secureEnd } from './tunnel-relay.ts';

export interface CarriedSessions {
  /** Carries until both are closed, and says so then. */
  add(one: Duplex, other: Duplex, onClosed: () => void): void;
  /** Once a second: ends those of which one end is silent. Counted and not measured, so that a clock that is set ends nothing. */
  sweep(): void;
}

export function createCarriedSessions(): CarriedSessions {
  /** How many sweeps each end has been silent for. */
  const sessions = new Map<Relay, Map<Duplex, number>>();

  return {
    add(one, other, onClosed) {
      const silent = new Map([one, other].map((end) => [end, 0]));
      const carried = relay(secureEnd(one), secureEnd(other), () => {
        sessions.delete(carried);
        onClosed();
      });
      sessions.set(carried, silent);
      for (const end of silent.keys()) end.on('data', () => silent.set(end, 0));
    },
    sweep() {
      for (const [carried, silent] of sessions) {
        for (const [end, sweeps] of silent) silent.set(end, sweeps + 1);
        if (Math.max(...silent.values()) > carriedSilentSweepsMax) carried.destroy();
      }
    },
  };
}
