// The fabric's records in memory, kept current by the changes feed, so that a round of planning reads only what changed. Called by the
// planner; it must never write.

import { type FabricKind, type FabricRecords, fabricKinds, kindOfId, listRecords, readRecord } from './documents.ts';
import type { Database } from './store.ts';

export interface FabricMirror {
  /** Reads what changed since the last call. Malformed documents count as absent; `onMalformed` hears of them once a change. */
  refresh(): Promise<void>;
  all<K extends FabricKind>(kind: K): FabricRecords[K][];
  close(): void;
}

export function createFabricMirror({
  fabric,
  onChange,
  onMalformed,
}: {
  fabric: Database;
  /** Called after a change to any of the records. */
  onChange: () => void;
  onMalformed: (reason: string) => void;
}): FabricMirror {
  const records: { [K in FabricKind]: Map<string, FabricRecords[K]> } = {
    node: new Map(),
    application: new Map(),
    config: new Map(),
    secret: new Map(),
    placement: new Map(),
    stage: new Map(),
    policy: new Map(),
    gateway: new Map(),
  };
  const changed = new Set<string>();
  let loaded = false;
  const unsubscribe = fabric.subscribe(({ id }) => {
    if (kindOfId(id) === undefined) return;
    changed.add(id);
    onChange();
  });

  const load = async <K extends FabricKind>(kind: K): Promise<void> => {
    records[kind].clear();
    for (const record of await listRecords(fabric, kind, onMalformed)) records[kind].set(record._id, record);
  };

  const readOne = async <K extends FabricKind>(kind: K, id: string): Promise<void> => {
    const document = await fabric.get(id);
    const read = document === undefined ? undefined : readRecord(kind, document);
    if (read === undefined || 'malformed' in read) records[kind].delete(id);
    else records[kind].set(id, read.record);
    if (read !== undefined && 'malformed' in read) onMalformed(read.malformed);
  };

  return {
    async refresh() {
      const ids = [...changed];
      changed.clear();
      try {
        if (loaded) await Promise.all(ids.map((id) => readOne(kindOfId(id) as FabricKind, id)));
        else for (const kind of fabricKinds) await load(kind);
        loaded = true;
      } catch (error) {
        for (const id of ids) changed.add(id);
        throw error;
      }
    },
    all: <K extends FabricKind>(kind: K) => [...records[kind].values()],
    close: unsubscribe,
  };
}
