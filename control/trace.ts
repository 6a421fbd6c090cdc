// The way that a call takes from its caller to a service, and where it stops: who is called and why not the others, and the nodes between.
// Pure; called by status-reader.ts. It tells what documents say, and calls nobody: a program that hangs looks well in it until its probes
// or calls have failed.

import { NotFoundError, RequestRefusedError } from './errors.ts';
import { traceCallersMax, traceNamesShown } from './limits.ts';
import type { MicroserviceName } from './plan.ts';
import { portText } from './ports.ts';
import type { EndpointView, ServiceView } from './services.ts';
import type { FabricFacts } from './status.ts';
import type { TopologyRoute, TopologyView } from './topology.ts';
import { pathsFrom } from './topology-paths.ts';
import type { ApplicationView, InstanceView } from './views.ts';

export interface TraceEndpoint {
  instance: string;
  node?: string;
  /** Whether a call may go there. */
  called: boolean;
  /** Why none does; empty where one may. */
  reason: string;
  /** From the caller's node; absent on that node itself, and where there is none. */
  route?: TopologyRoute;
}

export interface TraceCaller {
  /** Absent where a node is asked for. */
  instance?: string;
  node?: string;
  arrives: boolean;
  /** Where it stops; empty when it arrives. */
  reason: string;
  endpoints: TraceEndpoint[];
}

export interface TraceView {
  from: string;
  /** `<project>.<application>.<microservice>` */
  service: string;
  balancing?: NonNullable<ServiceView['balancing']>;
  /** Every caller's call does. */
  arrives: boolean;
  callers: TraceCaller[];
}

export interface TraceFacts {
  topology: TopologyView;
  services: readonly ServiceView[];
  applications: readonly ApplicationView[];
  mailboxes: FabricFacts['mailboxes'];
  /** Whether policies let the call in; where nobody says, the called node decides. */
  isAllowed?: IsAllowed | undefined;
}

export type IsAllowed = (caller: MicroserviceName, called: MicroserviceName, port: number) => boolean;

const keyOf = ({ project, application, service }: ServiceView): string => `${project}.${application}.${service}`;
const microserviceOf = ({ project, application, microservice }: InstanceView): string =>
  `${project}.${application}.${microservice}`;

/** Its whole name, or whole parts of it that stand together. */
const fits = (name: string, part: string): boolean => `.${name}.`.includes(`.${part}.`);

function some(names: readonly string[]): string {
  const more = names.length > traceNamesShown ? `, and ${names.length - traceNamesShown} more` : '';
  return `${names.slice(0, traceNamesShown).join(', ')}${more}`;
}

function ambiguous(field: string, name: string, names: readonly string[]): RequestRefusedError {
  return new RequestRefusedError(`${JSON.stringify(name)} fits several: ${some(names)}`, {
    ...{ field, accepted: 'the whole name of one' },
  });
}

/** Instances of one microservice, or a node. */
function callersOf(from: string, { applications, topology }: TraceFacts): InstanceView[] | { node: string } {
  const all = applications.flatMap(({ instances }) => instances);
  const exact = all.filter(({ name }) => name === from);
  if (exact.length > 0) return exact.slice(0, 1);
  const node = topology.nodes.find(({ name }) => name === from)?.name;
  const fitting = all.filter(({ name }) => fits(name, from));
  const names = [...new Set(fitting.map(microserviceOf))];
  if (node !== undefined && names.length === 0) return { node };
  const places = [...(node === undefined ? [] : [`the node ${node}`]), ...names];
  if (places.length > 1) throw ambiguous('from', from, places);
  if (names.length === 0)
    throw new NotFoundError('instance, microservice or node', from, '`selvedge status` lists those that there are.');
  return fitting;
}

/** With or without its port; of several of that name the caller's own application's. */
function serviceOf(name: string, callers: readonly InstanceView[], services: readonly ServiceView[]) {
  const [, plain = name, port] = /^(.*?)(?::(\d+)(?:\/udp)?)?$/.exec(name) ?? [];
  const fitting = services.filter(
    (service) => fits(keyOf(service), plain) && plain.split('.').at(-1) === service.service,
  );
  const own = fitting.filter(({ project, application }) =>
    callers.some((caller) => caller.project === project && caller.application === application),
  );
  const chosen = own.length > 0 ? own : fitting;
  const [service] = chosen;
  if (service === undefined)
    throw new NotFoundError(
      'service',
      plain,
      '`selvedge services` lists those that there are; a microservice without ports is none.',
    );
  if (chosen.length > 1) throw ambiguous('service', name, chosen.map(keyOf));
  const ports = service.ports.map((one) => one.port);
  if (port !== undefined && !ports.includes(Number(port)))
    throw new RequestRefusedError(`${keyOf(service)} has no port ${port}`, {
      field: 'service',
      accepted: `one of ${service.ports.map(portText).join(', ')}`,
    });
  return { service, port: port === undefined ? undefined : Number(port) };
}

function silence({ lastSeenAt }: { lastSeenAt?: number }): string {
  return lastSeenAt === undefined ? 'is not heard' : `was not heard since ${new Date(lastSeenAt).toISOString()}`;
}

/** Why no stream gets from one node to the other. */
function noWay(from: string, to: string, { nodes, links, islands, unreached }: TopologyView): string {
  const node = nodes.find(({ name }) => name === to);
  const last = node === undefined || node.state === 'connected' ? '' : `; ${to} ${silence(node)}`;
  const tried = unreached.find(({ node: by, peer }) => by === from && peer === to);
  if (tried !== undefined) return `${from} cannot link to ${to}: ${tried.reason}${last}`;
  const islandOf = (name: string): number => islands.findIndex((names) => names.includes(name));
  if (!links.some((link) => link.nodes.includes(from))) return `${from} has no link${last}`;
  if (!links.some((link) => link.nodes.includes(to))) return `${to} has no link${last}`;
  if (islandOf(from) !== islandOf(to)) return `no link leads from the island of ${from} to that of ${to}${last}`;
  return `no routers that are linked now lead from ${from} to ${to}${last}`;
}

function judged(
  endpoint: EndpointView,
  {
    node,
    service,
    topology,
    routes,
  }: { node: string; service: ServiceView; topology: TopologyView; routes: Map<string, TopologyRoute> },
): TraceEndpoint {
  const { instance, node: at, ready, reason, passedOver = [] } = endpoint;
  const place = { instance, ...(at !== undefined && { node: at }) };
  const route = at === undefined || at === node ? undefined : routes.get(at);
  const way = route === undefined ? {} : { route };
  const no = (why: string): TraceEndpoint => ({ ...place, called: false, reason: why, ...way });
  const { balancing } = service;
  if (balancing !== undefined && 'instance' in balancing && instance !== `${keyOf(service)}.${balancing.instance}`)
    return no(`its balancing names instance ${balancing.instance}`);
  if (at === undefined) return no(reason === '' ? 'it has no place' : reason);
  const far = topology.nodes.find(({ name }) => name === at);
  if (far?.state === 'unreachable') return no(`its node ${at} ${silence(far)}`);
  if (!ready) return no(reason === '' ? 'it is not ready' : `it is not ready: ${reason}`);
  if (at !== node && route === undefined) return no(noWay(node, at, topology));
  const mine = passedOver.find(({ by }) => by === node);
  return mine === undefined
    ? { ...place, called: true, reason: '', ...way }
    : no(`passed over by ${node}: ${mine.reason}`);
}

/** Those that are passed over are called again where nobody else is left; local ones first where that is wanted. */
function narrowed(all: readonly TraceEndpoint[], node: string, { endpoints, balancing }: ServiceView): TraceEndpoint[] {
  const isPassedOver = ({ instance, called, reason }: TraceEndpoint): boolean =>
    !called && reason.startsWith('passed over by') && endpoints.some((one) => one.instance === instance && one.ready);
  const left = all.some(({ called }) => called)
    ? [...all]
    : all.map((one) =>
        isPassedOver(one) ? { ...one, called: true, reason: `${one.reason}, and called as nobody else is left` } : one,
      );
  const isLocal = (one: TraceEndpoint): boolean => one.called && one.node === node;
  const localFirst =
    balancing !== undefined &&
    'policy' in balancing &&
    (balancing.localFirst === true || balancing.policy === 'closest');
  if (!localFirst || !left.some(isLocal)) return left;
  return left.map((one) =>
    one.called && !isLocal(one) ? { ...one, called: false, reason: 'one on the node of the caller comes first' } : one,
  );
}

function endpointsFrom(node: string, service: ServiceView, topology: TopologyView): TraceEndpoint[] {
  const routes = pathsFrom(node, topology.nodes, topology.links);
  return narrowed(
    service.endpoints.map((endpoint) => judged(endpoint, { node, service, topology, routes })),
    node,
    service,
  );
}

function whyNobody(service: ServiceView, endpoints: readonly TraceEndpoint[]): string {
  const name = keyOf(service);
  if (endpoints.length === 0) return `${name} has no instance`;
  const reasons = [...new Set(endpoints.map(({ instance, reason }) => `${instance}: ${reason}`))];
  return `no instance of ${name} can be called (${some(reasons)})`;
}

function fromNode(node: string, service: ServiceView, topology: TopologyView): Omit<TraceCaller, 'instance'> {
  const endpoints = endpointsFrom(node, service, topology);
  const arrives = endpoints.some(({ called }) => called);
  const own = topology.nodes.find(({ name }) => name === node);
  if (own?.state === 'unreachable')
    return { node, arrives: false, reason: `${node} ${silence(own)}: what is called there is not known`, endpoints };
  return { node, arrives, reason: arrives ? '' : whyNobody(service, endpoints), endpoints };
}

function fromInstance(
  caller: InstanceView,
  { service, port }: { service: ServiceView; port: number | undefined },
  { topology, mailboxes, isAllowed }: TraceFacts,
): TraceCaller {
  const { name: instance, node, state, reason } = caller;
  if (node === undefined)
    return { instance, arrives: false, reason: `${instance} has no place: ${reason}`, endpoints: [] };
  const way = { instance, ...fromNode(node, service, topology) };
  const stop = (why: string): TraceCaller => ({ ...way, arrives: false, reason: why });
  if (!way.arrives) return way;
  if (state !== 'running') return stop(`the caller is ${state}${reason === '' ? '' : `: ${reason}`}`);
  const planned = mailboxes.get(node)?.plan?.instances.find((one) => one.name === instance);
  const isTold = planned?.calls.some(
    (called) =>
      `${called.project}.${called.application}.${called.microservice}` === keyOf(service) &&
      (port === undefined || called.port === port),
  );
  const { project, application, service: microservice } = service;
  const ports = port === undefined ? service.ports.map((one) => one.port) : [port];
  const isDenied =
    isAllowed !== undefined && !ports.some((one) => isAllowed(caller, { project, application, microservice }, one));
  if (isTold === true)
    return isDenied
      ? stop(`denied: no policy of project ${project} allows ${instance} to call ${keyOf(service)}`)
      : way;
  return stop(
    planned === undefined
      ? `${instance} is in no plan of ${node}`
      : `denied: ${instance} is given no address of ${keyOf(service)}; it calls the services of its own application, and what its manifest declares of others`,
  );
}

/** Throws NotFoundError and RequestRefusedError for names that nothing, or more than one thing, has. */
export function traceOf(from: string, to: string, facts: TraceFacts): TraceView {
  const found = callersOf(from, facts);
  const instances = Array.isArray(found) ? found : [];
  const { service, port } = serviceOf(to, instances, facts.services);
  const callers = Array.isArray(found)
    ? found.slice(0, traceCallersMax).map((caller) => fromInstance(caller, { service, port }, facts))
    : [fromNode(found.node, service, facts.topology)];
  return {
    ...{ from, service: keyOf(service), callers, arrives: callers.every(({ arrives }) => arrives) },
    ...(service.balancing !== undefined && { balancing: service.balancing }),
  };
}
