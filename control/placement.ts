// Where instances run. A pure function of documents: the same input gives the same places. Called by the planner; it must never
// move an instance whose place is still allowed.

import type { ApplicationRecord, MicroserviceSpec, NodeRecord, PlacementRecord } from './fabric.ts';
import { nodeInstancesMax, unplacedReasonsMax } from './limits.ts';
import { boxRefusal, type GivenAway, giveAway, nothingGiven } from './placement-devices.ts';

export interface PlaceInput {
  applications: readonly ApplicationRecord[];
  nodes: readonly NodeRecord[];
  previous: readonly PlacementRecord[];
  /** Names of nodes that can be heard; new instances prefer them. Undefined: all. */
  reachable?: ReadonlySet<string>;
}

export function instanceName(project: string, application: string, microservice: string, index: number): string {
  return `${project}.${application}.${microservice}.${index}`;
}

/** Why the node may not run the microservice at all; undefined when it may. */
function refusal(node: NodeRecord, microservice: MicroserviceSpec): string | undefined {
  const { placement, engine } = microservice;
  if (node.revoked !== undefined) return 'is revoked';
  if (placement.node !== undefined && placement.node !== node.name) return `pinned to ${placement.node}`;
  for (const [key, wanted] of Object.entries(placement.labels ?? {})) {
    const value = node.labels[key];
    if (value === undefined) return `has no label ${key} (${key}=${wanted} is wanted)`;
    if (value !== wanted) return `label ${key} is ${value}, not ${wanted}`;
  }
  const arch = node.placementHardware?.arch ?? node.labels['selvedge/arch'];
  if (placement.arch !== undefined && placement.arch !== arch)
    return `is ${arch ?? 'of an unknown architecture'}, not ${placement.arch}`;
  return node.engines.includes(engine) ? undefined : `has no engine ${engine}`;
}

/** The same for what is not there yet: an engine that does not answer keeps what it has and gets nothing new. */
function refusalOfNew(node: NodeRecord, microservice: MicroserviceSpec, given: GivenAway): string | undefined {
  const gone = node.unavailableEngines?.[microservice.engine];
  return (
    refusal(node, microservice) ??
    (gone && `engine ${microservice.engine} cannot be used: ${gone}`) ??
    boxRefusal(node, microservice, given)
  );
}

interface Load {
  /** Instances on the node, all applications. */
  all: number;
  /** Instances of one microservice on the node, by `<project>/<application>/<microservice>`. */
  of: Map<string, number>;
  given: GivenAway;
}

function byText<T>(text: (item: T) => string): (left: T, right: T) => number {
  return (left, right) => (text(left) < text(right) ? -1 : text(left) > text(right) ? 1 : 0);
}

/** The nodes that may run it, and why the others may not. */
function split(nodes: readonly NodeRecord[], microservice: MicroserviceSpec, givenBy: (node: string) => GivenAway) {
  const allowed: NodeRecord[] = [];
  const refused: [string, string][] = [];
  for (const node of nodes) {
    const reason = refusalOfNew(node, microservice, givenBy(node.name));
    if (reason === undefined) allowed.push(node);
    else refused.push([node.name, reason]);
  }
  return { allowed, refused } as { allowed: NodeRecord[]; refused: [string, string][]; first?: string };
}

function reasonsFor(
  { allowed, refused }: ReturnType<typeof split>,
  reasonsMax: number,
  boxReason: (node: NodeRecord) => string | undefined,
): Record<string, string> {
  const full = allowed.map((node): [string, string] => [
    node.name,
    // What there was may have been given to others of this round.
    boxReason(node) ?? `already has ${nodeInstancesMax} instances`,
  ]);
  const all = [...refused, ...full].sort(byText(([name]) => name));
  const shown = all.slice(0, reasonsMax);
  if (all.length > shown.length)
    shown.push(['*', `and ${all.length - shown.length} more nodes, for reasons like these`]);
  return Object.fromEntries(shown);
}

type Score = [ofMicroservice: number, silent: number, all: number, name: string];

/** Fewest of this microservice, then one that can be heard, then fewest of all, then by name. */
function better(left: Score, right: Score): boolean {
  for (const [index, value] of left.entries()) {
    const other = right[index] as number | string;
    if (value !== other) return value < other;
  }
  return false;
}

/**
 * One record for each application, in order of its id. Filters: pinned node, labels, architecture, engine, devices, memory, room. Score:
 * spread of the microservice over nodes, then of all instances. A previous place that is still allowed is kept, whatever became of its
 * devices and memory; fewer replicas drop the highest indices.
 * An instance without a place says for every node why not (later ones of a microservice refer to the first, to stay bounded).
 */
export function place({ applications, nodes, previous, reachable }: PlaceInput): PlacementRecord[] {
  const sortedNodes = [...nodes].sort(byText(({ name }) => name));
  const nodeByName = new Map(sortedNodes.map((node) => [node.name, node]));
  const loads = new Map<string, Load>(
    sortedNodes.map(({ name }) => [name, { all: 0, of: new Map(), given: nothingGiven() }]),
  );
  const before = new Map(previous.map((record) => [record._id as string, record]));
  const take = (node: string, key: string, microservice: MicroserviceSpec): void => {
    const load = loads.get(node) as Load;
    giveAway(nodeByName.get(node) as NodeRecord, microservice, load.given);
    load.all += 1;
    load.of.set(key, (load.of.get(key) ?? 0) + 1);
  };

  const givenBy = (node: string): GivenAway => (loads.get(node) as Load).given;

  const work = [...applications].sort(byText(({ project, name }) => `${project}/${name}`)).map((application) => ({
    application,
    instances: new Map<string, string>(),
    missing: [] as { microservice: MicroserviceSpec; name: string }[],
  }));

  for (const { application, instances, missing } of work) {
    const { project, name: applicationName } = application;
    const stored = before.get(`placement/${project}/${applicationName}`);
    // What was on its way out and is declared again is taken up where it still is.
    const old = { ...stored?.leaving, ...stored?.instances };
    for (const microservice of application.microservices) {
      const key = `${project}/${applicationName}/${microservice.name}`;
      for (let index = 0; index < microservice.replicas; index += 1) {
        const name = instanceName(project, applicationName, microservice.name, index);
        const kept = nodeByName.get(old[name]?.node ?? '');
        const room = kept !== undefined && (loads.get(kept.name)?.all ?? 0) < nodeInstancesMax;
        if (kept !== undefined && room && refusal(kept, microservice) === undefined) {
          instances.set(name, kept.name);
          take(kept.name, key, microservice);
        } else missing.push({ microservice, name });
      }
    }
  }

  return work.map(({ application, instances, missing }): PlacementRecord => {
    const unplaced: PlacementRecord['unplaced'] = {};
    const groups = new Map<MicroserviceSpec, ReturnType<typeof split>>();
    let reasonsLeft = unplacedReasonsMax;
    for (const { microservice, name } of missing) {
      const key = `${application.project}/${application.name}/${microservice.name}`;
      const group = groups.get(microservice) ?? split(sortedNodes, microservice, givenBy);
      groups.set(microservice, group);
      let best: { node: string; score: Score } | undefined;
      for (const node of group.allowed) {
        const load = loads.get(node.name) as Load;
        if (load.all >= nodeInstancesMax || boxRefusal(node, microservice, load.given) !== undefined) continue;
        const silent = reachable === undefined || reachable.has(node.name) ? 0 : 1;
        const score: Score = [load.of.get(key) ?? 0, silent, load.all, node.name];
        if (best === undefined || better(score, best.score)) best = { node: node.name, score };
      }
      if (best !== undefined) {
        instances.set(name, best.node);
        take(best.node, key, microservice);
      } else if (group.first !== undefined && reasonsLeft < sortedNodes.length) {
        unplaced[name] = { '*': `as for ${group.first}` };
      } else {
        unplaced[name] = reasonsFor(group, Math.max(reasonsLeft, 1), (node) =>
          boxRefusal(node, microservice, givenBy(node.name)),
        );
        reasonsLeft = Math.max(0, reasonsLeft - sortedNodes.length);
        group.first ??= name;
      }
    }
    const sorted = [...instances].sort(byText(([name]) => name));
    const ordered = application.microservices.filter(({ dependsOn }) => dependsOn.length > 0);
    const order = ordered.map(({ name, dependsOn, stopTimeoutMs }) => [name, { dependsOn, stopTimeoutMs }] as const);
    return {
      _id: `placement/${application.project}/${application.name}`,
      instances: Object.fromEntries(sorted.map(([name, node]) => [name, { node }])),
      unplaced,
      ...(order.length > 0 && { order: Object.fromEntries(order) }),
    };
  });
}
