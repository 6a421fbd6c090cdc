// Which instance answers a call, by the policy of the called service. Pure: service-calls.ts keeps whose turn it was, what is open and who
// failed, and passes that in. It never looks at addresses or links.

import { hash } from 'node:crypto';
import type { Balancing, BalancingPolicy, CallableService } from '../control/plan.ts';
import { equalCostMicroseconds, equalCostRatio } from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { Endpoint } from './service-network.ts';

export interface EndpointChoice {
  endpoints: readonly Endpoint[];
  wanted: CallableService;
  /** The instance that calls. */
  caller: string;
  localPeerId: PeerId;
  /** Instances that this call has tried already: never chosen. */
  excluded: ReadonlySet<string>;
  /** It failed calls lately: chosen when there is nobody else. */
  isEjected(endpoint: Endpoint): boolean;
  /** The instance that the caller's call before went to; undefined at first. */
  after: string | undefined;
  /** What a call to the node costs, in microseconds; undefined where nothing is known of it. */
  costOf(peerId: PeerId): number | undefined;
  /** Calls from this node that the instance has open, or that are on their way to it. */
  openCallsTo(instance: string): number;
}

/** True when the endpoint is one of the wanted service. */
export function serves(endpoint: Endpoint, wanted: CallableService): boolean {
  return (
    endpoint.port === wanted.port &&
    endpoint.protocol === wanted.protocol &&
    endpoint.microservice === wanted.microservice &&
    endpoint.application === wanted.application &&
    endpoint.project === wanted.project
  );
}

/**
 * Undefined when no ready instance may be called, or all were tried. Health comes before the policy: an ejected instance is as good as
 * absent while another one is there. Among those that the policy holds for equal, calls go round.
 */
export function chooseEndpoint(choice: EndpointChoice): Endpoint | undefined {
  const { endpoints, wanted, excluded, isEjected, localPeerId, after } = choice;
  const able = endpoints.filter((one) => one.ready && isWanted(one, wanted) && !excluded.has(one.instance));
  const healthy = able.filter((one) => !isEjected(one));
  const candidates = healthy.length > 0 ? healthy : able;
  const { policy, localFirst } = policyOf(wanted.balancing);
  const local = localFirst ? candidates.filter(({ peerId }) => peerId === localPeerId) : [];
  // A policy of a newer controller is one that is not here.
  const narrow = narrowings[policy] ?? narrowings['round-robin'];
  return following(narrow(local.length > 0 ? local : candidates, choice), after);
}

/** Why nobody could be chosen at all. */
export function whyNoEndpoint(endpoints: readonly Endpoint[], wanted: CallableService): string {
  const index = indexOf(wanted.balancing);
  if (index === undefined) return 'no instance of it is ready';
  const isThere = endpoints.some((endpoint) => isWanted(endpoint, wanted));
  return isThere
    ? `its instance ${index} is not ready`
    : `its instance ${index} is served by no node that is known here`;
}

const indexOf = (balancing: Balancing | undefined): number | undefined =>
  balancing !== undefined && 'instance' in balancing ? balancing.instance : undefined;

function policyOf(balancing: Balancing | undefined): { policy: BalancingPolicy; localFirst?: true } {
  return balancing === undefined || 'instance' in balancing ? { policy: 'round-robin' } : balancing;
}

function isWanted(endpoint: Endpoint, wanted: CallableService): boolean {
  if (!serves(endpoint, wanted)) return false;
  const index = indexOf(wanted.balancing);
  const { project, application, microservice } = wanted;
  return index === undefined || endpoint.instance === `${project}.${application}.${microservice}.${index}`;
}

type Narrow = (candidates: readonly Endpoint[], choice: EndpointChoice) => readonly Endpoint[];

const narrowings: Record<BalancingPolicy, Narrow> = {
  'round-robin': (candidates) => candidates,
  closest: nearest,
  'least-connections': (candidates, { openCallsTo }) => least(candidates, ({ instance }) => openCallsTo(instance)),
  sticky: (candidates, { caller }) => highest(candidates, caller),
};

/** The caller's own node; else those that cost about as little as the least, so that chance in a measurement sends nobody all calls. */
function nearest(candidates: readonly Endpoint[], { localPeerId, costOf }: EndpointChoice): readonly Endpoint[] {
  const local = candidates.filter(({ peerId }) => peerId === localPeerId);
  if (local.length > 0) return local;
  const costs = candidates.map(({ peerId }) => costOf(peerId) ?? Number.POSITIVE_INFINITY);
  const lowest = costs.reduce((one, other) => Math.min(one, other), Number.POSITIVE_INFINITY);
  const bound = Math.max(lowest * equalCostRatio, lowest + equalCostMicroseconds);
  return candidates.filter((_, index) => (costs[index] as number) <= bound);
}

function least(candidates: readonly Endpoint[], countOf: (endpoint: Endpoint) => number): readonly Endpoint[] {
  const counts = candidates.map(countOf);
  const lowest = counts.reduce((one, other) => Math.min(one, other), Number.POSITIVE_INFINITY);
  return candidates.filter((_, index) => counts[index] === lowest);
}

/**
 * Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking
 * 6(1), 1998): each caller weighs all instances and takes the heaviest, so that an instance that goes moves its own callers alone, and one
 * that comes takes from each other one an equal part.
 */
function highest(candidates: readonly Endpoint[], caller: string): readonly Endpoint[] {
  let best: { endpoint: Endpoint; weight: string } | undefined;
  for (const endpoint of candidates) {
    // Of hexadecimal digits the order of the texts is that of the numbers.
    const weight = hash('sha256', `${caller} ${endpoint.instance}`);
    if (best === undefined || weight > best.weight) best = { endpoint, weight };
  }
  return best === undefined ? [] : [best.endpoint];
}

/**
 * The one that follows `after` in order of instance name, from the start again at the end. It passes over nobody: of instances that are
 * ready all the time none ever has two calls more than another, whoever comes and goes beside them.
 */
function following(candidates: readonly Endpoint[], after: string | undefined): Endpoint | undefined {
  let first: Endpoint | undefined;
  let next: Endpoint | undefined;
  for (const candidate of candidates) {
    if (first === undefined || candidate.instance < first.instance) first = candidate;
    if (after === undefined || candidate.instance <= after) continue;
    if (next === undefined || candidate.instance < next.instance) next = candidate;
  }
  return next ?? first;
}
