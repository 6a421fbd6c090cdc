// A database on another node as a peer of replication: the client end of /selvedge/replicate/1. Called by the replica actor's
// ports with an opened stream. It must believe nothing that the server says beyond its shape; write-guard.ts decides what is
// stored. It has no clock: whoever wants a time limit aborts the run and closes the peer.

import type { FrameStream } from '../mesh/mesh.ts';
import { ReplicationError, ReplicationProtocolError, ReplicationRefusedError } from './errors.ts';
import {
  replicationAnswerBytes,
  replicationBatchBytesMax,
  replicationBatchMax,
  replicationChangesMax,
  replicationOutstandingMax,
  replicationWaitingMax,
} from './limits.ts';
import { createMessageChannel } from './message-channel.ts';
import { oneShotChanges } from './one-shot-changes.ts';
import {
  answerSchema,
  bulkGetRequestsMax,
  type DatabaseKind,
  resultSchemas,
  type ServedMethod,
  type WireError,
} from './replication-messages.ts';
import { isDocumentId } from './revision.ts';
import type { ReplicationPeer, StoredDocument } from './store.ts';

export interface RemotePeerOptions {
  database: DatabaseKind;
  /** The far end's database has changed since it was last asked for its changes. */
  onChanged: () => void;
  /** The far end has said something. */
  onHeard?: () => void;
  /** The stream is gone, by whatever cause; called once. */
  onClosed?: (cause: Error) => void;
}

export interface RemotePeer extends ReplicationPeer {
  /** Ends the stream; what is under way rejects. Idempotent. */
  close(): void;
}

interface Pending {
  method: ServedMethod;
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/**
 * Takes over the stream. Requests reject with ReplicationRefusedError when the far end does not serve the database to us, with
 * ReplicationError when the stream is gone, with ReplicationProtocolError when it answers nonsense; or with what the far
 * database answered (`status` as in CouchDB).
 */
export function createRemotePeer(
  stream: FrameStream,
  { database, onChanged, onHeard, onClosed }: RemotePeerOptions,
): RemotePeer {
  const channel = createMessageChannel(stream);
  const pending = new Map<number, Pending>();
  const waiting: (() => void)[] = [];
  let nextId = 0;
  let identity: Promise<string> | undefined;
  let closedBy: Error | undefined;

  function closeWith(cause: Error): void {
    if (closedBy !== undefined) return;
    closedBy = cause;
    for (const { reject } of pending.values()) reject(cause);
    pending.clear();
    for (const wake of waiting.splice(0)) wake();
    stream.abort(cause);
    onClosed?.(cause);
  }

  function take(message: unknown): void {
    const parsed = answerSchema.safeParse(message);
    if (!parsed.success) throw new ReplicationProtocolError('an answer has an unknown form');
    const answer = parsed.data;
    if ('refused' in answer) throw new ReplicationRefusedError(database, answer.refused);
    if ('changed' in answer) onChanged();
    else if (!('opened' in answer)) takeAnswer(answer);
  }

  function takeAnswer(answer: { id: number } & ({ error: WireError } | { result?: unknown })): void {
    const request = pending.get(answer.id);
    if (request === undefined) throw new ReplicationProtocolError('an answer to no question');
    pending.delete(answer.id);
    waiting.shift()?.();
    if ('error' in answer) {
      request.reject(Object.assign(new Error(answer.error.message), answer.error));
      return;
    }
    const result = resultSchemas[request.method].safeParse(answer.result);
    if (result.success) {
      request.resolve(result.data);
      return;
    }
    const cause = new ReplicationProtocolError(`the answer to ${request.method} has an unknown form`, result.error);
    request.reject(cause);
    throw cause;
  }

  async function receiveAll(): Promise<void> {
    try {
      for (;;) {
        const message = await channel.receive();
        if (message === undefined) throw new ReplicationError('the far end closed the stream');
        onHeard?.();
        take(message);
      }
    } catch (error) {
      closeWith(asReplicationError(error));
    }
  }

  async function request<M extends ServedMethod>(
    method: M,
    ...args: unknown[]
  ): Promise<(typeof resultSchemas)[M]['_output']> {
    while (pending.size >= replicationOutstandingMax && closedBy === undefined) {
      if (waiting.length >= replicationWaitingMax) throw new ReplicationError('too many requests wait for the far end');
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
    }
    if (closedBy !== undefined) throw closedBy;
    const id = nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    pending.set(id, { method, resolve, reject });
    channel.send(JSON.stringify({ id, method, args })).catch((error) => closeWith(asReplicationError(error)));
    return (await promise) as (typeof resultSchemas)[M]['_output'];
  }

  const checkpoints = rememberedCheckpoints({
    get: (id) => request('get', id),
    put: (document) => request('put', document),
  });
  channel.send(JSON.stringify({ open: database })).catch((error) => closeWith(asReplicationError(error)));
  void receiveAll();

  return {
    id() {
      identity ??= request('id');
      identity.catch(() => {
        identity = undefined;
      });
      return identity;
    },
    info: () => request('info'),
    changes: (options) =>
      oneShotChanges(async () => {
        const { since = 0, limit = replicationChangesMax } = options as { since?: number | string; limit?: number };
        const answer = await request('changes', { since, limit: Math.min(limit, replicationChangesMax) });
        const results = answer.results
          .filter(({ id }) => isDocumentId(id))
          .map(({ deleted, ...row }) => ({ ...row, ...(deleted === true ? { deleted } : {}) }));
        const cut = answer.results.length - results.length + (answer.pending ?? 0);
        return { results, last_seq: answer.last_seq, pending: cut };
      }),
    async bulkGet(options) {
      const wanted = options['docs'] as { id: string; rev: string }[];
      const results: { id: string; docs: { ok: StoredDocument }[] }[] = [];
      let bytes = 0;
      for (let start = 0; start < wanted.length; ) {
        const docs = wanted.slice(start, start + bulkGetRequestsMax).map(({ id, rev }) => ({ id, rev }));
        const answer = await request('bulkGet', { docs });
        if (answer.remaining >= docs.length) throw new ReplicationProtocolError('an answer without progress');
        start += docs.length - answer.remaining;
        for (const result of answer.results) {
          for (const { ok } of result.docs) {
            bytes += JSON.stringify(ok).length;
            // The replicator would fetch attachments, which there are none of; the guard refuses the field.
            if ('_attachments' in ok) ok['_attachments'] = null;
          }
          results.push(result);
        }
        if (bytes > replicationBatchBytesMax) throw new ReplicationProtocolError('a batch of documents is too large');
      }
      return { results };
    },
    revsDiff: (diff) => request('revsDiff', diff),
    async bulkDocs(requested) {
      const refused: unknown[] = [];
      for (const docs of messagesOf(requested['docs'] as StoredDocument[]))
        refused.push(...(await request('bulkDocs', { docs })));
      return refused;
    },
    get: (id) => checkpoints.get(id),
    put: (document) => checkpoints.put(document),
    // The far database's removal ends the stream.
    once: () => undefined,
    removeListener: () => undefined,
    close: () => closeWith(new ReplicationError('the stream was closed')),
  };
}

interface Checkpoints {
  get(id: string): Promise<Record<string, unknown>>;
  put(document: Record<string, unknown>): Promise<Record<string, unknown>>;
}

/**
 * Nobody but this peer writes its checkpoints, so what was read or written over this stream is not asked for again: that is
 * one round trip less before a change is pulled, and one after. A conflict (an older stream of ours) forgets it.
 */
function rememberedCheckpoints(far: Checkpoints): Checkpoints {
  const known = new Map<string, Record<string, unknown>>();
  return {
    async get(id) {
      const remembered = known.get(id);
      if (remembered !== undefined) return structuredClone(remembered);
      const checkpoint = await far.get(id);
      known.set(id, structuredClone(checkpoint));
      return checkpoint;
    },
    async put(document) {
      const id = String(document['_id']);
      known.delete(id);
      const result = await far.put(document);
      known.set(id, structuredClone({ ...document, _rev: result['rev'] }));
      return result;
    },
  };
}

/** Documents of one message each: few enough, and small enough together that others get their turn. */
function* messagesOf(documents: readonly StoredDocument[]): Generator<StoredDocument[]> {
  let message: StoredDocument[] = [];
  let bytes = 0;
  for (const document of documents) {
    const size = JSON.stringify(document).length;
    if (message.length > 0 && (message.length >= replicationBatchMax || bytes + size > replicationAnswerBytes)) {
      yield message;
      message = [];
      bytes = 0;
    }
    message.push(document);
    bytes += size;
  }
  if (message.length > 0) yield message;
}

function asReplicationError(error: unknown): Error {
  if (
    error instanceof ReplicationError ||
    error instanceof ReplicationProtocolError ||
    error instanceof ReplicationRefusedError
  )
    return error;
  return new ReplicationError(error instanceof Error ? error.message : String(error), error);
}
