// One database of the simulated store: revision trees, the sequence of changes, and checkpoints. Called by sim-store.ts.
// Every answer is a copy: the replicator and PouchDB alter what they are given.

import { EventEmitter } from 'node:events';
import type { DocumentBackend } from '../control/document-database.ts';
import { ConflictError, StoreClosedError } from '../control/errors.ts';
import { revisionsMax } from '../control/limits.ts';
import { type ChangeRow, oneShotChanges } from '../control/one-shot-changes.ts';
import {
  compactRevisions,
  hasRevision,
  historyOf,
  leafRevisions,
  leavesUnder,
  mergeRevisions,
  parseRevision,
  pathOf,
  type RevisionPath,
  type Revisions,
  type RevisionTree,
  winner,
} from '../control/pouch-revisions.ts';
import { revisionHash } from '../control/revision.ts';
import type { ReplicationPeer, StoredDocument } from '../control/store.ts';

interface SimDocument {
  tree: RevisionTree;
  /** Content of the leaves. */
  bodies: Map<string, StoredDocument>;
  sequence: number;
}

export interface SimDatabaseState {
  documents: Map<string, SimDocument>;
  /** Sequence to id, ascending. */
  bySequence: Map<number, string>;
  locals: Map<string, StoredDocument>;
  sequence: number;
}

interface SimBackendOptions {
  name: string;
  id: string;
  /** Throws once the store is closed. */
  assertOpen: () => void;
}

export interface SimBackend extends DocumentBackend {
  snapshot(): SimDatabaseState;
  restore(state: SimDatabaseState | undefined): void;
  destroy(): void;
}

export function createSimBackend({ name, id: databaseId, assertOpen }: SimBackendOptions): SimBackend {
  let state = emptyState();
  let destroyed = false;
  const events = new EventEmitter().setMaxListeners(0);

  function use<T>(read: () => T): Promise<T> {
    return Promise.resolve().then(() => {
      assertOpen();
      if (destroyed) throw new StoreClosedError(`database ${name}`);
      return read();
    });
  }

  function store(id: string, tree: RevisionTree, revision: string, body: StoredDocument): void {
    const document = state.documents.get(id) ?? { tree, bodies: new Map(), sequence: 0 };
    state.bySequence.delete(document.sequence);
    document.tree = tree;
    document.sequence = ++state.sequence;
    document.bodies.set(revision, body);
    for (const gone of compactRevisions(tree)) document.bodies.delete(gone);
    state.documents.set(id, document);
    state.bySequence.set(document.sequence, id);
  }

  /** As PouchDB's processDocs and updateDoc do for a new edit. */
  function write(document: StoredDocument): string {
    const { _id: id, _rev, _deleted, ...fields } = document;
    const previous = state.documents.get(id);
    const before = previous && winner(previous.tree);
    const deleted = _deleted === true;
    let { path, revision } = editOf(document, _rev, deleted);
    if (previous === undefined || before === undefined) {
      if (_rev !== undefined) throw new ConflictError(id);
      store(id, mergeRevisions([], path, revisionsMax).tree, revision, bodyOf(id, revision, deleted, fields));
      return revision;
    }
    if (before.deleted && !deleted && _rev === undefined)
      ({ path, revision } = editOf({ ...fields, _rev: before.revision, _id: id }, before.revision, false));
    const merged = mergeRevisions(copyOf(previous.tree), path, revisionsMax);
    const conflict =
      (before.deleted && deleted && merged.conflicts !== 'new_leaf') ||
      (!before.deleted && merged.conflicts !== 'new_leaf') ||
      (before.deleted && !deleted && merged.conflicts === 'new_branch');
    if (conflict) throw new ConflictError(id);
    if (!previous.bodies.has(revision)) store(id, merged.tree, revision, bodyOf(id, revision, deleted, fields));
    return revision;
  }

  /** As PouchDB does for a replicated document: no conflict, nothing when the revision is known. */
  function accept(document: StoredDocument): void {
    const { _id: id, _rev = '', _revisions, _deleted, ...fields } = document;
    const { generation, hash } = parseRevision(_rev);
    const revisions = (_revisions as Revisions | undefined) ?? { start: generation, ids: [hash] };
    const tree = copyOf(state.documents.get(id)?.tree ?? []);
    if (hasRevision(tree, _rev)) return;
    const deleted = _deleted === true;
    const path = pathOf(revisions, { status: 'available', ...(deleted ? { deleted } : {}) });
    store(id, mergeRevisions(tree, path, revisionsMax).tree, _rev, bodyOf(id, _rev, deleted, fields));
  }

  function leaf(id: string, revision: string): StoredDocument {
    return copyOf(state.documents.get(id)?.bodies.get(revision) as StoredDocument);
  }

  function winnerOf(id: string): StoredDocument | undefined {
    const document = state.documents.get(id);
    const best = document && winner(document.tree);
    return best === undefined || best.deleted ? undefined : leaf(id, best.revision);
  }

  function changesSince(since: number, limit: number): ChangeRow[] {
    const rows: ChangeRow[] = [];
    for (const [seq, id] of state.bySequence) {
      if (rows.length >= limit) break;
      const tree = state.documents.get(id)?.tree;
      if (seq <= since || tree === undefined) continue;
      const changes = leafRevisions(tree).map((rev) => ({ rev }));
      rows.push({ id, seq, changes, ...(winner(tree).deleted ? { deleted: true } : {}) });
    }
    return rows;
  }

  function missing(id: string, revisions: readonly string[]): string[] {
    const document = state.documents.get(id);
    if (document === undefined) return [...revisions];
    return revisions.filter((revision) => !hasRevision(document.tree, revision) || !document.bodies.has(revision));
  }

  function putLocal(document: StoredDocument): { ok: true; id: string; rev: string } {
    const known = state.locals.get(document._id);
    if (known?._rev !== document._rev) throw pouchError(409, 'conflict');
    if (document._deleted === true) {
      state.locals.delete(document._id);
      return { ok: true, id: document._id, rev: '0-0' };
    }
    const rev = `0-${1 + Number(known?._rev === undefined ? 0 : parseRevision(known._rev).hash)}`;
    state.locals.set(document._id, copyOf({ ...document, _rev: rev }));
    return { ok: true, id: document._id, rev };
  }

  const peer: ReplicationPeer = {
    id: () => use(() => databaseId),
    info: () => use(() => ({ update_seq: state.sequence, db_name: name })),
    changes: (options) =>
      oneShotChanges(() =>
        use(() => {
          const { since = 0, limit = Number.POSITIVE_INFINITY } = options as { since?: number; limit?: number };
          const results = changesSince(since, limit);
          return { results, last_seq: results.at(-1)?.seq ?? since };
        }),
      ),
    bulkGet: (options) =>
      use(() => {
        const results = (options['docs'] as { id: string; rev: string }[]).map(({ id, rev }) => {
          const tree = state.documents.get(id)?.tree ?? [];
          return {
            id,
            docs: leavesUnder(tree, rev).map((found) => ({
              ok: { ...leaf(id, found), _revisions: historyOf(tree, found) },
            })),
          };
        });
        return { results };
      }),
    revsDiff: (diff) =>
      use(() => {
        const entries = Object.entries(diff).map(
          ([id, revisions]) => [id, { missing: missing(id, revisions) }] as const,
        );
        return Object.fromEntries(entries.filter(([, row]) => row.missing.length > 0));
      }),
    bulkDocs: (request) =>
      use(() => {
        const documents = copyOf(request['docs'] as StoredDocument[]);
        for (const document of documents) accept(document);
        return [];
      }),
    get: (id) =>
      use(() => {
        const found = id.startsWith('_local/') ? copyOf(state.locals.get(id)) : winnerOf(id);
        if (found === undefined) throw pouchError(404, 'not_found');
        return found;
      }),
    put: (document) =>
      use(() => {
        const stored = document as StoredDocument;
        return stored._id.startsWith('_local/') ? putLocal(stored) : { ok: true, id: stored._id, rev: write(stored) };
      }),
    once: (event, listener) => events.once(event, listener),
    removeListener: (event, listener) => events.removeListener(event, listener),
  };

  return {
    name,
    winner: (id) => use(() => winnerOf(id)),
    leaves: (id) => use(() => leafRevisions(state.documents.get(id)?.tree ?? []).map((revision) => leaf(id, revision))),
    list: (prefix) =>
      use(() =>
        [...state.documents.keys()]
          .filter((id) => id.startsWith(prefix))
          .sort()
          .map(winnerOf)
          .filter((document) => document !== undefined),
      ),
    write: (document) => use(() => write(document)),
    peer,
    snapshot: () => structuredClone(state),
    restore(snapshot) {
      state = snapshot === undefined ? emptyState() : structuredClone(snapshot);
    },
    destroy() {
      destroyed = true;
      events.emit('destroyed', true);
    },
  };
}

/** Documents and trees are JSON: copying them by hand takes a fifth of what structuredClone does, and most of a run is such copies. */
function copyOf<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(copyOf) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value)) copy[key] = copyOf((value as Record<string, unknown>)[key]);
  return copy as T;
}

function emptyState(): SimDatabaseState {
  return { documents: new Map(), bySequence: new Map(), locals: new Map(), sequence: 0 };
}

function editOf(
  document: StoredDocument,
  parent: string | undefined,
  deleted: boolean,
): { path: RevisionPath; revision: string } {
  const hash = revisionHash(document);
  const flags = { status: 'available' as const, ...(deleted ? { deleted } : {}) };
  if (parent === undefined) return { revision: `1-${hash}`, path: { pos: 1, ids: [hash, flags, []] } };
  const { generation, hash: parentHash } = parseRevision(parent);
  return {
    revision: `${generation + 1}-${hash}`,
    path: { pos: generation, ids: [parentHash, { status: 'missing' }, [[hash, flags, []]]] },
  };
}

function bodyOf(id: string, revision: string, deleted: boolean, fields: Record<string, unknown>): StoredDocument {
  return { ...fields, _id: id, _rev: revision, ...(deleted ? { _deleted: true } : {}) };
}

function pouchError(status: number, name: string): Error & { status: number } {
  return Object.assign(new Error(name), { name, status });
}
