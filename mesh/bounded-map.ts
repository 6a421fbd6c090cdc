// A map that forgets what was used longest ago once it is full. Pure data structure, used wherever others decide how many keys there are.

export interface BoundedMap<K, V> {
  /** Counts as a use. */
  get(key: K): V | undefined;
  set(key: K, value: V): void;
  delete(key: K): void;
  deleteWhere(matches: (value: V, key: K) => boolean): void;
  keys(): IterableIterator<K>;
  /** Whoever was used longest ago comes first; not a use. */
  values(): IterableIterator<V>;
  readonly size: number;
}

export function createBoundedMap<K, V>(entriesMax: number): BoundedMap<K, V> {
  // A Map iterates in order of insertion; a used entry is inserted again, so the first one is the oldest.
  const entries = new Map<K, V>();
  return {
    get(key) {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      if (entries.size <= entriesMax) return;
      const oldest = entries.keys().next();
      if (!oldest.done) entries.delete(oldest.value);
    },
    delete: (key) => void entries.delete(key),
    deleteWhere(matches) {
      for (const [key, value] of entries) if (matches(value, key)) entries.delete(key);
    },
    keys: () => entries.keys(),
    values: () => entries.values(),
    get size() {
      return entries.size;
    },
  };
}
