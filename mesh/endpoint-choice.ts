// Which instance answers a call: round-robin over the ready ones. Pure; service-calls.ts keeps who was last and who failed.
// It never looks at addresses or links.

import type { CallableService } from '../control/plan.ts';
import type { Endpoint } from './service-network.ts';

export interface EndpointChoice {
  endpoints: readonly Endpoint[];
  wanted: CallableService;
  /** Instances that this call has tried already: never chosen. */
  excluded: ReadonlySet<string>;
  /** Instances that failed others just now: chosen when there is nobody else. */
  avoided: ReadonlySet<string>;
  /** The instance that the call before went to; undefined at first. */
  after: string | undefined;
}

/** True when the endpoint is one of the wanted service. */
export function serves(endpoint: Endpoint, wanted: CallableService): boolean {
  return (
    endpoint.port === wanted.port &&
    endpoint.microservice === wanted.microservice &&
    endpoint.application === wanted.application &&
    endpoint.project === wanted.project
  );
}

/**
 * The ready endpoint that follows `after` in order of instance name, from the start again at the end: while the set stays the
 * same, each gets exactly its share. Undefined when none is ready or all were tried.
 */
export function chooseEndpoint({ endpoints, wanted, excluded, avoided, after }: EndpointChoice): Endpoint | undefined {
  const candidates = endpoints.filter(
    (endpoint) => endpoint.ready && serves(endpoint, wanted) && !excluded.has(endpoint.instance),
  );
  const fresh = candidates.filter((endpoint) => !avoided.has(endpoint.instance));
  return following(fresh.length > 0 ? fresh : candidates, after);
}

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
