// When the times of a gateway's grants are over: by the wall clock, and by how long they had when they were first seen, so that a clock that is
// set back makes none last longer. Called by gateway-listener.ts and gateway-udp.ts. A restart begins anew, by the wall clock alone.

import type { GatewayGrant } from '../control/gateway.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { compileGrants, type Grants } from './gateway-grants.ts';

/** Compiles the grants that hold from now on; throws as compileGrants does. */
export type HoldGrants = (grants: readonly GatewayGrant[]) => Grants;

export function createGrantTimes({ clock }: { clock: Pick<Clock, 'now' | 'elapsed'> }): HoldGrants {
  /** By name: the end, and when that is by the clock that nobody sets. */
  let held = new Map<string, { until: number; endsAt: number }>();

  const endOf = (until: number): number => {
    const leftMs = until - clock.now();
    // One that is over at first may be so by a clock that was ahead.
    return leftMs > 0 ? clock.elapsed() + leftMs : Number.POSITIVE_INFINITY;
  };

  return (grants) => {
    const next: typeof held = new Map();
    for (const { name, until } of grants) {
      if (until === undefined) continue;
      const before = held.get(name);
      next.set(name, before?.until === until ? before : { until, endsAt: endOf(until) });
    }
    const compiled = compileGrants(
      grants,
      ({ name }) => clock.elapsed() >= (next.get(name)?.endsAt ?? Number.POSITIVE_INFINITY),
    );
    held = next;
    return compiled;
  };
}
