// What the tunnel refused, as events for the operator, at a bounded rate: strangers must not be able to fill the ledger.
// Called by both sides of the tunnel; it refuses nothing itself.

import type { MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import { deniedCallsCountedMax, deniedEventsPerMinuteMax } from './limits.ts';
import type { PeerId } from './mesh.ts';

export interface DeniedCall {
  /**
   * `handshake-refused`: somebody without a good certificate knocked. `call-denied`: a proven caller that policy does not allow.
   * `wrong-peer`: somebody else answered in the place of the called workload.
   */
  kind: 'handshake-refused' | 'call-denied' | 'wrong-peer';
  /** Undefined when it was not proven. */
  caller: MicroserviceName | undefined;
  callerPeerId: PeerId | undefined;
  called: MicroserviceName | undefined;
  /** Of the service; where a call was denied. */
  port?: number;
  protocol?: 'udp';
  reason: string;
  /** Events of this kind, and of a call the same ones, that were left out since the last one told. */
  leftOut: number;
}

export type TellDenied = (event: Omit<DeniedCall, 'leftOut'>) => void;

export interface DeniedCallsOptions {
  clock: Clock;
  onDenied: (event: DeniedCall) => void;
}

const minuteMs = 60_000;

interface Share {
  since: number;
  told: number;
  leftOut: number;
}

/** Each kind has its own share, so that strangers at the door hide no denied call; a caller that tries again and again is told once a minute. */
export function createDeniedCalls({ clock, onDenied }: DeniedCallsOptions): TellDenied {
  const ofKinds = new Map<string, Share>();
  const ofCalls = createBoundedMap<string, Share>(deniedCallsCountedMax);

  /** How many were left out before this one; undefined when it is left out itself. */
  function count(
    shares: Pick<Map<string, Share>, 'get'> & { set(key: string, share: Share): unknown },
    key: string,
    max: number,
  ) {
    const now = clock.elapsed();
    const known = shares.get(key) ?? { since: now, told: 0, leftOut: 0 };
    const share = now - known.since >= minuteMs ? { ...known, since: now, told: 0 } : known;
    const tell = share.told < max;
    shares.set(key, tell ? { ...share, told: share.told + 1, leftOut: 0 } : { ...share, leftOut: share.leftOut + 1 });
    return tell ? share.leftOut : undefined;
  }

  return (event) => {
    const { kind, ...call } = event;
    const alike = kind === 'call-denied' ? count(ofCalls, JSON.stringify(call), 1) : 0;
    const others = alike === undefined ? undefined : count(ofKinds, kind, deniedEventsPerMinuteMax);
    if (alike !== undefined && others !== undefined) onDenied({ ...event, leftOut: alike + others });
  };
}
