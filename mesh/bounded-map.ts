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

/** What all values together may weigh. */
export interface WeightMax<V> {
  max: number;
  of(value: V): number;
}

export function createBoundedMap<K, V>(entriesMax: number, weight?: WeightMax<V>): BoundedMap<K, V> {
  // A Map iterates in order of insertion; a used entry is inserted again, so the first one is the oldest.
  const entries = new Map<K, V>();
  let weighs = 0;

  function remove(key: K): void {
    const value = entries.get(key);
    if (value === undefined) return;
    entries.delete(key);
    weighs -= weight?.of(value) ?? 0;
  }

  return {
    get(key) {
      const value = entries.get(key);
      if (value === undefined) return undefined;
      entries.delete(key);
      entries.set(key, value);
      return value;
    },
    set(key, value) {
      remove(key);
      entries.set(key, value);
      weighs += weight?.of(value) ?? 0;
      while (entries.size > entriesMax || (weight !== undefined && weighs > weight.max)) {
        const oldest = entries.keys().next();
        if (oldest.done) return;
        remove(oldest.value);
      }
    },
    delete: remove,
    deleteWhere(matches) {
      for (const [key, value] of entries) if (matches(value, key)) remove(key);
    },
    keys: () => entries.keys(),
    values: () => entries.values(),
    get size() {
      return entries.size;
    },
  };
}
