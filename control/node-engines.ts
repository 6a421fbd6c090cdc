// Which engines a node offers: what it observes of itself, taken over into its record, from which placement reads. Called by
// node-planner.ts when a node's observations change. It must never forget an engine: what runs on one that is away stays there.

import { canonicalJson } from './canonical-json.ts';
import type { NodeRecord, ObservedEngine } from './fabric.ts';
import { engineReasonCharactersMax, enginesMax } from './limits.ts';
import type { Database, StoredDocument } from './store.ts';

type Offered = Required<Pick<NodeRecord, 'engines' | 'unavailableEngines'>>;

/** A node writes this document: nothing in it is taken on trust. */
function readEngines(value: unknown): ObservedEngine[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, enginesMax).flatMap((item: Partial<ObservedEngine> | null) => {
    if (typeof item?.name !== 'string' || !/^[a-z][a-z0-9-]{0,30}$/.test(item.name)) return [];
    const { name, unavailable } = item;
    if (typeof unavailable !== 'string') return [{ name }];
    return [{ name, unavailable: unavailable.slice(0, engineReasonCharactersMax) }];
  });
}

/** What the record says next; undefined when it says so already. Pure. */
export function offeredEngines(
  { engines, unavailableEngines = {} }: Pick<NodeRecord, 'engines' | 'unavailableEngines'>,
  observed: unknown,
): Offered | undefined {
  const seen = readEngines(observed);
  if (seen.length === 0) return undefined;
  const usable = seen.filter(({ unavailable }) => unavailable === undefined).map(({ name }) => name);
  const known = [...new Set([...engines, ...usable])].slice(0, enginesMax);
  const reasons = new Map(seen.map(({ name, unavailable }) => [name, unavailable]));
  const gone = known.filter((name) => !usable.includes(name));
  const next: Offered = {
    engines: known,
    unavailableEngines: Object.fromEntries(
      gone.map((name) => [name, reasons.get(name) ?? 'the node no longer has it']),
    ),
  };
  return canonicalJson(next) === canonicalJson({ engines, unavailableEngines }) ? undefined : next;
}

/** Brings the record of a node in line with its `observed/node`. Rejects when a database does. */
export async function takeEngines(fabric: Database, mailbox: Database, record: NodeRecord): Promise<void> {
  const observed = (await mailbox.get('observed/node'))?.engines;
  if (offeredEngines(record, observed) === undefined) return;
  await fabric.update(record._id, (current) => {
    if (current === undefined) return undefined;
    const next = offeredEngines(current as unknown as NodeRecord, observed);
    return next && ({ ...current, ...next } as StoredDocument);
  });
}
