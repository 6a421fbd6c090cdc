// The plan of one node, from documents. Pure (signing tickets is a function that it is given). Called by the planner; it must never
// depend on what the node reports.

import { balancingKey } from './balancing.ts';
import type {
  ApplicationRecord,
  ConfigRecord,
  MicroserviceSpec,
  NodeRecord,
  PlacementRecord,
  SecretRecord,
} from './fabric.ts';
import type { PlannedGateway } from './gateway.ts';
import { gatewayFiles, gatewayIdentity, publicNamesOf } from './gateway-plan.ts';
import { nodeInstancesMax } from './limits.ts';
import type {
  Balancing,
  CallableService,
  FileDocument,
  MicroserviceName,
  Plan,
  PlannedInstance,
  PlanVersion,
  StageItem,
  Ticket,
  WorkloadSpec,
} from './plan.ts';
import { asTicket, decodePayload } from './plan-version.ts';
import { portsOf, portText } from './ports.ts';
import { createSpecCompiler, filesOf, isWorkload, recordsByName, type SpecCompiler } from './workload-spec.ts';

export interface CompileInput {
  node: Pick<NodeRecord, 'name' | 'peerId'>;
  applications: readonly ApplicationRecord[];
  configs: readonly ConfigRecord[];
  secrets: readonly SecretRecord[];
  placements: readonly PlacementRecord[];
  /** Of services of other applications, by `balancingKey`: those that are called go by what they say, not by what their callers do. */
  balancings?: ReadonlyMap<string, Balancing>;
  version: PlanVersion;
  fabricId: string;
  /** The JWS of a ticket. */
  signTicket: (ticket: Ticket) => string;
  /** The plan that is there now: tickets that still say the same are taken over. */
  previous?: Plan | undefined;
  specs?: SpecCompiler;
  stage?: StageItem[] | undefined;
  gateways?: PlannedGateway[] | undefined;
  /** Names of instances that stay as they were planned before, whatever applications say. */
  staying?: readonly string[];
}

export interface CompiledPlan {
  plan: Plan;
  files: FileDocument[];
  /** The services whose names the node's authority must cover, sorted. */
  covers: MicroserviceName[];
  /** DNS names of its gateways, that it must allow beside. */
  publicNames: string[];
  /** What kept an instance from following its application, one line each. */
  problems: string[];
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function callsOf(application: ApplicationRecord): CallableService[] {
  return application.microservices.flatMap(({ name, ports, balancing }) =>
    ports.map(({ port, protocol }) => ({
      project: application.project,
      application: application.name,
      microservice: name,
      port,
      ...(protocol && { protocol }),
      ...(balancing && { balancing }),
    })),
  );
}

/** All of its application, and what it declares of others: whether that is allowed is decided at each call. */
function callsWith(
  own: CallableService[],
  { project }: ApplicationRecord,
  { calls = [] }: MicroserviceSpec,
  balancings: ReadonlyMap<string, Balancing>,
): CallableService[] {
  const keyOf = (call: CallableService): string =>
    `${call.microservice}.${call.application}.${call.project}:${portText(call)}`;
  const known = new Set(own.map(keyOf));
  const declared = calls.map(({ application, microservice, port, ...of }) => {
    const name = { project, ...of, application, microservice };
    const balancing = balancings.get(balancingKey(name));
    return { ...name, port, ...(balancing && { balancing }) };
  });
  return [...own, ...declared.filter((call) => !known.has(keyOf(call)))];
}

/** Distinct microservices of a plan, sorted, and those that its gateways call as: what its authority must cover. */
export function coveredBy({ instances, gateways = [] }: Pick<Plan, 'instances' | 'gateways'>): MicroserviceName[] {
  const byKey = new Map<string, MicroserviceName>();
  for (const { project, application, microservice } of [...instances, ...gateways.map(gatewayIdentity)]) {
    byKey.set(`${project}/${application}/${microservice}`, { project, application, microservice });
  }
  return [...byKey].sort(([left], [right]) => compareText(left, right)).map(([, name]) => name);
}

/** The ticket that an instance has already, when it says what a new one would say, version aside. */
function ticketInUse(wanted: Ticket, previous: PlannedInstance | undefined): string | undefined {
  const held = previous === undefined ? undefined : asTicket(decodePayload(previous.ticket));
  if (held === undefined) return undefined;
  const same =
    held.fabricId === wanted.fabricId &&
    held.instance === wanted.instance &&
    held.peerId === wanted.peerId &&
    held.project === wanted.project &&
    held.application === wanted.application &&
    held.microservice === wanted.microservice &&
    `${held.ports}` === `${wanted.ports}` &&
    `${held.udpPorts ?? []}` === `${wanted.udpPorts ?? []}`;
  return same ? previous?.ticket : undefined;
}

/**
 * Everything the node must run, and what stays there for others. Instances are sorted by name. An instance whose config is missing stays as it was planned before
 * (or is left out when it is new), and `problems` says so.
 */
export function compilePlan(input: CompileInput): CompiledPlan {
  const { node, applications, placements, version, fabricId, signTicket, previous } = input;
  const specs = input.specs ?? createSpecCompiler();
  const balancings = input.balancings ?? new Map<string, Balancing>();
  const records = recordsByName(input);
  const placementById = new Map(placements.map((placement) => [placement._id as string, placement]));
  const before = new Map(previous?.instances.map((instance) => [instance.name, instance]));
  const instances: PlannedInstance[] = [];
  const keptSpecs: WorkloadSpec[] = [];
  const problems: string[] = [];

  const planInstance = (
    application: ApplicationRecord,
    microservice: MicroserviceSpec,
    compiled: ReturnType<SpecCompiler['compile']>,
    calls: CallableService[],
    at: { name: string; index: number },
  ): void => {
    const kept = before.get(at.name);
    if ('missing' in compiled) {
      problems.push(`${at.name}: there is no ${compiled.missing} in project ${application.project}`);
      if (kept === undefined) return;
      instances.push(kept);
      keptSpecs.push(kept.spec);
      return;
    }
    const identity = { project: application.project, application: application.name, microservice: microservice.name };
    const ports = portsOf(microservice.ports);
    const udpPorts = portsOf(microservice.ports, 'udp');
    const ticket: Ticket = {
      ...{ ...version, fabricId, ...identity, instance: at.name, peerId: node.peerId, ports },
      ...(udpPorts.length > 0 && { udpPorts }),
    };
    instances.push({
      ...identity,
      ...at,
      spec: compiled.spec,
      // A hash stays as long as it stands for the same: whatever version of this program made it, nothing is replaced for it.
      specHash: kept !== undefined && isWorkload(kept, compiled.specHash) ? kept.specHash : compiled.specHash,
      calls,
      dependsOn: microservice.dependsOn,
      ticket: ticketInUse(ticket, kept) ?? signTicket(ticket),
    });
  };

  for (const application of applications) {
    const places = placementById.get(`placement/${application.project}/${application.name}`)?.instances ?? {};
    const calls = callsOf(application);
    for (const microservice of application.microservices) {
      let compiled: ReturnType<SpecCompiler['compile']> | undefined;
      for (let index = 0; index < microservice.replicas; index += 1) {
        const name = `${application.project}.${application.name}.${microservice.name}.${index}`;
        if (places[name]?.node !== node.name) continue;
        compiled ??= specs.compile(microservice, application.project, records);
        planInstance(application, microservice, compiled, callsWith(calls, application, microservice, balancings), {
          name,
          index,
        });
      }
    }
  }

  const declared = new Set(instances.map(({ name }) => name));
  for (const name of input.staying ?? []) {
    const kept = before.get(name);
    // What is new comes before what goes.
    if (kept === undefined || declared.has(name) || instances.length >= nodeInstancesMax) continue;
    instances.push(kept);
    keptSpecs.push(kept.spec);
  }

  instances.sort((left, right) => compareText(left.name, right.name));
  // Of a slot that has changed since, what the records say counts.
  const specsOf = [...keptSpecs, ...instances.map(({ spec }) => spec).filter((spec) => !keptSpecs.includes(spec))];
  const { gateways = [] } = input;
  const named = [...specsOf.flatMap(filesOf), ...gateways.flatMap(gatewayFiles)];
  const hashes = new Map(named.map(({ slot, sha256 }) => [slot, sha256]));
  const files = [...input.configs, ...input.secrets]
    .flatMap((record) => specs.files(record))
    .filter(({ _id }) => hashes.has(_id.slice('desired/file/'.length)));
  const listed = [...hashes]
    .sort(([left], [right]) => compareText(left, right))
    .map(([slot, hash]) => ({ slot, sha256: hash }));
  const plan: Plan = { ...version, fabricId, node: node.name, peerId: node.peerId, instances, files: listed };
  if (input.stage !== undefined && input.stage.length > 0) plan.stage = input.stage;
  if (gateways.length > 0) plan.gateways = gateways;
  return { plan, files, covers: coveredBy(plan), publicNames: publicNamesOf(gateways), problems };
}
