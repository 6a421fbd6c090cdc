// One PouchDB database as the single operations of document-database.ts and as a peer of replication. Called by
// pouch-store.ts. It must never let an unknown revision reach PouchDB's `latest`, which throws where nobody can catch it.

import type { EventEmitter } from 'node:events';
import type { DocumentBackend } from './document-database.ts';
import { ConflictError } from './errors.ts';
import { type ChangesAnswer, oneShotChanges } from './one-shot-changes.ts';
import { historyOf, leafRevisions, leavesUnder, type RevisionTree } from './pouch-revisions.ts';
import type { ReplicationPeer, StoredDocument } from './store.ts';

/** What is used of a PouchDB object, `_getRevisionTree` included, which its types do not have. */
export interface PouchDatabase extends EventEmitter {
  id(): Promise<string>;
  info(): Promise<{ update_seq: number | string; db_name: string }>;
  get(id: string, options?: Record<string, unknown>): Promise<unknown>;
  put(document: Record<string, unknown>): Promise<{ rev: string }>;
  allDocs(options: Record<string, unknown>): Promise<{ rows: { doc?: StoredDocument | null }[] }>;
  changes(options: Record<string, unknown>): PromiseLike<ChangesAnswer>;
  revsDiff(diff: Record<string, string[]>): Promise<unknown>;
  bulkDocs(request: Record<string, unknown>, options: Record<string, unknown>): Promise<unknown>;
  destroy(): Promise<unknown>;
  close(): Promise<void>;
  _getRevisionTree(id: string, callback: (error: unknown, tree?: RevisionTree) => void): void;
}

/** Sorts after every id, which is ASCII. */
const afterIds = '\uffff';

interface PouchBackendOptions {
  name: string;
  pouch: PouchDatabase;
  /** Runs an operation only while the store can be believed. */
  use: <T>(operation: () => Promise<T>) => Promise<T>;
}

export function createPouchBackend({ name, pouch, use }: PouchBackendOptions): DocumentBackend {
  function treeOf(id: string): Promise<RevisionTree> {
    return new Promise((resolve, reject) => {
      pouch._getRevisionTree(id, (error, tree) => {
        if (tree !== undefined) resolve(tree);
        else if (isStatus(error, 404)) resolve([]);
        else reject(error);
      });
    });
  }

  /** A leaf's document, or undefined when it is none any more: whoever superseded it has a later place in the changes. */
  async function leaf(id: string, revision: string): Promise<StoredDocument | undefined> {
    const document = await pouch.get(id, { rev: revision }).catch(ignoreStatus(404));
    return document as StoredDocument | undefined;
  }

  async function leaves(id: string): Promise<StoredDocument[]> {
    for (;;) {
      const revisions = leafRevisions(await treeOf(id));
      const documents = await Promise.all(revisions.map((revision) => leaf(id, revision)));
      // A leaf that has gone was superseded between the two reads.
      if (documents.every((document) => document !== undefined)) return documents;
      const again = leafRevisions(await treeOf(id));
      if (again.join() === revisions.join()) throw new Error(`a revision of ${id} has no content`);
    }
  }

  async function asked(id: string, revisions: Set<string>): Promise<{ id: string; docs: { ok: StoredDocument }[] }> {
    const tree = await treeOf(id);
    const found = new Set([...revisions].flatMap((revision) => leavesUnder(tree, revision)));
    const documents = await Promise.all([...found].map((revision) => leaf(id, revision)));
    return {
      id,
      docs: documents
        .filter((document) => document !== undefined)
        .map((document) => ({ ok: { ...document, _revisions: historyOf(tree, document._rev ?? '') } })),
    };
  }

  const peer: ReplicationPeer = {
    id: () => use(() => pouch.id()),
    info: () => use(async () => ({ ...(await pouch.info()), db_name: name })),
    changes: (options) => oneShotChanges(() => use(async () => pouch.changes(options))),
    bulkGet: (options) =>
      use(async () => {
        const byId = new Map<string, Set<string>>();
        for (const { id, rev } of options['docs'] as { id: string; rev: string }[])
          byId.set(id, (byId.get(id) ?? new Set()).add(rev));
        return { results: await Promise.all([...byId].map(([id, revisions]) => asked(id, revisions))) };
      }),
    revsDiff: (diff) => use(() => pouch.revsDiff(diff)),
    bulkDocs: (request, options = {}) => use(() => pouch.bulkDocs(request, options)),
    get: (id, options = {}) => use(() => pouch.get(id, options)),
    put: (document) => use(() => pouch.put(document)),
    once: (event, listener) => pouch.once(event, listener),
    removeListener: (event, listener) => pouch.removeListener(event, listener),
  };

  return {
    name,
    winner: (id) => use(async () => (await pouch.get(id).catch(ignoreStatus(404))) as StoredDocument | undefined),
    leaves: (id) => use(() => leaves(id)),
    list: (prefix) =>
      use(async () => {
        const { rows } = await pouch.allDocs({ startkey: prefix, endkey: `${prefix}${afterIds}`, include_docs: true });
        return rows.flatMap(({ doc }) => (doc ? [doc] : []));
      }),
    write: (document) =>
      use(async () => {
        try {
          return (await pouch.put({ ...document })).rev;
        } catch (error) {
          throw isStatus(error, 409) ? new ConflictError(document._id, error) : error;
        }
      }),
    peer,
  };
}

function isStatus(error: unknown, status: number): boolean {
  return typeof error === 'object' && error !== null && 'status' in error && error.status === status;
}

function ignoreStatus(status: number): (error: unknown) => undefined {
  return (error) => {
    if (!isStatus(error, status)) throw error;
  };
}
