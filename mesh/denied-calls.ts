// What the tunnel refused, as events for the operator, at a bounded rate: strangers must not be able to fill the ledger.
// Called by both sides of the tunnel; it refuses nothing itself.

import type { MicroserviceName } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { deniedEventsPerMinuteMax } from './limits.ts';
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
  reason: string;
  /** Events of this kind that were left out since the last one told. */
  leftOut: number;
}

export type TellDenied = (event: Omit<DeniedCall, 'leftOut'>) => void;

export interface DeniedCallsOptions {
  clock: Clock;
  onDenied: (event: DeniedCall) => void;
}

const minuteMs = 60_000;

/** Each kind has its own share, so that strangers at the door hide no denied call. */
export function createDeniedCalls({ clock, onDenied }: DeniedCallsOptions): TellDenied {
  const shares = new Map<DeniedCall['kind'], { since: number; told: number; leftOut: number }>();
  return (event) => {
    const now = clock.now();
    const known = shares.get(event.kind) ?? { since: now, told: 0, leftOut: 0 };
    // A clock that was set back begins a new minute as well.
    const share = Math.abs(now - known.since) >= minuteMs ? { ...known, since: now, told: 0 } : known;
    const tell = share.told < deniedEventsPerMinuteMax;
    shares.set(
      event.kind,
      tell ? { ...share, told: share.told + 1, leftOut: 0 } : { ...share, leftOut: share.leftOut + 1 },
    );
    if (tell) onDenied({ ...event, leftOut: share.leftOut });
  };
}
