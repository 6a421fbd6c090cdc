// Callers of this node whose last call of a service reached no instance, and why: the caller itself sees a reset connection, which says
// nothing. State only: service-calls.ts tells what came of each call; what is here ends in the node's observation.

import type { ObservedCalls } from '../control/fabric.ts';
import type { CallableService } from '../control/plan.ts';
import type { Clock } from '../node-runtime/clock.ts';
import { createBoundedMap } from './bounded-map.ts';
import { callReasonCharactersMax, failingCallsKeptMs, failingCallsMax } from './limits.ts';
import { portText, serviceKey } from './service-names.ts';

export interface FailingCalls {
  failed(caller: string, called: CallableService, reason: string): void;
  answered(caller: string, called: CallableService): void;
  /** The caller is gone. */
  forget(caller: string): void;
  /** Whose last call failed, unless that is long ago. */
  current(): ObservedCalls['failing'];
}

export function createFailingCalls({ clock }: { clock: Clock }): FailingCalls {
  const failing = createBoundedMap<string, ObservedCalls['failing'][number] & { lastAt: number }>(failingCallsMax);
  const keyOf = (caller: string, called: CallableService) => `${caller} ${serviceKey(called)}:${portText(called)}`;

  return {
    failed(caller, called, reason) {
      const now = clock.now();
      const { since = now } = failing.get(keyOf(caller, called)) ?? {};
      const cut = reason.slice(0, callReasonCharactersMax);
      failing.set(keyOf(caller, called), {
        ...{ caller, called: `${called.microservice}:${portText(called)}`, reason: cut },
        ...{ since, lastAt: now },
      });
    },
    answered(caller, called) {
      if (failing.size > 0) failing.delete(keyOf(caller, called));
    },
    forget: (gone) => failing.deleteWhere(({ caller }) => caller === gone),
    current() {
      const now = clock.now();
      failing.deleteWhere(({ lastAt }) => Math.abs(now - lastAt) > failingCallsKeptMs);
      return [...failing.values()].map(({ lastAt: _, ...entry }) => entry);
    },
  };
}
