// What a node says of itself in `observed/node`: pure. Called by member.ts whenever something of it changed.

import type {
  ObservedCalls,
  ObservedDenial,
  ObservedLink,
  ObservedNode,
  ObservedStage,
  ObservedUnreached,
} from '../control/fabric.ts';
import type { ObservedGateway } from '../control/gateway.ts';
import type { Hardware } from '../control/hardware.ts';
import type { PlanVersion } from '../control/plan.ts';
import type { Mesh, PeerId } from '../mesh/mesh.ts';
import type { EngineState } from './engines.ts';
import { controllerAddressesMax, observedLinksMax } from './limits.ts';
import type { LinkedPeer } from './links.ts';
import type { NodePolicy } from './policy.ts';

interface ObservedFacts {
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
  linkCost: (peerId: PeerId) => number | undefined;
  indirect: (peerId: PeerId) => string | undefined;
  links: readonly LinkedPeer[];
  unreached: readonly ObservedUnreached[];
  at: number;
  staged: ObservedStage[];
  calls: ObservedCalls;
  gateways: ObservedGateway[];
  denied: ObservedDenial[];
  problems: ObservedNode['problems'];
}

function observedLink(
  { peerId, identity, direction, node }: LinkedPeer,
  { mesh, linkCost, indirect }: Pick<ObservedFacts, 'mesh' | 'linkCost' | 'indirect'>,
): ObservedLink {
  const upward = node?.router === 'interior' || node?.controller === true;
  const roundTripMs = mesh.roundTripMs(peerId);
  const costMicroseconds = linkCost(peerId);
  const connection = mesh.connection(peerId);
  const why = indirect(peerId);
  return {
    peerId,
    node: identity.node,
    kind: direction === 'inbound' ? 'inbound' : upward ? 'uplink' : 'direct',
    ...(roundTripMs !== undefined && { roundTripMs: Math.round(roundTripMs * 100) / 100 }),
    ...(node !== undefined && { router: node.router }),
    ...(costMicroseconds !== undefined && { costMicroseconds }),
    ...(connection !== undefined && { since: connection.openedAtMs, address: connection.address }),
    ...(connection?.through !== undefined && {
      through: connection.through,
      ...(why !== undefined && { indirect: why }),
    }),
    ...(connection?.bytes !== undefined && {
      sentBytes: connection.bytes.sent,
      receivedBytes: connection.bytes.received,
    }),
  };
}

export function observedNode(facts: ObservedFacts): Omit<ObservedNode, '_rev'> & Record<string, unknown> {
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
    links: links.slice(0, observedLinksMax).map((peer) => observedLink(peer, facts)),
    at: facts.at,
    ...(facts.unreached.length > 0 && { unreached: [...facts.unreached] }),
    addresses: mesh.addresses().slice(0, controllerAddressesMax),
    ...(staged.length > 0 && { staged }),
    ...(calls.ejected.length + calls.failing.length > 0 && { calls }),
    ...(facts.gateways.length > 0 && { gateways: facts.gateways }),
    ...(facts.denied.length > 0 && { denied: facts.denied }),
    problems: [...problems],
  };
}
