// What a link to a router would cost: a connection to it that proves no membership, one round trip, and the end of it. Called by links.ts for
// closer-uplinks.ts. A connection that has become of use meanwhile it leaves alone.

import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { Clock } from './clock.ts';
import type { MeasuredRouter } from './closer-uplinks.ts';
import { measureMs } from './limits.ts';

interface MeasureDependencies {
  mesh: Pick<Mesh, 'connect' | 'disconnect' | 'isAdmitted' | 'costMicroseconds' | 'subscribe'>;
  clock: Clock;
  /** A link to it is wanted by now. */
  isWanted(peerId: PeerId): boolean;
}

/** Undefined when no round trip became known in time. Rejects when it was not reached. */
export async function measureRouter(
  { mesh, clock, isWanted }: MeasureDependencies,
  { peerId, addresses }: MeasuredRouter,
): Promise<number | undefined> {
  const late = new AbortController();
  const { promise: measured, resolve } = Promise.withResolvers<number | undefined>();
  const timer = clock.setTimeout(() => {
    late.abort(new Error('it took too long'));
    resolve(undefined);
  }, measureMs);
  const unsubscribe = mesh.subscribe((event) => {
    if (event.type === 'cost' && event.peerId === peerId) resolve(event.costMicroseconds);
    if (event.type === 'disconnected' && event.peerId === peerId) resolve(undefined);
  });
  try {
    await mesh.connect({ peerId, addresses, direct: true }, late.signal);
    return mesh.costMicroseconds(peerId) ?? (await measured);
  } finally {
    unsubscribe();
    clock.clearTimeout(timer);
    if (!isWanted(peerId) && !mesh.isAdmitted(peerId)) await mesh.disconnect(peerId);
  }
}
