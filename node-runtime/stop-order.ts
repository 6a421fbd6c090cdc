// In which order instances of one node are ended: what depends on others first, those others once nothing that depends on them is left.
// Across nodes the plans keep the order (control/leaving.ts). Pure. Called by instances.ts for what a newer plan no longer has, and for
// `down --workloads`.

import type { PlannedInstance } from '../control/plan.ts';

type Dependant = Pick<PlannedInstance, 'project' | 'application' | 'microservice' | 'dependsOn'>;

const keyOf = ({ project, application }: Dependant, microservice: string): string =>
  `${project}.${application}.${microservice}`;

/**
 * Those of `going` that may end now: nothing else of it depends on them. All of it when each is depended on by another, which no
 * manifest can say: nothing may stay for ever.
 */
export function endsNow<T extends Dependant>(going: readonly T[]): T[] {
  const needed = new Set(going.flatMap((one) => one.dependsOn.map((microservice) => keyOf(one, microservice))));
  const free = going.filter((one) => !needed.has(keyOf(one, one.microservice)));
  return free.length > 0 ? free : [...going];
}
