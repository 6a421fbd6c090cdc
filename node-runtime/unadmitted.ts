// Inbound connections whose peers have not proved membership: each has so long for it, and is closed then. Called by links.ts.

import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { Clock, TimerId } from './clock.ts';
import { unadmittedMs } from './limits.ts';

export interface Unadmitted {
  /** The peer has connected. A second connection beside the first one gains no time. */
  connected(peerId: PeerId): void;
  gone(peerId: PeerId): void;
  stop(): void;
}

export function createUnadmitted({
  clock,
  mesh,
  isWaiting,
}: {
  clock: Clock;
  mesh: Pick<Mesh, 'isAdmitted' | 'disconnect'>;
  /** It asked to be approved, and waits for an operator. */
  isWaiting(peerId: PeerId): boolean;
}): Unadmitted {
  const deadlines = new Map<PeerId, TimerId>();

  function connected(peerId: PeerId): void {
    if (deadlines.has(peerId)) return;
    const timer = clock.setTimeout(() => {
      deadlines.delete(peerId);
      if (mesh.isAdmitted(peerId)) return;
      if (isWaiting(peerId)) connected(peerId);
      else void mesh.disconnect(peerId);
    }, unadmittedMs);
    deadlines.set(peerId, timer);
  }

  function gone(peerId: PeerId): void {
    clock.clearTimeout(deadlines.get(peerId));
    deadlines.delete(peerId);
  }

  return {
    connected,
    gone,
    stop() {
      for (const peerId of [...deadlines.keys()]) gone(peerId);
    },
  };
}
