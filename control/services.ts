// Services and who answers for them, as instances are seen: which endpoints are called, and why the others are not. Pure; called by
// status-reader.ts. It tells what documents say; whom a call takes each node decides by itself (mesh/endpoint-choice.ts).

import { balancingKey, balancingsOf } from './balancing.ts';
import { callsShownMax } from './limits.ts';
import type { Balancing, PortSpec } from './plan.ts';
import type { FabricFacts } from './status.ts';
import type { ApplicationView, InstanceView } from './views.ts';

export interface EndpointView extends Pick<InstanceView, 'state' | 'ready' | 'reason' | 'passedOver'> {
  instance: string;
  /** Undefined while it has no place. */
  node?: string;
}

export interface ServiceView {
  project: string;
  application: string;
  /** Its name for callers: the microservice's. */
  service: string;
  ports: PortSpec[];
  /** As its manifest says; absent where that says nothing. */
  balancing?: Balancing;
  /** How many of its endpoints are. */
  ready: number;
  endpoints: EndpointView[];
  /** Callers whose last call reached none of them. */
  failing?: { caller: string; port: string; reason: string; since: number }[];
}

export function endpointOf(instance: InstanceView): EndpointView {
  const { name, node, state, ready, reason, passedOver } = instance;
  return {
    ...{ instance: name, state, ready, reason },
    ...(node !== undefined && { node }),
    ...(passedOver !== undefined && { passedOver }),
  };
}

/** Of its microservices those that can be called, in order of their names. */
function servicesOfOne(view: ApplicationView, balancings: ReadonlyMap<string, Balancing>): ServiceView[] {
  const { project, name: application, instances } = view;
  return view.microservices.flatMap(({ name: service, ports }): ServiceView[] => {
    if (ports.length === 0) return [];
    const endpoints = instances.filter(({ microservice }) => microservice === service).map(endpointOf);
    const failing = instances.flatMap(({ name: caller, failingCalls = [] }) =>
      failingCalls
        .filter(({ called }) => called.startsWith(`${service}:`))
        .map(({ called, reason, since }) => ({ caller, port: called.slice(service.length + 1), reason, since })),
    );
    const balancing = balancings.get(balancingKey({ project, application, microservice: service }));
    return [
      {
        ...{ project, application, service, ports, ready: endpoints.filter(({ ready }) => ready).length, endpoints },
        ...(balancing !== undefined && { balancing }),
        ...(failing.length > 0 && { failing: failing.slice(0, callsShownMax) }),
      },
    ];
  });
}

export function servicesOf(
  { applications: records }: Pick<FabricFacts, 'applications'>,
  applications: readonly ApplicationView[],
): ServiceView[] {
  const balancings = balancingsOf(records);
  const key = ({ project, application, service }: ServiceView): string => `${project}/${application}/${service}`;
  return applications
    .flatMap((view) => servicesOfOne(view, balancings))
    .sort((one, other) => (key(one) < key(other) ? -1 : 1));
}
