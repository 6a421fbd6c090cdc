// What the node says of one instance. Pure; called by instances.ts.

import type { SnapshotFrom } from 'xstate';
import { type instanceMachine, instanceState } from '../actors/instance.ts';
import type { ObservedInstance } from '../control/fabric.ts';
import type { PlanVersion } from '../control/plan.ts';
import type { InstancePlace } from './instance-effects.ts';
import { listenHost } from './launch.ts';

/** One of the steps from planned to ready, which may follow each other within milliseconds. */
export function isPassing({ state, ready }: ObservedInstance, before: ObservedInstance | undefined): boolean {
  return !ready && before?.ready !== true && ['waiting', 'creating', 'starting', 'running'].includes(state);
}

export function observationOf(
  { value, context }: SnapshotFrom<typeof instanceMachine>,
  {
    node,
    version,
    place,
    away,
    notHeld,
  }: {
    node: string;
    version: PlanVersion;
    place: InstancePlace;
    /** Why its engine cannot be used. */
    away: string | undefined;
    /** Which of its limits its engine cannot hold. */
    notHeld: string | undefined;
  },
): ObservedInstance {
  const { exit, pid, nextTryAt, planned } = context;
  const { hostPorts, network } = place;
  return {
    _id: `observed/instance/${planned.name}`,
    instance: planned.name,
    node,
    engine: planned.spec.engine,
    state: instanceState(value),
    ready: context.ready,
    reason: context.reason || (away ?? ''),
    since: context.since,
    restarts: context.restarts,
    specHash: planned.specHash,
    version,
    addresses: planned.spec.ports.flatMap(({ name: port }) => {
      const hostPort = hostPorts[port];
      return hostPort === undefined ? [] : [{ port, host: network?.address ?? listenHost, hostPort }];
    }),
    ...(Object.keys(context.probes).length > 0 && { probes: context.probes }),
    ...(notHeld !== undefined && { limits: notHeld }),
    ...(pid !== undefined && { pid }),
    ...(nextTryAt !== undefined && { nextTryAt }),
    ...(exit !== undefined && {
      exit: {
        at: exit.at,
        ...(exit.status !== undefined && { status: exit.status }),
        ...(exit.signal !== undefined && { signal: exit.signal }),
        ...(exit.outOfMemory && { outOfMemory: true }),
      },
    }),
  };
}
