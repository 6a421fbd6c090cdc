// What each node's plan is made from, so that a node whose inputs are the same is not compiled again. Pure; called by the planner.
// It must never leave out something that a plan depends on.

import { balancingKey, balancingsOf } from './balancing.ts';
import { canonicalJson, sha256 } from './canonical-json.ts';
import { namedContent } from './content-references.ts';
import type { ApplicationRecord, ConfigRecord, NodeRecord, PlacementRecord, SecretRecord } from './fabric.ts';
import type { PlannedGateway } from './gateway.ts';
import { stayingByNode } from './leaving.ts';
import type { Balancing, StageItem } from './plan.ts';

export interface NodeInputs {
  node: NodeRecord;
  /** Those with an instance on the node. */
  applications: ApplicationRecord[];
  /** By id: those that these applications name. */
  configs: Map<string, ConfigRecord>;
  secrets: Map<string, SecretRecord>;
  placements: PlacementRecord[];
  /** Of the services of other applications that these call, how they are balanced where they say so, by `balancingKey`. */
  balancings: Map<string, Balancing>;
  /** What it fetches ahead. */
  stage?: StageItem[];
  /** What it publishes. */
  gateways?: PlannedGateway[];
  /** Instances that are not declared any more and stay in its plan. */
  staying: string[];
}

/** Equal keys, equal plans (version and tickets aside). */
export function inputsKey({
  node,
  applications,
  configs,
  secrets,
  placements,
  balancings,
  staying,
  stage = [],
  gateways = [],
}: NodeInputs): string {
  const revisions = [...applications, ...configs.values(), ...secrets.values()].map(
    ({ _id, _rev }) => `${_id}@${_rev}`,
  );
  const here = placements.flatMap(({ instances }) =>
    Object.entries(instances).flatMap(([name, { node: place }]) => (place === node.name ? [name] : [])),
  );
  return sha256(
    canonicalJson([node.peerId, node.authorityPublicKey, revisions, here, [...balancings], staying, stage, gateways]),
  );
}

export function inputsByNode({
  nodes,
  applications,
  configs,
  secrets,
  placements,
}: {
  nodes: readonly NodeRecord[];
  applications: readonly ApplicationRecord[];
  configs: readonly ConfigRecord[];
  secrets: readonly SecretRecord[];
  placements: readonly PlacementRecord[];
}): NodeInputs[] {
  const inputs = new Map(
    nodes.map((node): [string, NodeInputs] => [
      node.name,
      {
        ...{ node, applications: [], placements: [], staying: [] },
        ...{ configs: new Map(), secrets: new Map(), balancings: new Map() },
      },
    ]),
  );
  const configById = new Map(configs.map((config) => [config._id as string, config]));
  const secretById = new Map(secrets.map((secret) => [secret._id as string, secret]));
  const placementById = new Map(placements.map((record) => [record._id as string, record]));
  const balancings = balancingsOf(applications);
  for (const application of applications) {
    const placement = placementById.get(`placement/${application.project}/${application.name}`);
    if (placement === undefined) continue;
    const used = usedBy(application);
    const called = calledBy(application, balancings);
    for (const name of new Set(Object.values(placement.instances).map(({ node }) => node))) {
      const target = inputs.get(name);
      target?.applications.push(application);
      target?.placements.push(placement);
      for (const id of used) {
        const [config, secret] = [configById.get(id), secretById.get(id)];
        if (config !== undefined) target?.configs.set(id, config);
        if (secret !== undefined) target?.secrets.set(id, secret);
      }
      for (const [key, balancing] of called) target?.balancings.set(key, balancing);
    }
  }
  for (const [node, names] of stayingByNode(placements)) inputs.get(node)?.staying.push(...names.sort());
  return [...inputs.values()];
}

/** What the services say that it declares to call. */
function calledBy(
  { project, microservices }: ApplicationRecord,
  balancings: ReadonlyMap<string, Balancing>,
): [string, Balancing][] {
  return microservices.flatMap(({ calls = [] }) =>
    calls.flatMap((call): [string, Balancing][] => {
      const key = balancingKey({ project, ...call });
      const balancing = balancings.get(key);
      return balancing === undefined ? [] : [[key, balancing]];
    }),
  );
}

/** Ids of the Configs and Secrets that it names. */
function usedBy({ project, microservices }: ApplicationRecord): Set<string> {
  return new Set(microservices.flatMap(namedContent).map(({ kind, name }) => `${kind}/${project}/${name}`));
}
