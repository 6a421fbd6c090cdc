// The store in memory, with revision trees as PouchDB keeps them: same winners, same revision ids, same conflicts
// (test/conformance/store.ts holds the two against each other). Called by scenarios and tests. No timers, only promises.

import { createDatabase } from '../control/document-database.ts';
import { StoreClosedError } from '../control/errors.ts';
import type { Database, Store } from '../control/store.ts';
import type { Random } from '../node-runtime/random.ts';
import { createSimBackend, type SimDatabaseState } from './sim-database.ts';

/** Everything that a store holds at one instant; plain data. */
export type SimStoreSnapshot = ReadonlyMap<string, SimDatabaseState>;

export interface SimStore extends Store {
  snapshot(): SimStoreSnapshot;
  /** Puts every database back to what it held then, as after a power cut; those opened since become empty. Tells no listener. */
  restore(snapshot: SimStoreSnapshot): void;
}

/** Stores made without randomness are told apart by this: replication keeps its checkpoints by database id. */
let storesMade = 0;

export function createSimStore({ random }: { random?: Random } = {}): SimStore {
  const storeId = random === undefined ? `store-${++storesMade}` : Buffer.from(random.bytes(8)).toString('hex');
  const databases = new Map<string, { database: Database; backend: ReturnType<typeof createSimBackend> }>();
  let databasesMade = 0;
  let closed = false;

  function assertOpen(): void {
    if (closed) throw new StoreClosedError('the simulated store');
  }

  return {
    async open(name) {
      assertOpen();
      let opened = databases.get(name);
      if (opened === undefined) {
        const backend = createSimBackend({ name, id: `${storeId}-${++databasesMade}`, assertOpen });
        opened = { backend, database: createDatabase(backend) };
        databases.set(name, opened);
      }
      return opened.database;
    },
    async destroy(name) {
      assertOpen();
      databases.get(name)?.backend.destroy();
      databases.delete(name);
    },
    async close() {
      closed = true;
    },
    snapshot: () => new Map([...databases].map(([name, { backend }]) => [name, backend.snapshot()])),
    restore(snapshot) {
      closed = false;
      for (const [name, { backend }] of databases) backend.restore(snapshot.get(name));
    },
  };
}
