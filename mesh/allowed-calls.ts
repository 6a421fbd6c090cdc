// Whether calls are allowed, when they begin and for as long as they last: what policy denies is told, and open calls that it denies
// since are reset. Called by both sides of the tunnel; tunnel-network.ts lets it look each second. It knows no addresses and no sessions.

import type { CallableService, MicroserviceName } from '../control/plan.ts';
import { type Authorize, denialReason } from './authorization.ts';
import type { TellDenied } from './denied-calls.ts';
import type { PeerId } from './mesh.ts';
import { nameOf, portText, serviceKey } from './service-names.ts';

export interface Call {
  caller: MicroserviceName;
  callerPeerId: PeerId;
  called: CallableService;
}

export interface AllowedCalls {
  /** Why the call may not begin, which is told then; undefined when it may. */
  refusal(call: Call): string | undefined;
  /** From its beginning on: `reset` is called when it is no longer allowed. Returns the function that ends the watch. */
  watch(call: Call, reset: () => void): () => void;
  /** Asks again for all that are open. */
  sweep(): void;
}

interface Watched {
  call: Call;
  resets: Set<() => void>;
}

const keyOf = ({ caller, callerPeerId, called }: Call): string =>
  `${serviceKey(caller)} ${callerPeerId} ${serviceKey(called)}:${portText(called)}`;

export function createAllowedCalls({
  authorize,
  tellDenied,
}: {
  authorize: Authorize;
  tellDenied: TellDenied;
}): AllowedCalls {
  const open = new Map<string, Watched>();

  const isAllowed = ({ caller, called }: Call): boolean => authorize(nameOf(caller), nameOf(called), called.port);

  function tell({ caller, callerPeerId, called }: Call, reason: string): void {
    const { port, protocol } = called;
    const names = { caller: nameOf(caller), callerPeerId, called: nameOf(called) };
    tellDenied({ kind: 'call-denied', ...names, port, ...(protocol && { protocol }), reason });
  }

  return {
    refusal(call) {
      if (isAllowed(call)) return undefined;
      const reason = denialReason(call.called);
      tell(call, reason);
      return reason;
    },

    watch(call, reset) {
      const key = keyOf(call);
      const watched = open.get(key) ?? { call, resets: new Set() };
      open.set(key, watched);
      watched.resets.add(reset);
      return () => {
        watched.resets.delete(reset);
        if (watched.resets.size === 0 && open.get(key) === watched) open.delete(key);
      };
    },

    sweep() {
      for (const { call, resets } of [...open.values()]) {
        if (isAllowed(call)) continue;
        tell(
          call,
          `${denialReason(call.called)} any more: ${resets.size} open ${resets.size === 1 ? 'one was' : 'ones were'} closed`,
        );
        for (const reset of [...resets]) reset();
      }
    },
  };
}
