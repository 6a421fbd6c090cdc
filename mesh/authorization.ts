// Who may call whom when no policy says otherwise. Pure; called by the tunnel's two sides and for calls within a node.
// It decides on names from verified certificates only, never on addresses.

import type { MicroserviceName } from '../control/plan.ts';

export type Authorize = (caller: MicroserviceName, called: MicroserviceName) => boolean;

/** Microservices of one application call each other; nobody else does. */
export function sameApplication(caller: MicroserviceName, called: MicroserviceName): boolean {
  return caller.project === called.project && caller.application === called.application;
}
