// What is fetched ahead of a start: which items a microservice has, on which nodes, and until when. Pure but for the desk, which the
// planner alone calls while it holds the lease. It must never place an instance: what is fetched here starts nothing.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import { canonicalJson, sha256 } from './canonical-json.ts';
import type { ApplicationRecord, MicroserviceSpec, NodeRecord, PlacementRecord, StageRecord } from './fabric.ts';
import { nodeStageItemsMax, stageLifetimeMs } from './limits.ts';
import { instanceName, place } from './placement.ts';
import type { StageItem, StageSpec } from './plan.ts';
import type { Database } from './store.ts';

/** What the microservice needs that a box may lack; undefined when that is nothing. Only what is fetched, and what a policy judges. */
export function stageSpec(microservice: MicroserviceSpec): StageSpec | undefined {
  const volumes = microservice.volumes?.filter(({ hostPath }) => hostPath !== undefined) ?? [];
  const reached = { ...(volumes.length > 0 && { volumes }) };
  if (microservice.engine === 'process') return undefined;
  if (microservice.engine === 'wasm') {
    const { module } = microservice;
    // That of a Config comes with its instance.
    return 'config' in module ? undefined : { engine: 'wasm', module, ...reached };
  }
  const { image, platform, pullPolicy, privileged, capabilities, devices, gpus } = microservice;
  const { devices: deviceNeeds = [] } = microservice.placement;
  return {
    engine: 'docker',
    image,
    ...(platform !== undefined && { platform }),
    ...(pullPolicy !== undefined && { pullPolicy }),
    ...(privileged !== undefined && { privileged }),
    ...(capabilities !== undefined && { capabilities }),
    ...(devices !== undefined && { devices }),
    ...(gpus !== undefined && { gpus }),
    ...(deviceNeeds.length > 0 && { deviceNeeds }),
    ...reached,
  };
}

/** An image or module in the operator's words. */
export function stagedThing(spec: StageSpec): string {
  if (spec.engine === 'docker') return spec.image;
  if (spec.engine === 'process') return 'a program';
  const { module } = spec;
  return 'url' in module ? module.url : 'hostPath' in module ? module.hostPath : module.file;
}

/** One thing on one node, or that has no node. */
export interface StagePlace {
  stage: StageRecord;
  microservice: string;
  item: StageItem;
  node: string | undefined;
  /** For every node why its instances are not placed there, where there is none. */
  unplaced: Record<string, string> | undefined;
}

/**
 * Where instances are, or would be if it were applied now: what is applied keeps its places. Of instances of one microservice on
 * one node there is one.
 */
export function placeStages({
  applications,
  stages,
  nodes,
  previous,
}: {
  applications: readonly ApplicationRecord[];
  stages: readonly StageRecord[];
  nodes: readonly NodeRecord[];
  previous: readonly PlacementRecord[];
}): StagePlace[] {
  if (stages.length === 0) return [];
  const keyOf = ({ project, name }: { project: string; name: string }): string => `${project}/${name}`;
  const staged = new Set(stages.map(keyOf));
  const wanted = stages.map((stage): ApplicationRecord => {
    const { project, name, microservices, askedAt } = stage;
    return { _id: `application/${project}/${name}`, project, name, microservices, generation: 0, appliedAt: askedAt };
  });
  const others = applications.filter((application) => !staged.has(keyOf(application)));
  const places = new Map(
    place({ applications: [...others, ...wanted], nodes, previous }).map((record) => [record._id as string, record]),
  );
  return stages.flatMap((stage) => {
    const { instances = {}, unplaced = {} } = places.get(`placement/${keyOf(stage)}`) ?? {};
    return stage.microservices.flatMap((microservice) => {
      const spec = stageSpec(microservice);
      if (spec === undefined) return [];
      const item = { id: sha256(canonicalJson(spec)), askedAt: stage.askedAt, spec };
      const names = Array.from({ length: microservice.replicas }, (_, index) =>
        instanceName(stage.project, stage.name, microservice.name, index),
      );
      const at = (node: string | undefined, why?: Record<string, string>): StagePlace => ({
        ...{ stage, microservice: microservice.name, item, node, unplaced: why },
      });
      const on = [...new Set(names.flatMap((name) => instances[name]?.node ?? []))].sort();
      const nowhere = names.map((name) => unplaced[name]).find((why) => why !== undefined);
      return [...on.map((node) => at(node)), ...(nowhere === undefined ? [] : [at(undefined, nowhere)])];
    });
  });
}

/** Each node's part of its plan; what is asked for twice is there once, as it was asked last. */
export function stageByNode(places: readonly StagePlace[]): Map<string, StageItem[]> {
  const byNode = new Map<string, Map<string, StageItem>>();
  for (const { node, item } of places) {
    if (node === undefined) continue;
    const items = byNode.get(node) ?? new Map<string, StageItem>();
    byNode.set(node, items);
    const before = items.get(item.id);
    if (before !== undefined ? before.askedAt < item.askedAt : items.size < nodeStageItemsMax) items.set(item.id, item);
  }
  const sorted = (items: Map<string, StageItem>): StageItem[] =>
    [...items.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
  return new Map([...byNode].map(([node, items]) => [node, sorted(items)]));
}

/** Removes what has expired, and asks for a round when the next one does. */
export function createStageDesk({
  fabric,
  clock,
  holdsLease,
  schedule,
}: {
  fabric: Database;
  clock: Clock;
  holdsLease: () => boolean;
  schedule: () => void;
}): { current(stages: readonly StageRecord[]): Promise<StageRecord[]>; close(): void } {
  let timer: TimerId | undefined;
  const close = (): void => {
    clock.clearTimeout(timer);
    timer = undefined;
  };
  return {
    async current(stages) {
      close();
      const now = clock.now();
      const held = stages.filter(({ expiresAt }) => expiresAt > now);
      for (const stage of stages) if (!held.includes(stage) && holdsLease()) await fabric.remove(stage._id);
      const next = Math.min(...held.map(({ expiresAt }) => expiresAt));
      // A clock that was set back must not make it wait for longer.
      if (held.length > 0) timer = clock.setTimeout(schedule, Math.min(next - now, stageLifetimeMs));
      return held;
    },
    close,
  };
}
