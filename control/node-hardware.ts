// What of a node's box placement looks at: what the node observes of itself, taken over into its record. Called by node-planner.ts when a
// node's observations change. Nothing in it is taken on trust, and what changes often is not taken at all.

import { canonicalJson } from './canonical-json.ts';
import type { NodeRecord, PlacementHardware } from './fabric.ts';
import { readHardware } from './hardware.ts';
import type { Database, StoredDocument } from './store.ts';

/** Pure; undefined when the node does not say. */
export function placementHardware(observed: StoredDocument | undefined): PlacementHardware | undefined {
  const hardware = readHardware(observed?.['hardware']);
  if (hardware === undefined) return undefined;
  const { allow } = (observed?.['policy'] ?? {}) as { allow?: unknown };
  return {
    arch: hardware.arch,
    memoryBytes: hardware.memory.bytes,
    devices: hardware.devices.map(({ id, kind, paths, links, vendor, product, serial, partOf }) => ({
      ...{ id, kind, paths },
      ...(links && { links }),
      ...(vendor !== undefined && { vendor }),
      ...(product !== undefined && { product }),
      ...(serial !== undefined && { serial }),
      ...(partOf !== undefined && { partOf }),
    })),
    devicesAllowed: Array.isArray(allow) && allow.includes('devices'),
  };
}

/** Brings the record of a node in line with its `observed/node`. Rejects when a database does. */
export async function takeHardware(fabric: Database, mailbox: Database, record: NodeRecord): Promise<void> {
  const next = placementHardware(await mailbox.get('observed/node'));
  if (next === undefined || canonicalJson(next) === canonicalJson(record.placementHardware ?? null)) return;
  await fabric.update(
    record._id,
    (current) => current && ({ ...current, placementHardware: next } as unknown as StoredDocument),
  );
}
