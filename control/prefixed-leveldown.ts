// Many databases in one LevelDB: each gets its own prefix of keys. PouchDB takes it by its `db` option. Called by
// pouch-store.ts alone. It must never touch a key outside its prefix, nor the LevelDB once that is closed (a native crash).

import {
  AbstractIterator,
  AbstractLevelDOWN,
  type LevelCallback,
  type LevelKey,
  type LevelOperation,
  type LevelOptions,
} from 'abstract-leveldown';

/** What PouchDB's `db` option wants: a factory whose `name` keys PouchDB's global cache, with a static `destroy`. */
export interface LevelFactory {
  (databaseName: string): AbstractLevelDOWN;
  destroy(databaseName: string, callback: LevelCallback): void;
}

/** Sorts below every character of a key; no database name may hold it. */
const separator = '\x00';
const afterSeparator = '\x01';

class PrefixedIterator extends AbstractIterator {
  readonly #inner: AbstractIterator;
  readonly #prefixLength: number;

  constructor(owner: AbstractLevelDOWN, inner: AbstractIterator, prefixLength: number) {
    super(owner);
    this.#inner = inner;
    this.#prefixLength = prefixLength;
  }

  _next(callback: (error?: Error | null, key?: LevelKey, value?: unknown) => void): void {
    this.#inner.next((error, key, value) => {
      if (error) callback(error);
      else if (key === undefined) callback();
      // Prefixes are ASCII, so bytes and characters count alike.
      else callback(null, key.slice(this.#prefixLength), value);
    });
  }

  _end(callback: LevelCallback): void {
    this.#inner.end(callback);
  }
}

class PrefixedLevelDown extends AbstractLevelDOWN {
  readonly #shared: AbstractLevelDOWN;
  readonly #prefix: string;
  readonly #end: string;
  readonly #onReadError: (error: Error) => void;

  constructor(shared: AbstractLevelDOWN, databaseName: string, onReadError: (error: Error) => void) {
    super({ bufferKeys: true, snapshots: true, permanence: true, createIfMissing: true });
    this.#shared = shared;
    this.#prefix = `${databaseName}${separator}`;
    this.#end = `${databaseName}${afterSeparator}`;
    this.#onReadError = onReadError;
  }

  #key(key: LevelKey): LevelKey {
    // PouchDB's keys are text.
    return this.#prefix + key.toString();
  }

  #whenOpen(callback: (error: Error) => void, run: () => void): void {
    if (this.#shared.status === 'open') run();
    else this._nextTick(callback as (...values: unknown[]) => void, new Error('the store is closed'));
  }

  _get(key: LevelKey, options: LevelOptions, callback: LevelCallback<unknown>): void {
    const answer: LevelCallback<unknown> = (error, value) => {
      if (error && !/notfound/i.test(error.message)) this.#onReadError(error);
      callback(error, value);
    };
    this.#whenOpen(answer, () => this.#shared.get(this.#key(key), options, answer));
  }

  _put(key: LevelKey, value: unknown, options: LevelOptions, callback: LevelCallback): void {
    this.#whenOpen(callback, () => this.#shared.put(this.#key(key), value, options, callback));
  }

  _del(key: LevelKey, options: LevelOptions, callback: LevelCallback): void {
    this.#whenOpen(callback, () => this.#shared.del(this.#key(key), options, callback));
  }

  _batch(operations: LevelOperation[], options: LevelOptions, callback: LevelCallback): void {
    this.#whenOpen(callback, () =>
      this.#shared.batch(
        operations.map((operation) => ({ ...operation, key: this.#key(operation.key) })),
        options,
        callback,
      ),
    );
  }

  _iterator(options: LevelOptions): AbstractIterator {
    if (this.#shared.status !== 'open') return new AbstractIterator(this);
    const { gt, gte, lt, lte } = options as Record<'gt' | 'gte' | 'lt' | 'lte', LevelKey | undefined>;
    const lower = gt !== undefined ? { gt: this.#key(gt) } : { gte: gte === undefined ? this.#prefix : this.#key(gte) };
    const upper =
      lt !== undefined ? { lt: this.#key(lt) } : lte !== undefined ? { lte: this.#key(lte) } : { lt: this.#end };
    const { reverse, limit, keys, values, keyAsBuffer, valueAsBuffer } = options;
    const range = { reverse, limit, keys, values, keyAsBuffer, valueAsBuffer, ...lower, ...upper };
    return new PrefixedIterator(this, this.#shared.iterator(range), this.#prefix.length);
  }
}

/**
 * `cacheName` must be unique per opened LevelDB in this process; databases are called `<cacheName>/<name>`, and only `<name>` is
 * in their keys. The shared LevelDB must be open; closing a database made
 * here leaves it open. `destroy` removes every key of one database. PouchDB takes every failed read for "no such document",
 * so `onReadError` is told of those that are something else.
 */
export function createPrefixedLevel(
  shared: AbstractLevelDOWN,
  cacheName: string,
  onReadError: (error: Error) => void,
): LevelFactory {
  const own = (databaseName: string): string => databaseName.slice(cacheName.length + 1);
  const factory = (databaseName: string): AbstractLevelDOWN =>
    new PrefixedLevelDown(shared, own(databaseName), onReadError);
  Object.defineProperty(factory, 'name', { value: cacheName });
  const destroy = (databaseName: string, callback: LevelCallback): void => {
    if (shared.status !== 'open') callback(new Error('the store is closed'));
    else shared.clear({ gte: own(databaseName) + separator, lt: own(databaseName) + afterSeparator }, callback);
  };
  return Object.assign(factory, { destroy });
}
