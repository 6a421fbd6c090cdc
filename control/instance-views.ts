// One instance as an operator sees it: what is wanted, what was planned, what the node said, and why it is not ready. Pure; called by
// status.ts. It must never call an instance ready that answers an older spec or that nobody can hear.

import type { ObservedInstance } from './fabric.ts';
import type { MicroserviceName, PlannedInstance } from './plan.ts';
import type { InstanceView } from './views.ts';
import { contentKey, isWorkload, type WorkloadFiles } from './workload-spec.ts';

export interface InstanceFacts extends MicroserviceName {
  name: string;
  engine: string;
  /** Undefined while it has no place. */
  node?: string | undefined;
  /** For every node why it has no place. */
  unplaced?: Record<string, string> | undefined;
  /** The spec that is declared now; undefined where only the plan is known (on a worker), or something that it names is missing. */
  wanted?: WorkloadFiles | undefined;
  /** What keeps it from following its application: `there is no Secret db in project default`. */
  missing?: string | undefined;
  planned?: PlannedInstance | undefined;
  observed?: ObservedInstance | undefined;
  /** False when the node cannot be heard. */
  heard: boolean;
  /** Nodes that are admitted, to say so when there are none. */
  nodesKnown?: number;
}

function unplacedReason({ unplaced, nodesKnown }: InstanceFacts): string {
  const reasons = Object.entries(unplaced ?? {});
  if (reasons.length > 0) return `no node may run it: ${reasons.map(([node, why]) => `${node}: ${why}`).join('; ')}`;
  return nodesKnown === 0 ? 'there is no node' : 'not placed yet';
}

/** Whether the plan says what is declared now. */
function isPlanned({ wanted, planned, missing }: InstanceFacts): boolean {
  if (planned === undefined || missing !== undefined) return false;
  if (wanted === undefined) return true;
  return isWorkload(planned, wanted.specHash) && contentKey(planned.spec) === contentKey(wanted.spec);
}

/** Whether the node speaks of what is planned. One of an older version does not say which content it has. */
function isAnswered({ planned, observed }: InstanceFacts): boolean {
  if (planned === undefined || observed?.specHash !== planned.specHash) return false;
  return observed.content === undefined || observed.content === contentKey(planned.spec);
}

/** The lines behind `reason`, the first that applies. */
function reasonFor(facts: InstanceFacts): string {
  const { node, planned, observed, missing, heard } = facts;
  const lastHeard =
    observed === undefined
      ? 'nothing was heard of it yet'
      : `last heard: ${observed.state}${observed.ready ? ', ready' : ''}`;
  if (!heard) return `${node} is unreachable; ${lastHeard}`;
  if (missing !== undefined) return missing;
  if (planned === undefined) return observed === undefined ? 'its plan is being written' : '';
  if (!isPlanned(facts)) return 'its new plan is being written';
  if (observed === undefined) return `${node} has not taken its plan yet`;
  if (observed.specHash !== planned.specHash) return `${node} has not replaced the older one yet (${observed.state})`;
  if (observed.state === 'completed') return '';
  if (observed.reason !== '') return observed.reason;
  if (!isAnswered(facts)) return `${node} has not given it the changed Configs and Secrets yet`;
  return observed.state === 'running' && !observed.ready ? 'not ready yet' : '';
}

export function instanceView(facts: InstanceFacts): InstanceView {
  const { name, project, application, microservice, engine, node, observed, missing, heard } = facts;
  const identity = { name, project, application, microservice, engine };
  if (node === undefined) {
    return { ...identity, state: 'unplaced', ready: false, reason: unplacedReason(facts), restarts: 0 };
  }
  const answers = isPlanned(facts) && isAnswered(facts);
  return {
    ...identity,
    node,
    state: observed?.state ?? (missing === undefined ? 'planned' : 'waiting'),
    ready: heard && answers && observed?.ready === true,
    reason: reasonFor(facts),
    restarts: observed?.restarts ?? 0,
    ...(observed !== undefined && { since: observed.since }),
    ...(observed?.pid !== undefined && { pid: observed.pid }),
    ...(observed?.nextTryAt !== undefined && { nextTryAt: observed.nextTryAt }),
    ...(observed?.exit !== undefined && { exit: observed.exit }),
    ...(observed?.failures !== undefined && { failures: observed.failures }),
    ...(observed?.history !== undefined && { history: observed.history }),
    ...(observed?.probes !== undefined && { probes: observed.probes }),
    ...(observed?.limits !== undefined && { limits: observed.limits }),
    ...(observed?.addresses !== undefined && { addresses: observed.addresses }),
  };
}

/** Ready, or completed, for the spec that is wanted (`reason` is empty for a completed one only then). */
export function isSettled(view: InstanceView): boolean {
  return view.ready || (view.state === 'completed' && view.reason === '');
}
