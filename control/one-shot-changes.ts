// The object that `changes()` returns in one-shot mode: a promise that also emits its rows, as PouchDB's replicator wants it.
// Called by whatever is a peer of replication. No timers: rows come in the microtask of the result.

export interface ChangeRow {
  id: string;
  seq: number | string;
  changes: { rev: string }[];
  deleted?: boolean;
}

export interface ChangesAnswer {
  results: ChangeRow[];
  last_seq: number | string;
  /** Rows after these; more than zero when the answer was cut short (CouchDB's field). */
  pending?: number;
}

export interface OneShotChanges extends PromiseLike<ChangesAnswer> {
  /** The replicator listens to `change` alone, once for each row and before the promise resolves. */
  on(event: string, listener: (row: ChangeRow) => void): OneShotChanges;
  catch(onRejected: (error: unknown) => unknown): Promise<unknown>;
  /** Rows no longer reach anybody and the promise resolves empty. */
  cancel(): void;
}

/** Runs `read` at once; its rows are emitted to listeners that were added synchronously after this call. */
export function oneShotChanges(read: () => Promise<ChangesAnswer>): OneShotChanges {
  const listeners: ((row: ChangeRow) => void)[] = [];
  let cancelled = false;
  const { promise, resolve, reject } = Promise.withResolvers<ChangesAnswer>();
  const run = async (): Promise<void> => {
    const answer = await read();
    if (cancelled) return;
    for (const row of answer.results) for (const listener of listeners) listener(row);
    resolve(answer);
  };
  run().catch(reject);
  // Whoever cancelled no longer listens; a late failure must not end the process.
  promise.catch(() => {});
  const changes: OneShotChanges = {
    on(event, listener) {
      if (event === 'change') listeners.push(listener);
      return changes;
    },
    // biome-ignore lint/suspicious/noThenProperty: PouchDB's replicator calls `then` on this very object
    then: (onFulfilled, onRejected) => promise.then(onFulfilled, onRejected),
    catch: (onRejected) => promise.catch(onRejected),
    cancel() {
      cancelled = true;
      resolve({ results: [], last_seq: 0 });
    },
  };
  return changes;
}
