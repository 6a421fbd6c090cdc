// One instance as an operator sees it: what is wanted, what was planned, what the node said, and why it is not ready. Pure; called by
// status.ts. It must never call an instance ready that answers an older spec or that nobody can hear.

import type { ObservedInstance } from './fabric.ts';
import type { MicroserviceName, PlannedInstance } from './plan.ts';
import type { InstanceView } from './views.ts';

export interface InstanceFacts extends MicroserviceName {
  name: string;
  engine: string;
  /** Undefined while it has no place. */
  node?: string | undefined;
  /** For every node why it has no place. */
  unplaced?: Record<string, string> | undefined;
  /** Hash of the spec that is declared now; undefined where only the plan is known (on a worker). */
  wantedHash?: string | undefined;
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

/** The lines behind `reason`, the first that applies. */
function reasonFor(facts: InstanceFacts): string {
  const { node, planned, observed, wantedHash, heard } = facts;
  const lastHeard =
    observed === undefined
      ? 'nothing was heard of it yet'
      : `last heard: ${observed.state}${observed.ready ? ', ready' : ''}`;
  if (!heard) return `${node} is unreachable; ${lastHeard}`;
  if (planned === undefined) {
    if (observed === undefined) return 'its plan is being written';
    // Why it is not gone yet.
    return observed.state === 'stopping' ? observed.reason : '';
  }
  if (wantedHash !== undefined && planned.specHash !== wantedHash) return 'its new plan is being written';
  if (observed === undefined) return `${node} has not taken its plan yet`;
  if (observed.specHash !== planned.specHash) return `${node} has not replaced the older one yet (${observed.state})`;
  if (observed.state === 'completed') return '';
  if (observed.reason !== '') return observed.reason;
  return observed.state === 'running' && !observed.ready ? 'not ready yet' : '';
}

export function instanceView(facts: InstanceFacts): InstanceView {
  const { name, project, application, microservice, engine, node, observed, planned, wantedHash, heard } = facts;
  const identity = { name, project, application, microservice, engine };
  if (node === undefined) {
    return { ...identity, state: 'unplaced', ready: false, reason: unplacedReason(facts), restarts: 0 };
  }
  const current = wantedHash ?? planned?.specHash;
  const answers = observed !== undefined && planned?.specHash === current && observed.specHash === current;
  return {
    ...identity,
    node,
    state: observed?.state ?? 'planned',
    ready: heard && answers && observed.ready,
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
