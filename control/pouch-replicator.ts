// PouchDB's replicator, run once: the one file that imports it. Called by replicate.ts. It must not load pouchdb-core, which
// the replicator does not need and which costs 30 MB (it brings an HTTP client).

import replication from 'pouchdb-replication';
import { replicationBatchesMax, replicationBatchMax } from './limits.ts';
import type { ReplicationPeer } from './store.ts';

/** What the replicator touches of a source beside the port. */
export interface ReplicatorPeer extends ReplicationPeer {
  activeTasks: Record<'add' | 'get' | 'remove' | 'update', () => undefined>;
}

export interface ReplicatorResult {
  docs_read: number;
  docs_written: number;
  doc_write_failures: number;
  status?: string;
}

export interface RunningReplicator {
  on(event: 'complete', listener: (result: ReplicatorResult) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  cancel(): void;
}

interface ReplicatorHost {
  replicate(source: ReplicatorPeer, target: ReplicatorPeer, options: Record<string, unknown>): RunningReplicator;
}

/** The plugin hangs its functions on the class that it is given. */
class Host {}
(replication as unknown as (host: typeof Host) => void)(Host);
const replicator = Host as unknown as ReplicatorHost;

export function startReplicator(source: ReplicatorPeer, target: ReplicatorPeer): RunningReplicator {
  return replicator.replicate(source, target, {
    live: false,
    retry: false,
    batch_size: replicationBatchMax,
    batches_limit: replicationBatchesMax,
  });
}
