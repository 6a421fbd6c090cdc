// What the methods of /selvedge/replicate/1 do, each with arguments that were checked, and its answer as JSON text of bounded
// size. Called by replication-server.ts.

import { replicationAnswerBytes } from './limits.ts';
import type { ChangesAnswer } from './one-shot-changes.ts';
import { createPeerCheckpoints } from './peer-checkpoints.ts';
import type { ServedMethod } from './replication-messages.ts';
import type { ReplicationPeer, StoredDocument } from './store.ts';
import { guardedPeer, type RefusedWrite, type WriteGuard } from './write-guard.ts';

export interface ReplicationMethodsOptions {
  peer: ReplicationPeer;
  /** Peer id that the connection authenticated. */
  owner: string;
  guard: WriteGuard;
  onRefusedWrite: (refused: RefusedWrite) => void;
  /** Called before changes are read. */
  beforeChanges: () => void;
  /** Filled with the ids of documents while this peer's own writes are under way. */
  beingWritten: Set<string>;
}

/** Documents that are read at the same time for one answer. */
const readsAtOnce = 8;

type Method = (argument: never) => Promise<string>;

export function createReplicationMethods({
  peer,
  owner,
  guard,
  onRefusedWrite,
  beforeChanges,
  beingWritten,
}: ReplicationMethodsOptions): Record<ServedMethod, Method> {
  const guarded = guardedPeer(peer, guard, onRefusedWrite);
  const checkpoints = createPeerCheckpoints(peer, owner);

  async function changes({ since, limit }: { since: number | string; limit: number }): Promise<string> {
    beforeChanges();
    const options = { since, limit, batch_size: limit, style: 'all_docs', return_docs: true };
    const { results, last_seq } = await (peer.changes(options) as PromiseLike<ChangesAnswer>);
    const rows = results.map(({ id, seq, changes: leaves, deleted }) =>
      JSON.stringify({
        id,
        seq,
        changes: leaves.map(({ rev }) => ({ rev })),
        ...(deleted === true ? { deleted } : {}),
      }),
    );
    const fitting = countThatFit(rows);
    const end = fitting < rows.length ? results[fitting - 1]?.seq : last_seq;
    return `{"results":[${rows.slice(0, fitting).join()}],"last_seq":${JSON.stringify(end)},"pending":${rows.length - fitting}}`;
  }

  async function bulkGet({ docs }: { docs: { id: string; rev: string }[] }): Promise<string> {
    const rows: string[] = [];
    let bytes = 0;
    let looked = 0;
    // A few at a time: what does not fit any more was read in vain.
    while (looked < docs.length) {
      const answers = await Promise.all(docs.slice(looked, looked + readsAtOnce).map(read));
      for (const row of answers) {
        bytes += row.length;
        if (bytes > replicationAnswerBytes && rows.length > 0) return answer();
        rows.push(row);
        looked++;
      }
    }
    return answer();

    async function read(request: { id: string; rev: string }): Promise<string> {
      const { results } = (await peer.bulkGet({ docs: [request], revs: true, latest: true })) as { results: unknown[] };
      return JSON.stringify(results[0] ?? { id: request.id, docs: [] });
    }

    function answer(): string {
      return `{"results":[${rows.join()}],"remaining":${docs.length - looked}}`;
    }
  }

  async function bulkDocs({ docs }: { docs: StoredDocument[] }): Promise<string> {
    for (const { _id } of docs) beingWritten.add(_id);
    try {
      const rows = (await guarded.bulkDocs({ docs, new_edits: false })) as Partial<
        Record<'id' | 'name' | 'message' | 'status', unknown>
      >[];
      return JSON.stringify(
        rows.map(({ id, name, message, status }) => ({
          id,
          error: true,
          status: status ?? 500,
          name: name ?? 'error',
          message: message ?? '',
        })),
      );
    } finally {
      beingWritten.clear();
    }
  }

  return {
    id: async () => JSON.stringify(await peer.id()),
    info: async () => JSON.stringify({ update_seq: (await peer.info()).update_seq }),
    changes,
    bulkGet,
    revsDiff: async (diff: Record<string, string[]>) => JSON.stringify(await peer.revsDiff(diff)),
    bulkDocs,
    get: async (id: string) => JSON.stringify(await checkpoints.get(id)),
    put: async (checkpoint: Record<string, unknown>) => JSON.stringify(await checkpoints.put(checkpoint)),
  };
}

/** How many rows fit in one answer; at least one. */
function countThatFit(rows: readonly string[]): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += row.length;
    if (bytes > replicationAnswerBytes && index > 0) return index;
  }
  return rows.length;
}
