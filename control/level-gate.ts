// The one LevelDB of a store, kept usable through what the box refuses for a while: no space, a read-only volume, no descriptors. After a
// failed write its journal may end in half a record, behind which LevelDB would write on and, after the next start, find nothing of it: so
// no write passes until it was opened again. Called by prefixed-leveldown.ts and pouch-store.ts. It must never acknowledge a write that a
// kill -9 would lose, nor answer a read with a refusal that passes: PouchDB takes that for "no such document".

import type { AbstractLevelDOWN, LevelCallback } from 'abstract-leveldown';
import type { Clock } from '../node-runtime/clock.ts';
import { StorageRefusedError, StoreDamagedError } from './errors.ts';
import { checkRoom, faultOf } from './level-faults.ts';
import { levelFilesMax, storeReadRetryMs, storeReopenMs } from './limits.ts';

export interface LevelGate {
  readonly level: AbstractLevelDOWN;
  /** Changes each time it was opened: iterators of earlier ones are gone. */
  generation(): number;
  /** Runs a read; again until it succeeds, when what stands in its way may pass. */
  read<T>(run: (done: LevelCallback<T>) => void, callback: LevelCallback<T>): void;
  /** One write at a time; refused with StorageRefusedError while the store cannot be written. */
  write(run: (done: LevelCallback) => void, callback: LevelCallback): void;
  /** Runs an operation of PouchDB; rejects with StorageRefusedError as soon as a read that it may wait for is refused. */
  during<T>(operation: () => Promise<T>): Promise<T>;
  /** The files cannot be read: permanent. */
  damage(): Error | undefined;
  close(): Promise<void>;
}

export function callLevel(run: (callback: LevelCallback) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    run((error) => (error ? reject(error) : resolve()));
  });
}

export const openLevel = (level: AbstractLevelDOWN): Promise<void> =>
  callLevel((callback) => level.open({ maxOpenFiles: levelFilesMax }, callback));

/** `level` is open. */
export function createLevelGate({
  level,
  folder,
  clock,
}: {
  level: AbstractLevelDOWN;
  folder: string;
  clock: Pick<Clock, 'sleep'>;
}): LevelGate {
  let generation = 1;
  /** Set from a failed write until it was opened again. */
  let refused: StorageRefusedError | undefined;
  let damaged: Error | undefined;
  /** Reads that wait while it is closed. */
  let waiting: (() => void)[] | undefined;
  let writes: Promise<void> = Promise.resolve();
  let ended = false;
  const ending = new AbortController();
  /** Rejects the operations that are under way. */
  const refusals = new Set<(error: Error) => void>();

  const errorOf = (error: unknown): StorageRefusedError => new StorageRefusedError(folder, error, faultOf(error));

  function tellReaders(error: unknown): void {
    for (const refuse of [...refusals]) refuse(errorOf(error));
  }

  /** Within `writes`: nothing is written meanwhile. Whether it can be written again. */
  async function reopen(): Promise<boolean> {
    if (refused === undefined) return true;
    if (ended || damaged !== undefined) return false;
    try {
      await checkRoom(folder);
      waiting ??= [];
      if (level.status === 'open') await callLevel((callback) => level.close(callback));
      await openLevel(level);
    } catch (error) {
      if (waiting !== undefined && faultOf(error) === undefined) damaged = new StoreDamagedError(folder, error);
      refused = errorOf(error);
      if (waiting !== undefined) tellReaders(error);
      return false;
    }
    generation += 1;
    refused = undefined;
    const reads = waiting;
    waiting = undefined;
    for (const read of reads) read();
    return true;
  }

  function serialized(work: () => Promise<void>): void {
    writes = writes.then(work);
  }

  /** By itself, also when nobody writes. */
  async function watch(): Promise<void> {
    while (refused !== undefined && damaged === undefined && !ended) {
      await clock.sleep(storeReopenMs, ending.signal);
      serialized(async () => void (await reopen()));
      await writes;
    }
  }

  function refuseWrites(error: unknown): void {
    const known = refused !== undefined;
    refused = errorOf(error);
    if (!known) watch().catch(() => undefined);
  }

  function read<T>(run: (done: LevelCallback<T>) => void, callback: LevelCallback<T>): void {
    if (ended) level._nextTick(callback as (...values: unknown[]) => void, new Error('the store is closed'));
    else if (waiting !== undefined) waiting.push(() => read(run, callback));
    else {
      const began = generation;
      run((error, value) => {
        if (!error || /notfound/i.test(error.message)) return callback(error, value);
        // It was closed under the read.
        if (waiting !== undefined || generation !== began) return read(run, callback);
        if (faultOf(error) === undefined) {
          damaged ??= new StoreDamagedError(folder, error);
          return callback(error, value);
        }
        tellReaders(error);
        clock.sleep(storeReadRetryMs, ending.signal).then(
          () => read(run, callback),
          () => callback(error),
        );
      });
    }
  }

  return {
    level,
    generation: () => generation,
    read,
    write(run, callback) {
      serialized(async () => {
        if (ended || level.status !== 'open' || refused !== undefined) {
          const open = !ended && (await reopen());
          if (!open) {
            const error = ended ? new Error('the store is closed') : errorOf(refused?.cause ?? refused);
            level._nextTick(callback as (...values: unknown[]) => void, error);
            return;
          }
        }
        const { promise: done, resolve } = Promise.withResolvers<void>();
        run((error) => {
          if (error) refuseWrites(error);
          // First, so that nothing the callback throws holds up the next.
          resolve();
          callback(error ? errorOf(error) : null);
        });
        await done;
      });
    },
    async during(operation) {
      if (damaged !== undefined) throw damaged;
      if (waiting !== undefined && refused !== undefined) throw errorOf(refused.cause);
      const { promise, reject } = Promise.withResolvers<never>();
      refusals.add(reject);
      try {
        const answer = await Promise.race([operation(), promise]);
        if (damaged !== undefined) throw damaged;
        return answer;
      } catch (error) {
        throw damaged ?? error;
      } finally {
        refusals.delete(reject);
      }
    },
    damage: () => damaged,
    async close() {
      ended = true;
      ending.abort(new Error('the store is closed'));
      await writes;
      const reads = waiting ?? [];
      waiting = undefined;
      for (const one of reads) one();
      if (level.status === 'open') await callLevel((callback) => level.close(callback));
    },
  };
}
