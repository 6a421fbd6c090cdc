// Gives running instances the content of configs and secrets that changed, one change at a time for each, and tries again what failed. Called by
// instances.ts at each step of an instance. It restarts nothing.

import type { PlannedInstance } from '../control/plan.ts';
import { contentKey } from '../control/workload-spec.ts';
import type { Clock } from './clock.ts';
import { renameRetryMs } from './limits.ts';

export interface ContentUpdates {
  /** Looks whether the instance runs with other content than its plan says. */
  look(instance: string): void;
}

export function createContentUpdates({
  clock,
  running,
  lay,
  onLaid,
  onProblem,
}: {
  clock: Clock;
  /** What runs now, and which content it has; undefined while it does not run, or nobody knows. */
  running(instance: string): { planned: PlannedInstance; content: string } | undefined;
  lay(instance: string, planned: PlannedInstance): Promise<void>;
  onLaid(instance: string): void;
  onProblem(message: string): void;
}): ContentUpdates {
  const laying = new Set<string>();

  async function give(instance: string): Promise<void> {
    const now = running(instance);
    if (now === undefined || laying.has(instance) || now.content === contentKey(now.planned.spec)) return;
    laying.add(instance);
    try {
      await lay(instance, now.planned);
      laying.delete(instance);
      onLaid(instance);
    } catch (error) {
      onProblem(`${instance} does not have its new Configs and Secrets yet: ${String(error)}`);
      clock.setTimeout(() => {
        laying.delete(instance);
        void give(instance);
      }, renameRetryMs);
    }
  }

  return { look: (instance) => void give(instance) };
}
