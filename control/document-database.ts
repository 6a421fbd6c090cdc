// What every store's databases have in common: normalizing, update and remove on top of single writes, and telling
// listeners of writes in order. Called by pouch-store.ts and simulations/sim-store.ts, which bring the single operations.

import { ConflictError } from './errors.ts';
import { updateAttemptsMax } from './limits.ts';
import { compareLeaves, normalizedDocument } from './revision.ts';
import type { Change, Database, ReplicationPeer, StoredDocument } from './store.ts';

/** The single operations that an adapter brings. */
export interface DocumentBackend {
  readonly name: string;
  winner(id: string): Promise<StoredDocument | undefined>;
  /** In any order. */
  leaves(id: string): Promise<StoredDocument[]>;
  list(prefix: string): Promise<StoredDocument[]>;
  /** One edit on top of `_rev` of a normalized document; returns the new revision or throws ConflictError. */
  write(document: StoredDocument): Promise<string>;
  readonly peer: ReplicationPeer;
}

export function createDatabase(backend: DocumentBackend): Database {
  const listeners = new Set<(change: Change) => void>();
  let announced: Promise<void> = Promise.resolve();

  function tell(change: Change): void {
    for (const listener of [...listeners]) {
      try {
        listener(change);
      } catch (error) {
        // A listener's fault must neither fail the write nor silence the other listeners.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** Resolves once the listeners were told. A tombstone deletes the document only when no other leaf is left. */
  function announce(written: readonly { id: string; tombstone: boolean }[]): Promise<void> {
    if (listeners.size === 0) return announced;
    announced = announced.then(async () => {
      for (const { id, tombstone } of written) {
        // A store that is being closed cannot answer; the write itself is done.
        const left = tombstone ? await backend.winner(id).catch(() => undefined) : true;
        tell({ id, deleted: left === undefined });
      }
    });
    return announced;
  }

  async function put(document: StoredDocument): Promise<string> {
    const normalized = normalizedDocument(document);
    const revision = await backend.write(normalized);
    await announce([{ id: normalized._id, tombstone: normalized._deleted === true }]);
    return revision;
  }

  async function untilNoConflict(attempt: () => Promise<void>): Promise<void> {
    for (let left = updateAttemptsMax; ; left--) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof ConflictError) || left <= 1) throw error;
      }
    }
  }

  async function leaves(id: string): Promise<StoredDocument[]> {
    return (await backend.leaves(id)).sort(compareLeaves);
  }

  return {
    name: backend.name,
    get: (id) => backend.winner(id),
    leaves,
    list: (prefix) => backend.list(prefix),
    put,
    update: (id, change) =>
      untilNoConflict(async () => {
        const current = await backend.winner(id);
        const changed = change(current);
        if (changed === undefined) return;
        const { _rev, ...rest } = changed;
        await put({ ...rest, _id: id, ...(current?._rev === undefined ? {} : { _rev: current._rev }) });
      }),
    remove: (id, rev) =>
      untilNoConflict(async () => {
        const all = await leaves(id);
        const leaf = rev === undefined ? all[0] : all.find((candidate) => candidate._rev === rev);
        if (leaf?._rev === undefined || leaf._deleted === true) return;
        await put({ _id: id, _rev: leaf._rev, _deleted: true });
      }),
    subscribe(listener) {
      // A listener of its own for each subscription, so that the same function can be subscribed twice.
      const own = (change: Change): void => listener(change);
      listeners.add(own);
      return () => {
        listeners.delete(own);
      };
    },
    peer: {
      ...backend.peer,
      async bulkDocs(request, options) {
        const documents = (request['docs'] as StoredDocument[]).map(({ _id, _deleted }) => ({
          id: _id,
          tombstone: _deleted === true,
        }));
        const rows = (await backend.peer.bulkDocs(request, options)) as { id: string; error?: unknown }[];
        const failed = new Set(rows.filter((row) => row.error).map((row) => row.id));
        await announce(documents.filter(({ id }) => !failed.has(id) && !id.startsWith('_local/')));
        return rows;
      },
    },
  };
}
