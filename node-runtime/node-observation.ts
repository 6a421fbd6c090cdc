// What a node says of itself in `observed/node`: pure. Called by member.ts whenever something of it changed.

import type { ObservedCalls, ObservedDenial, ObservedLink, ObservedNode, ObservedStage } from '../control/fabric.ts';
import type { Hardware } from '../control/hardware.ts';
import type { PlanVersion } from '../control/plan.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { EngineState } from './engines.ts';
import { controllerAddressesMax, observedLinksMax } from './limits.ts';
import type { LinkedPeer } from './links.ts';
import type { NodePolicy } from './policy.ts';

function observedLink({ peerId, identity, direction, node }: LinkedPeer, mesh: Mesh): ObservedLink {
  const upward = node?.router === 'interior' || node?.controller === true;
  const roundTripMs = mesh.roundTripMs(peerId);
  return {
    peerId,
    node: identity.node,
    kind: direction === 'inbound' ? 'inbound' : upward ? 'uplink' : 'direct',
    ...(roundTripMs !== undefined && { roundTripMs: Math.round(roundTripMs * 100) / 100 }),
  };
}

export function observedNode(facts: {
  node: string;
  software: string;
  startedAt: number;
  version: PlanVersion | undefined;
  engines: readonly EngineState[];
  policy: NodePolicy;
  hardware: Hardware;
  location: string | undefined;
  controllerReachable: boolean;
  mesh: Mesh;
  links: readonly LinkedPeer[];
  staged: ObservedStage[];
  calls: ObservedCalls;
  denied: ObservedDenial[];
  problems: ObservedNode['problems'];
}): Omit<ObservedNode, '_rev'> & Record<string, unknown> {
  const { node, software, startedAt, version, policy, controllerReachable, mesh, links, staged, calls, problems } =
    facts;
  return {
    _id: 'observed/node',
    node,
    peerId: mesh.peerId,
    software,
    startedAt,
    engines: facts.engines.map(({ name, unavailable }) =>
      unavailable === undefined ? { name } : { name, unavailable },
    ),
    policy: {
      allow: [...policy.allow],
      ...(policy.images && { images: [...policy.images] }),
      processUser: policy.processUser ?? null,
    },
    hardware: facts.hardware,
    ...(facts.location !== undefined && { location: facts.location }),
    ...(version && { version: { epoch: version.epoch, term: version.term, generation: version.generation } }),
    controllerReachable,
    links: links.slice(0, observedLinksMax).map((peer) => observedLink(peer, mesh)),
    addresses: mesh.addresses().slice(0, controllerAddressesMax),
    ...(staged.length > 0 && { staged }),
    ...(calls.ejected.length + calls.failing.length > 0 && { calls }),
    ...(facts.denied.length > 0 && { denied: facts.denied }),
    problems: [...problems],
  };
}
