// Who failed calls of this node: passive health checks. An instance that does not take a connection is ejected, at first briefly, longer
// each time, until a call reaches it again. State only: service-calls.ts says what happened and asks before it chooses.

import type { ObservedCalls } from '../control/fabric.ts';
import type { Clock } from '../node-runtime/clock.ts';
import type { Random } from '../node-runtime/random.ts';
import { createBoundedMap } from './bounded-map.ts';
import { callReasonCharactersMax, ejectedEndpointsMax, ejectionMs, ejectionMsMax } from './limits.ts';
import { portText } from './service-names.ts';
import type { Endpoint } from './service-network.ts';

/**
 * How long the `failures`th failure in a row ejects: twice as long each time, at most `ejectionMsMax`, and up to a half less by chance
 * (`jitter` from 0 to 1), so that not all nodes come back to it in the same instant.
 */
export function ejectionOf(failures: number, jitter: number): number {
  return Math.round(Math.min(ejectionMs * 2 ** (failures - 1), ejectionMsMax) * (1 - jitter / 2));
}

interface Failing {
  endpoint: Endpoint;
  reason: string;
  failures: number;
  until: number;
}

export interface EndpointHealth {
  failed(endpoint: Endpoint, reason: string): void;
  answered(endpoint: Endpoint): void;
  isEjected(endpoint: Endpoint): boolean;
  /** There is news of these that says more than a failed call: they begin anew. */
  forgetWhere(matches: (endpoint: Endpoint) => boolean): void;
  ejected(): ObservedCalls['ejected'];
}

export function createEndpointHealth({ clock, random }: { clock: Clock; random: Random }): EndpointHealth {
  const failing = createBoundedMap<string, Failing>(ejectedEndpointsMax);
  const keyOf = (endpoint: Endpoint) => `${endpoint.instance}:${portText(endpoint)}`;
  /** A clock that was set back ejects nobody for longer. */
  const isOut = ({ until }: Failing, now: number) => until > now && until - now <= ejectionMsMax;

  return {
    failed(endpoint, reason) {
      const now = clock.now();
      const before = failing.get(keyOf(endpoint));
      // Many calls may fail at once, and when all are ejected all are tried: that is one failure.
      if (before !== undefined && isOut(before, now)) return;
      const failures = (before?.failures ?? 0) + 1;
      const until = now + ejectionOf(failures, random.next());
      failing.set(keyOf(endpoint), { endpoint, reason: reason.slice(0, callReasonCharactersMax), failures, until });
    },
    answered: (endpoint) => failing.delete(keyOf(endpoint)),
    isEjected(endpoint) {
      const known = failing.size === 0 ? undefined : failing.get(keyOf(endpoint));
      return known !== undefined && isOut(known, clock.now());
    },
    forgetWhere: (matches) => failing.deleteWhere(({ endpoint }) => matches(endpoint)),
    ejected() {
      const now = clock.now();
      return [...failing.values()]
        .filter((one) => isOut(one, now))
        .map(({ endpoint: { instance, port }, reason, failures, until }) => ({
          instance,
          port,
          reason,
          failures,
          until,
        }));
    },
  };
}
