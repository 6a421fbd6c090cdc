// The views: the fabric as its controller knows it, or one node as it knows itself. Pure functions of documents that status-reader.ts
// read. They must never guess: what cannot be heard is not called well.

import { type CallTroubles, callTroubles } from './call-views.ts';
import type {
  ApplicationRecord,
  ConfigRecord,
  NodeRecord,
  ObservedInstance,
  ObservedNode,
  PlacementRecord,
  SecretRecord,
  StageRecord,
} from './fabric.ts';
import { gatewayProblems } from './gateway-views.ts';
import { readHardware } from './hardware.ts';
import { instanceView, isSettled } from './instance-views.ts';
import { stayingReasons } from './leaving.ts';
import { locationCharactersMax, policyItemsMax, statusProblemsMax } from './limits.ts';
import { instanceName } from './placement.ts';
import type { Plan, PlannedInstance, PlanVersion } from './plan.ts';
import { compareVersions, isVersion } from './plan-version.ts';
import { stageNotices, stageViews } from './stage-views.ts';
import { placeStages } from './staging.ts';
import type { ApplicationView, InstanceView, NodeView, StageView, StatusView } from './views.ts';
import { recordsByName, type SpecCompiler } from './workload-spec.ts';

/** What one mailbox says. */
export interface MailboxFacts {
  plan: Plan | undefined;
  node: ObservedNode | undefined;
  instances: ObservedInstance[];
}

export interface FabricFacts {
  fabric: { id: string; name: string };
  /** Name of the controller that answers. */
  self: string;
  nodes: readonly NodeRecord[];
  applications: readonly ApplicationRecord[];
  configs: readonly ConfigRecord[];
  secrets: readonly SecretRecord[];
  placements: readonly PlacementRecord[];
  /** What is fetched ahead. */
  stages?: readonly StageRecord[];
  /** By node name. */
  mailboxes: ReadonlyMap<string, MailboxFacts>;
  linked: (peerId: string) => boolean;
  conditionsOf?: ((peerId: string) => string[]) | undefined;
  lastSeenAt?: ((peerId: string) => number | undefined) | undefined;
  specs: SpecCompiler;
}

interface Index {
  planned: Map<string, { instance: PlannedInstance; node: string }>;
  /** By `<node> <instance>`. */
  observed: Map<string, ObservedInstance>;
  heard: Map<string, boolean>;
  /** By `<node> <instance>`: why what is not declared any more stays. */
  staying: Map<string, string>;
  /** By instance: what its own node and others say of calls. */
  troubles: Map<string, CallTroubles>;
}

function indexOf({ nodes, mailboxes, linked, self, placements }: FabricFacts): Index {
  const heard = new Map(nodes.map(({ name, peerId }) => [name, name === self || linked(peerId)]));
  const troubles = callTroubles([...mailboxes].flatMap(([node, said]) => (heard.get(node) ? [[node, said.node]] : [])));
  const staying = stayingReasons(placements);
  const index: Index = { planned: new Map(), observed: new Map(), heard, staying, troubles };
  for (const [node, { plan, instances }] of mailboxes) {
    for (const instance of plan?.instances ?? []) index.planned.set(`${node} ${instance.name}`, { instance, node });
    for (const instance of instances) index.observed.set(`${node} ${instance.instance}`, instance);
  }
  return index;
}

/** The newest plan that the node has answered: it speaks of itself at most once a second, of an instance as soon as that is ready. */
function obeyedVersion({ node, instances }: MailboxFacts): PlanVersion | undefined {
  const answered = instances.flatMap(({ version }) => (isVersion(version) ? [version] : []));
  return [...answered, ...(node?.version ? [node.version] : [])].reduce<PlanVersion | undefined>(
    (newest, version) => (newest !== undefined && compareVersions(newest, version) > 0 ? newest : version),
    undefined,
  );
}

/** How the plan that the node obeys compares with the one that was written for it; undefined while there is one of them at most. */
function planLead(mailbox: MailboxFacts | undefined): number | undefined {
  const [written, obeyed] = [mailbox?.plan, mailbox && obeyedVersion(mailbox)];
  return written === undefined || obeyed === undefined ? undefined : compareVersions(obeyed, written);
}

function applicationView(application: ApplicationRecord, facts: FabricFacts, index: Index): ApplicationView {
  const { project, name, generation, appliedAt } = application;
  const placement = facts.placements.find(({ _id }) => _id === `placement/${project}/${name}`);
  const records = recordsByName(facts);
  const instances: InstanceView[] = [];
  const microservices: ApplicationView['microservices'] = [];
  for (const microservice of application.microservices) {
    const compiled = facts.specs.compile(microservice, project, records);
    const views = Array.from({ length: microservice.replicas }, (_, number) => {
      const instance = instanceName(project, name, microservice.name, number);
      const node = placement?.instances[instance]?.node;
      const view = instanceView({
        ...{ name: instance, project, application: name, microservice: microservice.name, engine: microservice.engine },
        node,
        unplaced: placement?.unplaced[instance],
        ...('missing' in compiled
          ? { missing: `there is no ${compiled.missing} in project ${project}` }
          : { wanted: compiled }),
        planned: index.planned.get(`${node} ${instance}`)?.instance,
        observed: index.observed.get(`${node} ${instance}`),
        heard: node !== undefined && (index.heard.get(node) ?? false),
        nodesKnown: facts.nodes.length,
      });
      return { ...view, ...index.troubles.get(instance) };
    });
    instances.push(...views);
    const { engine, replicas, ports } = microservice;
    microservices.push({ name: microservice.name, engine, replicas, ports, ready: views.filter(isSettled).length });
  }
  const waiting = instances.find((view) => !isSettled(view));
  const placesOf = new Set(instances.flatMap(({ node }) => node ?? []));
  const behind = [...placesOf].find((node) => (planLead(facts.mailboxes.get(node)) ?? -1) < 0);
  let reason = '';
  if (waiting !== undefined) reason = `${waiting.name}: ${waiting.reason || waiting.state}`;
  else if (behind !== undefined) reason = `${behind} does not obey its newest plan yet`;
  return { project, name, generation, ready: reason === '', reason, appliedAt, microservices, instances };
}

/** Instances that a node still has and that no application wants there any more. */
function leftovers(node: string, known: ReadonlySet<string>, facts: FabricFacts, index: Index): InstanceView[] {
  const heard = index.heard.get(node) ?? false;
  const mailbox = facts.mailboxes.get(node);
  const planned = new Map(mailbox?.plan?.instances.map((instance) => [instance.name, instance]));
  return (mailbox?.instances ?? [])
    .filter(({ instance }) => !known.has(instance))
    .map((observed) => {
      const [project = '', application = '', microservice = ''] = observed.instance.split('.');
      const name = observed.instance;
      const view = instanceView({
        name,
        project,
        application,
        microservice,
        engine: observed.engine,
        node,
        planned: planned.get(name),
        observed,
        heard,
      });
      const stays = heard ? index.staying.get(`${node} ${name}`) : undefined;
      return { ...view, ready: false, reason: stays ?? (view.reason || 'no longer wanted here') };
    });
}

function versionOf(mailbox: MailboxFacts | undefined): { version?: PlanVersion } {
  const version = mailbox && obeyedVersion(mailbox);
  return version === undefined ? {} : { version };
}

/** A node writes it: nothing in it is taken on trust. */
function policyOf(node: ObservedNode | undefined): Pick<NodeView, 'policy'> {
  const texts = (value: unknown): string[] =>
    Array.isArray(value) ? value.filter((item) => typeof item === 'string').slice(0, policyItemsMax) : [];
  const { allow, images, processUser } = (node?.policy ?? {}) as { [member: string]: unknown };
  if (allow === undefined) return {};
  const user = processUser === null || typeof processUser === 'string' ? { processUser } : {};
  return { policy: { allow: texts(allow), ...(images !== undefined && { images: texts(images) }), ...user } };
}

/** The same. */
function boxOf(node: ObservedNode | undefined): Pick<NodeView, 'hardware' | 'location'> {
  const hardware = readHardware(node?.hardware);
  const location: unknown = node?.location;
  return {
    ...(hardware && { hardware }),
    ...(typeof location === 'string' && { location: location.slice(0, locationCharactersMax) }),
  };
}

function nodeView(record: NodeRecord, wanted: readonly InstanceView[], facts: FabricFacts, index: Index): NodeView {
  const mailbox = facts.mailboxes.get(record.name);
  const heard = index.heard.get(record.name) ?? false;
  const lastSeenAt = facts.lastSeenAt?.(record.peerId);
  const { name, peerId, router, controller, labels, engines, admittedAt } = record;
  const conditions = heard ? (facts.conditionsOf?.(peerId) ?? []) : [];
  const rest = leftovers(name, new Set(wanted.map((view) => view.name)), facts, index);
  return {
    ...{ name, peerId, router, controller, labels, engines, admittedAt },
    ...(record.unavailableEngines !== undefined && { unavailableEngines: record.unavailableEngines }),
    state: record.revoked !== undefined ? 'revoked' : heard ? 'connected' : 'unreachable',
    ...(record.revoked !== undefined && { revoked: { at: record.revoked.at, reason: record.revoked.reason } }),
    ...(lastSeenAt !== undefined && { lastSeenAt }),
    ...versionOf(mailbox),
    ...policyOf(mailbox?.node),
    ...boxOf(mailbox?.node),
    upToDate: planLead(mailbox) === 0,
    links: mailbox?.node?.links ?? [],
    addresses: mailbox?.node?.addresses ?? [],
    problems: mailbox?.node?.problems ?? [],
    ...(conditions.length > 0 && { conditions }),
    instances: [...wanted, ...rest],
  };
}

function bounded(lines: readonly string[]): string[] {
  if (lines.length <= statusProblemsMax) return [...lines];
  return [...lines.slice(0, statusProblemsMax), `and ${lines.length - statusProblemsMax} more`];
}

/** By `<project>/<application>`. */
function stagesOf(facts: FabricFacts, index: Index): Map<string, StageView> {
  const { applications, stages = [], nodes, placements, mailboxes } = facts;
  const places = placeStages({ applications, stages, nodes, previous: placements });
  const heard = (node: string): boolean => index.heard.get(node) ?? false;
  return stageViews(places, stages, { mailbox: (node) => mailboxes.get(node), heard });
}

export function fabricViews(facts: FabricFacts): {
  nodes: NodeView[];
  applications: ApplicationView[];
  stages: Map<string, StageView>;
} {
  const index = indexOf(facts);
  const stages = stagesOf(facts, index);
  const applications = facts.applications.map((application) => {
    const staged = stages.get(`${application.project}/${application.name}`)?.things;
    return { ...applicationView(application, facts, index), ...(staged && { staged }) };
  });
  const byNode = new Map<string, InstanceView[]>();
  for (const view of applications.flatMap(({ instances }) => instances)) {
    if (view.node !== undefined) byNode.set(view.node, [...(byNode.get(view.node) ?? []), view]);
  }
  return {
    nodes: facts.nodes.map((record) => nodeView(record, byNode.get(record.name) ?? [], facts, index)),
    applications,
    stages,
  };
}

/** The whole fabric. `ok` exactly when `problems` is empty. */
export function fabricStatus(facts: FabricFacts): StatusView {
  const { nodes, applications, stages } = fabricViews(facts);
  const notices = stageNotices(stages.values());
  const problems: string[] = [];
  for (const node of nodes) {
    // What an operator took out is as it should be.
    if (node.state === 'revoked') continue;
    if (node.state === 'unreachable') problems.push(`node ${node.name} is unreachable`);
    else if ((planLead(facts.mailboxes.get(node.name)) ?? 0) > 0) {
      problems.push(
        `node ${node.name} obeys a newer plan than this controller has: was the controller restored from a backup? See docs/operations.md`,
      );
    } else if (!node.upToDate) problems.push(`node ${node.name} does not obey its newest plan yet`);
    for (const condition of node.conditions ?? []) problems.push(`node ${node.name}: ${condition}`);
    if (node.state === 'connected') problems.push(...gatewayProblems(node.name, facts.mailboxes.get(node.name)?.node));
    for (const [engine, reason] of Object.entries(node.unavailableEngines ?? {})) {
      const used = node.instances.some((instance) => instance.engine === engine);
      if (used) problems.push(`node ${node.name}: the engine ${engine} cannot be used: ${reason}`);
    }
  }
  for (const { project, name, instances } of applications) {
    for (const view of instances.filter((one) => !isSettled(one))) {
      problems.push(
        `application ${project}/${name}: ${view.name} is ${view.state}${view.reason === '' ? '' : `: ${view.reason}`}`,
      );
    }
  }
  return {
    scope: 'fabric',
    fabric: facts.fabric,
    node: facts.self,
    ok: problems.length === 0,
    problems: bounded(problems),
    controllerReachable: true,
    ...(notices.length > 0 && { notices: bounded(notices) }),
    nodes,
    applications,
  };
}

export interface NodeFacts {
  fabric: { id: string; name: string };
  node: Pick<
    NodeView,
    | 'name'
    | 'peerId'
    | 'router'
    | 'controller'
    | 'labels'
    | 'engines'
    | 'hardware'
    | 'location'
    | 'links'
    | 'addresses'
    | 'problems'
    | 'conditions'
  >;
  /** The plan that is obeyed (its own copy, not the mailbox's). */
  obeyed: Plan | undefined;
  mailbox: MailboxFacts;
  controllerReachable: boolean;
}

/** One node, answered by itself: what it obeys and what runs. `ok` exactly when `problems` is empty. */
export function nodeStatus({ fabric, node, obeyed, mailbox, controllerReachable }: NodeFacts): StatusView {
  const observed = new Map(mailbox.instances.map((instance) => [instance.instance, instance]));
  const troubles = callTroubles([[node.name, mailbox.node]]);
  const instances = (obeyed?.instances ?? []).map((planned) => {
    const { name, project, application, microservice, spec } = planned;
    const view = instanceView({
      ...{ name, project, application, microservice, engine: spec.engine, node: node.name, planned },
      observed: observed.get(name),
      heard: true,
    });
    return { ...view, ...troubles.get(name) };
  });
  const newest = mailbox.plan;
  const upToDate = obeyed !== undefined && (newest === undefined || compareVersions(obeyed, newest) >= 0);
  const problems: string[] = [...(node.conditions ?? [])];
  const generation =
    obeyed === undefined ? 'it has no plan yet' : `it goes on with its plan (generation ${obeyed.generation})`;
  if (!controllerReachable) problems.push(`no controller is reachable from ${node.name}; ${generation}`);
  else if (!upToDate) problems.push(`${node.name} does not obey its newest plan yet`);
  problems.push(...gatewayProblems(node.name, mailbox.node));
  for (const view of instances.filter((one) => !isSettled(one))) {
    problems.push(`${view.name} is ${view.state}${view.reason === '' ? '' : `: ${view.reason}`}`);
  }
  const version =
    obeyed === undefined ? {} : { version: { epoch: obeyed.epoch, term: obeyed.term, generation: obeyed.generation } };
  return {
    scope: 'node',
    fabric,
    node: node.name,
    ok: problems.length === 0,
    problems: bounded(problems),
    controllerReachable,
    nodes: [{ ...node, state: 'connected', ...version, upToDate, instances }],
    applications: [],
  };
}
