// Revocations on disk, fsynced beside the bulletin's database, which a power cut may set back: `revocations/<fact id>` holds
// the signed fact. Called by bulletin.ts. It judges nothing: what comes back is verified like any other fact.

import type { Database } from '../control/store.ts';
import { type FactDocument, factId } from '../pki/facts.ts';
import type { Disk } from './disk.ts';

const folder = 'revocations';

export interface KeptRevocations {
  /** Resolves once it would survive a power cut. Again for one that is kept: nothing happens. */
  keep(document: FactDocument): Promise<void>;
  /** Gives the database back what it lost, and mends files from the database; what neither has is told and forgotten. */
  restore(): Promise<void>;
}

export function createKeptRevocations(dependencies: {
  disk: Disk;
  database: Database;
  onLost(message: string): void;
}): KeptRevocations {
  const { disk, database, onLost } = dependencies;
  const kept = new Set<string>();

  async function restoreOne(name: string): Promise<void> {
    const path = `${folder}/${name}`;
    const jws = new TextDecoder().decode(await disk.read(path));
    const leaves = await database.leaves(`fact/${name}`);
    const stored = leaves.map((leaf) => leaf['jws']).find((text) => typeof text === 'string' && factId(text) === name);
    if (factId(jws) === name) {
      if (leaves.length === 0) await database.put({ _id: `fact/${name}`, jws });
    } else if (typeof stored === 'string') {
      await disk.write(path, stored);
    } else {
      await disk.remove(path);
      onLost(
        `the file ${path} of the data folder is damaged, and the store does not have that revocation: it comes again from a ` +
          'controller, or from a node that has it',
      );
      return;
    }
    kept.add(`fact/${name}`);
  }

  return {
    async keep({ _id, jws }) {
      if (kept.has(_id)) return;
      await disk.write(`${folder}/${_id.slice('fact/'.length)}`, jws);
      kept.add(_id);
    },
    async restore() {
      for (const name of await disk.list(folder)) await restoreOne(name);
    },
  };
}
