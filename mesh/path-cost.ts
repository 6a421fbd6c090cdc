// What a call to a peer costs, for the policy `closest`. Called by node-runtime/member.ts, which hands it to the service network. Whoever
// knows a better measure, as routing does of paths over several links, gives it here and nowhere else.

import type { Mesh, PeerId } from './mesh.ts';

/** Microseconds there and back, as measured on the link; undefined without a link, or before the first measurement. */
export function pathCost(mesh: Pick<Mesh, 'roundTripMs'>, peerId: PeerId): number | undefined {
  const roundTripMs = mesh.roundTripMs(peerId);
  return roundTripMs === undefined ? undefined : Math.round(roundTripMs * 1_000);
}
