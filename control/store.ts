// The store port: databases of JSON documents with revision trees that CouchDB's replication protocol can carry.
// Adapters: pouch-store.ts, simulations/sim-store.ts; test/conformance/store.ts runs against both.

/** A document; `_rev` is absent before it was written. Ids are slots that are used again (`desired/plan`). */
export interface StoredDocument {
  _id: string;
  _rev?: string;
  _deleted?: boolean;
  [field: string]: unknown;
}

export interface Change {
  id: string;
  deleted: boolean;
}

/**
 * What PouchDB's replicator calls on a source or target (a remote one forwards them over a mesh stream). Shapes are those of
 * CouchDB's HTTP API (docs.couchdb.org, Replication Protocol).
 */
export interface ReplicationPeer {
  id(): Promise<string>;
  info(): Promise<{ update_seq: number | string; db_name?: string; [field: string]: unknown }>;
  changes(options: Record<string, unknown>): unknown;
  bulkGet(options: Record<string, unknown>): Promise<unknown>;
  revsDiff(diff: Record<string, string[]>): Promise<unknown>;
  bulkDocs(request: Record<string, unknown>, options?: Record<string, unknown>): Promise<unknown>;
  get(id: string, options?: Record<string, unknown>): Promise<unknown>;
  put(document: Record<string, unknown>): Promise<unknown>;
  once(event: string, listener: (...values: unknown[]) => void): unknown;
  removeListener(event: string, listener: (...values: unknown[]) => void): unknown;
}

export interface Database {
  readonly name: string;
  /** The winning revision, or undefined when there is none or it is deleted. */
  get(id: string): Promise<StoredDocument | undefined>;
  /** Every leaf of the revision tree, losers and tombstones too (facts: the winner alone hides tombstones). */
  leaves(id: string): Promise<StoredDocument[]>;
  /** Undeleted documents whose id starts with `prefix`, in order of id. */
  list(prefix: string): Promise<StoredDocument[]>;
  /** Writes on top of `_rev`; ConflictError when that is no leaf. Returns the new revision. */
  put(document: StoredDocument): Promise<string>;
  /** Reads, changes, writes; again after a conflict. The function may be called several times; undefined leaves it alone. */
  update(id: string, change: (current: StoredDocument | undefined) => StoredDocument | undefined): Promise<void>;
  /** Removes one leaf (a tombstone on top of it); the winner when `rev` is left out. No error when there is none. */
  remove(id: string, rev?: string): Promise<void>;
  /** Called after each write, local or replicated, in order, from now on. Returns the unsubscriber. */
  subscribe(listener: (change: Change) => void): () => void;
  /** This database as a source or target of replication. */
  readonly peer: ReplicationPeer;
}

export interface Store {
  /** Opens, and makes it when it is new. The same object for the same name. */
  open(name: string): Promise<Database>;
  destroy(name: string): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

export interface ReplicationResult {
  documentsRead: number;
  documentsWritten: number;
  /** Refused by the target. */
  writeFailures: number;
}

/** Runs PouchDB's replicator once from source to target, without retries. */
export type Replicate = (
  source: ReplicationPeer,
  target: ReplicationPeer,
  signal?: AbortSignal,
) => Promise<ReplicationResult>;
