// The UDP socket under multicast-dns, which decodes whatever arrives: what would be dear, or is more than a network full of nodes says in one
// second, does not reach it. Called by discovery.ts.

import { createSocket, type Socket } from 'node:dgram';
import type { Clock } from '../node-runtime/clock.ts';
import { isCheap } from './discovery-packets.ts';
import { discoveryPacketsPerSecondMax } from './limits.ts';

const secondMs = 1_000;

/** `onDropped`: a packet was not looked at, as junk or because there were too many. */
export function createDiscoverySocket(
  type: 'udp4' | 'udp6',
  { clock, onDropped }: { clock: Clock; onDropped: (why: 'junk' | 'flood') => void },
): Socket {
  const socket = createSocket({ type, reuseAddr: true });
  let since = clock.elapsed();
  let taken = 0;

  function mayPass(packet: Uint8Array): boolean {
    const now = clock.elapsed();
    if (now - since >= secondMs) {
      since = now;
      taken = 0;
    }
    taken++;
    if (taken > discoveryPacketsPerSecondMax) onDropped('flood');
    else if (!isCheap(packet)) onDropped('junk');
    else return true;
    return false;
  }

  const emit = socket.emit.bind(socket) as (event: string | symbol, ...given: unknown[]) => boolean;
  socket.emit = (event: string | symbol, ...given: unknown[]): boolean =>
    event === 'message' && !mayPass(given[0] as Uint8Array) ? true : emit(event, ...given);
  return socket;
}
