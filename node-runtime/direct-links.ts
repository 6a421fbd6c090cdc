// Links that go through others: whether their far ends can be reached directly by now, and why not. Called by links.ts, which says which links
// those are after every change of what it knows. It opens no conversation and closes none.

import type { Address, PeerId } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';
import { directFirstMs, directRetryMs } from './limits.ts';

export interface RoutedPeer {
  peerId: PeerId;
  addresses: readonly Address[];
}

export interface DirectLinks {
  /** These links go through others now, and no more. An address that was not known is tried soon, the others once in a while. */
  look(routed: readonly RoutedPeer[]): void;
  /** Why the peer is not reached directly; undefined where that was not tried yet. */
  reason(peerId: PeerId): string | undefined;
  stop(): void;
}

interface Try {
  addresses: readonly Address[];
  timer: TimerId | undefined;
  failures: number;
  reason: string | undefined;
}

export function createDirectLinks({
  clock,
  connect,
}: {
  clock: Clock;
  /** Resolves once the link is a direct one. */
  connect(peer: RoutedPeer): Promise<void>;
}): DirectLinks {
  const tries = new Map<PeerId, Try>();

  function after(peerId: PeerId, one: Try, delayMs: number): void {
    clock.clearTimeout(one.timer);
    one.timer = clock.setTimeout(() => void attempt(peerId, one), delayMs);
  }

  async function attempt(peerId: PeerId, one: Try): Promise<void> {
    one.timer = undefined;
    const { addresses } = one;
    try {
      await connect({ peerId, addresses });
      if (tries.get(peerId) === one) tries.delete(peerId);
    } catch (error) {
      one.reason = error instanceof Error ? error.message : String(error);
      one.failures += 1;
      // Others have come in meanwhile, or nobody wants to know any more.
      if (tries.get(peerId) === one && one.timer === undefined) after(peerId, one, pauseMs(one));
    }
  }

  /** Longer after each failure: the first may be a busy box's, what fails for a minute stays so for long. */
  const pauseMs = ({ failures }: Try): number => Math.min(directRetryMs, directFirstMs * 2 ** failures);

  return {
    look(routed) {
      const still = new Set(routed.map(({ peerId }) => peerId));
      for (const [peerId, { timer }] of tries) {
        if (still.has(peerId)) continue;
        clock.clearTimeout(timer);
        tries.delete(peerId);
      }
      for (const { peerId, addresses } of routed) {
        const known = tries.get(peerId);
        if (known !== undefined && addresses.every((address) => known.addresses.includes(address))) continue;
        const one: Try = known ?? { addresses, timer: undefined, failures: 0, reason: undefined };
        tries.set(peerId, one);
        one.addresses = addresses;
        one.failures = 0;
        after(peerId, one, directFirstMs);
      }
    },
    reason: (peerId) => tries.get(peerId)?.reason,
    stop() {
      for (const { timer } of tries.values()) clock.clearTimeout(timer);
      tries.clear();
    },
  };
}
