// The store on PouchDB and one LevelDB folder (design, section 4). Called by the composition root. It is durable against
// kill -9, not against a power cut: PouchDB syncs almost never (facts), so what must survive one is written elsewhere.

import { mkdir, stat } from 'node:fs/promises';
import leveldown from 'leveldown';
import leveldbAdapter from 'pouchdb-adapter-leveldb';
import PouchDB from 'pouchdb-core';
import type { Clock } from '../node-runtime/clock.ts';
import { createDatabase } from './document-database.ts';
import {
  DocumentRefusedError,
  StorageRefusedError,
  StoreClosedError,
  StoreDamagedError,
  StoreLockedError,
  StoreUnavailableError,
} from './errors.ts';
import { faultOf } from './level-faults.ts';
import { createLevelGate, type LevelGate, openLevel } from './level-gate.ts';
import { revisionsMax } from './limits.ts';
import { createPouchBackend, type PouchDatabase } from './pouch-backend.ts';
import { createPrefixedLevel } from './prefixed-leveldown.ts';
import type { Database, Store } from './store.ts';

PouchDB.plugin(leveldbAdapter);

/** PouchDB keeps global tables by the name of the `db` function and by database name: both begin with this number. */
let storesOpened = 0;

/**
 * Opens, or makes, the store in `folder` (absolute). What the box refuses for a while rejects with StorageRefusedError; it mends itself
 * when there is room again. Throws StoreLockedError when it is open already, here or in another
 * process, StoreDamagedError when LevelDB cannot read it, StoreUnavailableError when the folder cannot be used.
 */
export async function createPouchStore({
  folder,
  clock,
}: {
  folder: string;
  clock: Pick<Clock, 'sleep'>;
}): Promise<Store> {
  const gate = await openGate(folder, clock);
  let closing: Promise<void> | undefined;
  const storeName = `selvedge-${++storesOpened}`;
  const factory = createPrefixedLevel(gate, storeName);
  const databases = new Map<string, Promise<{ pouch: PouchDatabase; database: Database }>>();

  function assertUsable(): void {
    if (closing !== undefined) throw new StoreClosedError(`the store in ${folder}`);
    const damage = gate.damage();
    if (damage !== undefined) throw damage;
  }

  /** PouchDB takes a failed read for an absent document, so nothing that was read while a read failed is believed. */
  async function use<T>(operation: () => Promise<T>): Promise<T> {
    assertUsable();
    try {
      return await gate.during(operation);
    } catch (error) {
      if (error instanceof Error && /^database is (closed|destroyed)$/.test(error.message))
        throw new StoreClosedError('the database');
      throw error;
    } finally {
      assertUsable();
    }
  }

  async function openDatabase(name: string): Promise<{ pouch: PouchDatabase; database: Database }> {
    const pouch = new PouchDB(`${storeName}/${name}`, {
      adapter: 'leveldb',
      db: factory,
      // There is nothing to migrate, and its migration looks for files by database name in the working directory.
      migrate: false,
      revs_limit: revisionsMax,
      // Without it every superseded body stays until a compaction by hand.
      auto_compaction: true,
    }) as unknown as PouchDatabase;
    // One listener for `destroyed` of each replication and each read of changes that is under way.
    pouch.setMaxListeners(0);
    await use(() => pouch.info());
    return { pouch, database: createDatabase(createPouchBackend({ name, pouch, use })) };
  }

  return {
    async open(name) {
      assertUsable();
      assertDatabaseName(name);
      let opened = databases.get(name);
      if (opened === undefined) {
        opened = openDatabase(name);
        databases.set(name, opened);
        opened.catch(() => databases.delete(name));
      }
      return (await opened).database;
    },

    async destroy(name) {
      assertUsable();
      assertDatabaseName(name);
      const opened = databases.get(name) ?? openDatabase(name);
      databases.delete(name);
      const { pouch } = await opened;
      await pouch.destroy();
    },

    close() {
      closing ??= (async () => {
        for (const opened of databases.values()) {
          const { pouch } = await opened.catch(() => ({ pouch: undefined }));
          await pouch?.close();
        }
        databases.clear();
        await gate.close();
      })();
      return closing;
    },
  };
}

function assertDatabaseName(name: string): void {
  if (!/^[a-z0-9][A-Za-z0-9._/-]{0,127}$/.test(name))
    throw new DocumentRefusedError(name, 'that is no name of a database');
}

async function openGate(folder: string, clock: Pick<Clock, 'sleep'>): Promise<LevelGate> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (!(await stat(folder)).isDirectory()) throw new Error('it is no folder');
    const level = leveldown(folder);
    await openLevel(level);
    return createLevelGate({ level, folder, clock });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (/\/LOCK: (already held|Resource temporarily unavailable)/i.test(reason))
      throw new StoreLockedError(folder, error);
    if (/corruption|does not exist|no meta-|checksum|not a valid|missing files/i.test(reason))
      throw new StoreDamagedError(folder, error);
    const fault = faultOf(error);
    if (fault !== undefined) throw new StorageRefusedError(folder, error, fault);
    throw new StoreUnavailableError(folder, reason, error);
  }
}
