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
import type { LevelGate } from './level-gate.ts';

/** What PouchDB's `db` option wants: a factory whose `name` keys PouchDB's global cache, with a static `destroy`. */
export interface LevelFactory {
  (databaseName: string): AbstractLevelDOWN;
  destroy(databaseName: string, callback: LevelCallback): void;
}

/** Sorts below every character of a key; no database name may hold it. */
const separator = '\x00';
const afterSeparator = '\x01';

/** Reads on where it was after the LevelDB was opened again. */
class PrefixedIterator extends AbstractIterator {
  readonly #gate: LevelGate;
  readonly #range: LevelOptions;
  readonly #prefixLength: number;
  #inner: { iterator: AbstractIterator; generation: number } | undefined;
  #last: LevelKey | undefined;
  #count = 0;

  constructor(owner: AbstractLevelDOWN, gate: LevelGate, range: LevelOptions, prefixLength: number) {
    super(owner);
    this.#gate = gate;
    this.#range = range;
    this.#prefixLength = prefixLength;
    // At once where it can be: what is written later is not in it.
    if (gate.level.status === 'open') this.#open();
  }

  #open(): AbstractIterator {
    const generation = this.#gate.generation();
    if (this.#inner?.generation === generation) return this.#inner.iterator;
    const { limit, reverse, gt, gte, lt, lte, ...rest } = this.#range;
    const left = typeof limit === 'number' && limit >= 0 ? { limit: limit - this.#count } : {};
    const upper = lt !== undefined ? { lt } : { lte };
    const lower = gt !== undefined ? { gt } : { gte };
    const last = this.#last;
    const ends =
      last === undefined ? { ...lower, ...upper } : reverse ? { ...lower, lt: last } : { gt: last, ...upper };
    const iterator = this.#gate.level.iterator({ ...rest, reverse, ...left, ...ends });
    this.#inner = { iterator, generation };
    return iterator;
  }

  _next(callback: (error?: Error | null, key?: LevelKey, value?: unknown) => void): void {
    this.#gate.read<{ key: LevelKey; value: unknown } | undefined>(
      (done) => {
        this.#open().next((error, key, value) => {
          // A new one next time: this one stays where it failed.
          if (error) this.#drop(() => done(error));
          else done(null, key === undefined ? undefined : { key, value });
        });
      },
      (error, entry) => {
        if (error) return callback(error);
        if (entry === undefined) return callback();
        this.#last = entry.key;
        this.#count += 1;
        // Prefixes are ASCII, so bytes and characters count alike.
        callback(null, entry.key.slice(this.#prefixLength), entry.value);
      },
    );
  }

  #drop(then: () => void): void {
    const inner = this.#inner;
    this.#inner = undefined;
    // Closing the LevelDB has ended those that it had.
    if (inner === undefined || inner.generation !== this.#gate.generation() || this.#gate.level.status !== 'open')
      then();
    else inner.iterator.end(then);
  }

  _end(callback: LevelCallback): void {
    this.#drop(() => this._nextTick(callback as (...values: unknown[]) => void));
  }
}

class PrefixedLevelDown extends AbstractLevelDOWN {
  readonly #gate: LevelGate;
  readonly #shared: AbstractLevelDOWN;
  readonly #prefix: string;
  readonly #end: string;

  constructor(gate: LevelGate, databaseName: string) {
    super({ bufferKeys: true, snapshots: true, permanence: true, createIfMissing: true });
    this.#gate = gate;
    this.#shared = gate.level;
    this.#prefix = `${databaseName}${separator}`;
    this.#end = `${databaseName}${afterSeparator}`;
  }

  #key(key: LevelKey): LevelKey {
    // PouchDB's keys are text.
    return this.#prefix + key.toString();
  }

  _get(key: LevelKey, options: LevelOptions, callback: LevelCallback<unknown>): void {
    this.#gate.read((done) => this.#shared.get(this.#key(key), options, done), callback);
  }

  _put(key: LevelKey, value: unknown, options: LevelOptions, callback: LevelCallback): void {
    this.#gate.write((done) => this.#shared.put(this.#key(key), value, options, done), callback);
  }

  _del(key: LevelKey, options: LevelOptions, callback: LevelCallback): void {
    this.#gate.write((done) => this.#shared.del(this.#key(key), options, done), callback);
  }

  _batch(operations: LevelOperation[], options: LevelOptions, callback: LevelCallback): void {
    const prefixed = operations.map((operation) => ({ ...operation, key: this.#key(operation.key) }));
    this.#gate.write((done) => this.#shared.batch(prefixed, options, done), callback);
  }

  _iterator(options: LevelOptions): AbstractIterator {
    const { gt, gte, lt, lte } = options as Record<'gt' | 'gte' | 'lt' | 'lte', LevelKey | undefined>;
    const lower = gt !== undefined ? { gt: this.#key(gt) } : { gte: gte === undefined ? this.#prefix : this.#key(gte) };
    const upper =
      lt !== undefined ? { lt: this.#key(lt) } : lte !== undefined ? { lte: this.#key(lte) } : { lt: this.#end };
    const { reverse, limit, keys, values, keyAsBuffer, valueAsBuffer } = options;
    const range = { reverse, limit, keys, values, keyAsBuffer, valueAsBuffer, ...lower, ...upper };
    return new PrefixedIterator(this, this.#gate, range, this.#prefix.length);
  }
}

/**
 * `cacheName` must be unique per opened LevelDB in this process; databases are called `<cacheName>/<name>`, and only `<name>` is
 * in their keys. Closing a database made here leaves the shared LevelDB open. `destroy` removes every key of one database.
 */
export function createPrefixedLevel(gate: LevelGate, cacheName: string): LevelFactory {
  const own = (databaseName: string): string => databaseName.slice(cacheName.length + 1);
  const factory = (databaseName: string): AbstractLevelDOWN => new PrefixedLevelDown(gate, own(databaseName));
  Object.defineProperty(factory, 'name', { value: cacheName });
  const destroy = (databaseName: string, callback: LevelCallback): void => {
    const range = { gte: own(databaseName) + separator, lt: own(databaseName) + afterSeparator };
    gate.write((done) => gate.level.clear(range, done), callback);
  };
  return Object.assign(factory, { destroy });
}
