// What the node says of one instance. Pure; called by instances.ts.

import type { SnapshotFrom } from 'xstate';
import type { instanceMachine } from '../actors/instance.ts';
import { instanceState } from '../actors/instance-state.ts';
import type { InstanceTransition, ObservedInstance } from '../control/fabric.ts';
import type { PlanVersion } from '../control/plan.ts';
import type { InstancePlace } from './instance-effects.ts';
import { listenHost } from './launch.ts';
import { transitionReasonCharactersMax, transitionsMax } from './limits.ts';

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
    history,
    notHeld,
    engine,
  }: {
    node: string;
    version: PlanVersion;
    place: InstancePlace;
    /** Why its engine cannot be used. */
    away: string | undefined;
    /** Up to the state before. */
    history: readonly InstanceTransition[];
    /** Which of its limits its engine cannot hold. */
    notHeld: string | undefined;
    /** Which engine has it, or will. */
    engine: string;
  },
): ObservedInstance {
  const { exit, pid, nextTryAt, planned } = context;
  const { hostPorts, network, content } = place;
  const { ready } = context;
  const state = instanceState(value);
  const reason = context.reason || (away ?? '');
  return {
    _id: `observed/instance/${planned.name}`,
    instance: planned.name,
    node,
    engine,
    ...{ state, ready, reason },
    since: context.since,
    restarts: context.restarts,
    failures: context.failures,
    history: withState(history, { state, ready, reason, at: context.since }, context.now()),
    specHash: planned.specHash,
    ...(content !== undefined && content !== '' && { content }),
    version,
    addresses: planned.spec.ports.flatMap(({ name: port, protocol }) => {
      const hostPort = hostPorts[port];
      if (hostPort === undefined) return [];
      return [{ port, host: network?.address ?? listenHost, hostPort, ...(protocol && { protocol }) }];
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

/** Readiness comes and goes within a state: then the step is of now. */
function withState(
  history: readonly InstanceTransition[],
  { state, ready, reason, at }: InstanceTransition,
  now: number,
): InstanceTransition[] {
  const last = history.at(-1);
  const cut = reason.slice(0, transitionReasonCharactersMax);
  // A reason that is found later belongs to the step.
  if (last?.state === state && last.ready === ready) return [...history.slice(0, -1), { ...last, reason: cut }];
  const since = last?.state === state ? now : at;
  return [...history, { at: since, state, ready, reason: cut }].slice(-transitionsMax);
}
