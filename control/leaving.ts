// The order of stopping across nodes: an instance that is not declared any more stays in its node's plan until what depends on it has ended
// on other nodes (each node keeps the order of its own, node-runtime/stop-order.ts). Pure; called by the planner's round and by the views.
// It must never hold anything for ever: a node that does not answer is waited for within a bound.

import type { Leaving, PlacementRecord } from './fabric.ts';
import { leavingMarginMs, leavingShownMax } from './limits.ts';

type Entries = Readonly<Record<string, Leaving>>;
type Placed = PlacementRecord['instances'];

const microserviceOf = (instance: string): string => instance.split('.')[2] ?? '';
const endOf = ({ endingSince = 0, stopTimeoutMs }: Leaving): number => endingSince + stopTimeoutMs + leavingMarginMs;

function grouped<T>(pairs: readonly (readonly [string, T])[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const [key, item] of pairs) {
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

interface Order {
  /** Who stays. */
  staying: ReadonlySet<string>;
  /** For whom: those on other nodes that depend on it, and those on its own that stay themselves. */
  dependantsOf(instance: string): string[];
  isWaitedFor(instance: string): boolean;
}

function orderOf(leaving: Entries): Order {
  const entries = Object.entries(leaving);
  const dependants = grouped(
    entries.flatMap(([name, { dependsOn }]) => dependsOn.map((microservice) => [microservice, name] as const)),
  );
  const staying = new Set<string>();
  const holds = (other: string, node: string): boolean => leaving[other]?.node !== node || staying.has(other);
  const dependingOn = (name: string): string[] => dependants.get(microserviceOf(name)) ?? [];
  for (let before = -1; before < staying.size; ) {
    before = staying.size;
    for (const [name, { node, endingSince }] of entries)
      if (endingSince === undefined && dependingOn(name).some((other) => holds(other, node))) staying.add(name);
  }
  // A circle, which no manifest can say: nothing may stay for ever.
  if (staying.size === entries.length) staying.clear();
  const stayingOf = grouped([...staying].map((name) => [microserviceOf(name), name] as const));
  return {
    staying,
    dependantsOf: (name) => dependingOn(name).filter((other) => holds(other, leaving[name]?.node ?? '')),
    isWaitedFor: (name) =>
      (leaving[name]?.dependsOn ?? []).some((microservice) =>
        stayingOf.get(microservice)?.some((other) => holds(name, leaving[other]?.node ?? '')),
      ),
  };
}

/** By node: the instances that stay in its plan. */
export function stayingByNode(placements: readonly Pick<PlacementRecord, 'leaving'>[]): Map<string, string[]> {
  const pairs = placements.flatMap(({ leaving = {} }) =>
    [...orderOf(leaving).staying].map((name) => [leaving[name]?.node ?? '', name] as const),
  );
  return grouped(pairs);
}

/** Why, in the operator's words; by `<node> <instance>`. */
export function stayingReasons(placements: readonly Pick<PlacementRecord, 'leaving'>[]): Map<string, string> {
  const reasons = new Map<string, string>();
  for (const { leaving = {} } of placements) {
    const { staying, dependantsOf } = orderOf(leaving);
    for (const name of staying) {
      const dependants = dependantsOf(name);
      const shown = dependants.slice(0, leavingShownMax).map((other) => `${other} on ${leaving[other]?.node}`);
      const more = dependants.length - shown.length;
      const all = more > 0 ? [...shown, `${more} more`] : shown;
      const have = all.length > 1 ? 'have' : 'has';
      reasons.set(`${leaving[name]?.node} ${name}`, `stays until ${all.join(' and ')} ${have} ended`);
    }
  }
  return reasons;
}

/** Those that stay or are waited for, and those that may be waited for yet, by what is declared still. */
function relevant(leaving: Entries, declared: Placed): Entries {
  const entries = Object.entries(leaving);
  if (entries.length === 0) return leaving;
  const { staying, isWaitedFor } = orderOf(leaving);
  const nodesOf = grouped(Object.entries(declared).map(([name, { node }]) => [microserviceOf(name), node] as const));
  const mayHold = ({ dependsOn, node }: Leaving): boolean =>
    dependsOn.some((microservice) => nodesOf.get(microservice)?.some((other) => other !== node));
  return Object.fromEntries(entries.filter(([name, one]) => staying.has(name) || isWaitedFor(name) || mayHold(one)));
}

/** What is written as placed and is not declared any more: of it, what counts for the order across nodes. */
function leavers(stored: PlacementRecord, wanted: PlacementRecord | undefined): Entries {
  if (stored.order === undefined && stored.leaving === undefined) return {};
  const { instances = {}, unplaced = {} } = wanted ?? {};
  const placed = Object.entries(stored.instances).map(([name, { node }]): [string, Leaving] => {
    const { dependsOn = [], stopTimeoutMs = 0 } = stored.order?.[microserviceOf(name)] ?? {};
    return [name, { node, dependsOn, stopTimeoutMs }];
  });
  const all = [...Object.entries(stored.leaving ?? {}), ...placed];
  const gone = all.filter(([name]) => instances[name] === undefined && unplaced[name] === undefined);
  return relevant(Object.fromEntries(gone), instances);
}

export interface Leavers {
  /** The application's record, which is there for as long as somebody leaves. */
  id: PlacementRecord['_id'];
  declared: Placed;
  leaving: Entries;
}

/** Who leaves by what is declared now (`wanted`) and what was written last (`stored`): of these it has to be known who is still there. */
export function findLeavers(wanted: readonly PlacementRecord[], stored: readonly PlacementRecord[]): Leavers[] {
  const byId = new Map(wanted.map((record) => [record._id as string, record]));
  return stored.flatMap((record) => {
    const leaving = leavers(record, byId.get(record._id));
    if (Object.keys(leaving).length === 0) return [];
    return [{ id: record._id, declared: byId.get(record._id)?.instances ?? {}, leaving }];
  });
}

export interface Settled extends Leavers {
  /** When the next one counts as ended although it is not; infinite when nobody is waited for. */
  nextAt: number;
  /** Those that others have waited for as long as they may. */
  late: { instance: string; node: string }[];
}

/** Who of them is still there, and who of these may end now. */
export function settleLeavers(
  { id, declared, leaving }: Leavers,
  isThere: (node: string, instance: string) => boolean,
  now: number,
): Settled {
  const { isWaitedFor } = orderOf(leaving);
  const late: Settled['late'] = [];
  const there: Record<string, Leaving> = {};
  for (const [instance, one] of Object.entries(leaving)) {
    const { node, endingSince } = one;
    if (!isThere(node, instance)) continue;
    // A clock that was set back must not make anybody wait for longer.
    const still = endingSince === undefined ? one : { ...one, endingSince: Math.min(endingSince, now) };
    if (endingSince === undefined || now < endOf(still)) there[instance] = still;
    else if (isWaitedFor(instance)) late.push({ instance, node });
  }
  const { staying } = orderOf(there);
  const told = Object.entries(there).map(([name, one]): [string, Leaving] => [
    name,
    staying.has(name) ? one : { ...one, endingSince: one.endingSince ?? now },
  ]);
  const settled = relevant(Object.fromEntries(told), declared);
  const ends = Object.values(settled).filter(({ endingSince }) => endingSince !== undefined);
  return { id, declared, leaving: settled, late, nextAt: Math.min(...ends.map(endOf)) };
}

/** The records to write: `wanted`, with who leaves. */
export function withLeaving(wanted: readonly PlacementRecord[], settled: readonly Leavers[]): PlacementRecord[] {
  const left = new Map(settled.filter(({ leaving }) => Object.keys(leaving).length > 0).map((one) => [one.id, one]));
  const records = wanted.map((record) => {
    const one = left.get(record._id);
    left.delete(record._id);
    return one === undefined ? record : { ...record, leaving: one.leaving };
  });
  const alone = [...left.values()].map(({ id, leaving }) => ({ _id: id, instances: {}, unplaced: {}, leaving }));
  return [...records, ...alone];
}
