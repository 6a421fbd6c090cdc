// One run of PouchDB's replicator between any two peers, made safe: the replicator calls `info` where nobody catches its
// failure, tries a conflicting checkpoint for ever, and asks once more when it has seen the end. Called by the replica actor's
// ports and by the simulator. Uses no timers; whoever wants a time limit aborts by the signal.

import { ReplicationError } from './errors.ts';
import { checkpointConflictsMax } from './limits.ts';
import { type ChangesAnswer, oneShotChanges } from './one-shot-changes.ts';
import { type ReplicatorPeer, startReplicator } from './pouch-replicator.ts';
import type { Replicate, ReplicationPeer, ReplicationResult } from './store.ts';

const nothing = (): undefined => undefined;
/** Progress of tasks is for PouchDB's own consoles. */
const activeTasks = { add: nothing, get: nothing, remove: nothing, update: nothing };

/**
 * Resolves when everything that the source had is on the target or refused by it. Rejects with ReplicationError (retryable)
 * when either side failed, and with the signal's reason when that aborted; what arrived stays, and the next run continues
 * after the last checkpoint.
 */
export const replicate: Replicate = (source, target, signal) => {
  const { promise, resolve, reject } = Promise.withResolvers<ReplicationResult>();
  if (signal?.aborted) {
    reject(signal.reason);
    return promise;
  }
  let failure: unknown;
  const noteFailure = (error: unknown): void => {
    failure ??= error;
  };
  const running = startReplicator(sessionPeer(source, noteFailure), sessionPeer(target, noteFailure));
  const abort = (): void => {
    reject(signal?.reason);
    running.cancel();
  };
  signal?.addEventListener('abort', abort, { once: true });
  running.on('complete', (result) => {
    signal?.removeEventListener('abort', abort);
    if (result.status === 'cancelled') return reject(new ReplicationError('the database was removed'));
    resolve({
      documentsRead: result.docs_read,
      documentsWritten: result.docs_written,
      writeFailures: result.doc_write_failures,
    });
  });
  running.on('error', (error) => {
    signal?.removeEventListener('abort', abort);
    // PouchDB copies errors and loses their class, so the cause is the one that a peer threw.
    const cause = failure ?? error;
    reject(new ReplicationError(cause instanceof Error ? cause.message : String(cause), cause));
  });
  return promise;
};

/** A peer for the length of one run. */
function sessionPeer(peer: ReplicationPeer, noteFailure: (error: unknown) => void): ReplicatorPeer {
  let endOfChanges: number | string | undefined;
  let checkpointConflicts = 0;

  async function noted<T>(operation: Promise<T>): Promise<T> {
    try {
      return await operation;
    } catch (error) {
      const status = statusOf(error);
      // An absent checkpoint and a conflicting one are answers, not failures.
      if (status !== 404 && status !== 409) noteFailure(error);
      throw error instanceof Error || status !== undefined ? error : new Error(String(error));
    }
  }

  return {
    id: () => noted(peer.id()),
    // Only for the progress of tasks, and not caught there.
    info: async () => ({ update_seq: 0 }),
    changes: (options) =>
      oneShotChanges(async () => {
        const { since, limit } = options as { since: number | string; limit: number };
        if (endOfChanges !== undefined && since === endOfChanges) return { results: [], last_seq: since };
        const answer = await noted(Promise.resolve(peer.changes(options) as PromiseLike<ChangesAnswer>));
        const last = answer.results.at(-1);
        // Fewer than were asked for: this was the end. A change made since then comes with the next run.
        if (last !== undefined && answer.results.length < limit && !((answer.pending ?? 0) > 0))
          endOfChanges = last.seq;
        return answer;
      }),
    bulkGet: (options) => noted(peer.bulkGet(options)),
    revsDiff: (diff) => noted(peer.revsDiff(diff)),
    bulkDocs: (request, options) => noted(peer.bulkDocs(request, options)),
    get: (id, options) => noted(peer.get(id, options)),
    put: async (document) => {
      try {
        return await noted(peer.put(document));
      } catch (error) {
        if (statusOf(error) !== 409 || ++checkpointConflicts < checkpointConflictsMax) throw error;
        const tooMany = new Error('the checkpoint conflicts again and again');
        noteFailure(tooMany);
        throw tooMany;
      }
    },
    once: (event, listener) => peer.once(event, listener),
    removeListener: (event, listener) => peer.removeListener(event, listener),
    activeTasks,
  };
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('status' in error)) return undefined;
  return typeof error.status === 'number' ? error.status : undefined;
}
