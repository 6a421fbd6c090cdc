// Runs work on one key (a path, an instance) one after the other, work on different keys side by side. Called by
// file-disk.ts, engines.ts and the engines. It keeps nothing about a key that is idle.

export interface KeyedQueue {
  /** Runs after everything that was given before for this key, also when that failed. */
  run<T>(key: string, work: () => Promise<T>): Promise<T>;
}

export function createKeyedQueue(): KeyedQueue {
  const tails = new Map<string, Promise<unknown>>();
  return {
    run(key, work) {
      const before = tails.get(key) ?? Promise.resolve();
      const result = before.then(work, work);
      const tail = result.then(
        () => undefined,
        () => undefined,
      );
      tails.set(key, tail);
      void tail.then(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
      return result;
    },
  };
}
