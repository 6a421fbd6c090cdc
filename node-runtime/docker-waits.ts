// Who waits for something of a container instance: its end, or any change. Called by docker-engine.ts, which says when something
// happened. It holds nothing that must survive: a waiter that is woken looks at the container itself.

import type { Clock } from './clock.ts';
import type { Exit } from './engine.ts';
import { DockerUnavailableError } from './errors.ts';
import { DOCKER_EXIT_POLL_MS } from './limits.ts';

export interface DockerWaits {
  /** Something happened to the instance; to all of them when Docker came or went. */
  wake(instance?: string): void;
  /** It has ended so. Who waits hears of it also when the next run begins at once. */
  tell(instance: string, exit: Exit): void;
  /** Resolves at the next change, and when the signal aborts. */
  changed(instance: string, signal: AbortSignal): Promise<void>;
  /** While Docker is away it waits: what ends then is heard of when Docker is back. Rejects as `look` does. */
  untilEnded(instance: string, signal?: AbortSignal): Promise<Exit>;
  /** The exit, or undefined once `waitMs` have passed. */
  endWithin(instance: string, waitMs: number): Promise<Exit | undefined>;
}

export function createDockerWaits(dependencies: {
  clock: Clock;
  /** Aborts, with the reason, when the engine stops. */
  stopping(): AbortSignal;
  /** The exit of an ended one, undefined of a running one; rejects when there is none. */
  look(instance: string): Promise<Exit | undefined>;
}): DockerWaits {
  const { clock, stopping, look } = dependencies;
  const wakers = new Map<string, Set<() => void>>();
  const tellers = new Map<string, Set<(exit: Exit) => void>>();

  function wake(instance?: string): void {
    for (const [name, waiting] of wakers) {
      if (instance === undefined || name === instance) for (const done of waiting) done();
    }
  }

  function changed(instance: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const done = (): void => resolve();
    add(wakers, instance, done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
    return promise.finally(() => {
      signal.removeEventListener('abort', done);
      drop(wakers, instance, done);
    });
  }

  /** What `look` says, but nothing while Docker is away. */
  async function lookNow(instance: string): Promise<Exit | undefined> {
    try {
      return await look(instance);
    } catch (error) {
      if (error instanceof DockerUnavailableError) return undefined;
      throw error;
    }
  }

  async function untilEnded(instance: string, signal?: AbortSignal): Promise<Exit> {
    const stops = stopping();
    const either = signal === undefined ? stops : AbortSignal.any([signal, stops]);
    let told: Exit | undefined;
    const tell = (exit: Exit): void => {
      told = exit;
    };
    add(tellers, instance, tell);
    try {
      for (;;) {
        either.throwIfAborted();
        const wait = new AbortController();
        const change = changed(instance, AbortSignal.any([either, wait.signal]));
        const timer = clock.setTimeout(() => wait.abort(), DOCKER_EXIT_POLL_MS);
        try {
          const exit = told ?? (await lookNow(instance));
          // Told while it looked: that was of the run that it waits for, and what it saw may be of the next.
          if (told !== undefined || exit !== undefined) return told ?? (exit as Exit);
          await change;
        } catch (error) {
          if (told !== undefined) return told;
          throw error;
        } finally {
          clock.clearTimeout(timer);
          wait.abort();
        }
      }
    } finally {
      drop(tellers, instance, tell);
    }
  }

  return {
    wake,
    changed,
    untilEnded,
    tell(instance, exit) {
      for (const one of tellers.get(instance) ?? []) one(exit);
      wake(instance);
    },
    async endWithin(instance, waitMs) {
      const late = new AbortController();
      const timer = clock.setTimeout(() => late.abort(), waitMs);
      try {
        return await untilEnded(instance, late.signal);
      } catch (error) {
        if (late.signal.aborted) return undefined;
        throw error;
      } finally {
        clock.clearTimeout(timer);
      }
    },
  };
}

function add<T>(all: Map<string, Set<T>>, key: string, one: T): void {
  const some = all.get(key) ?? new Set<T>();
  all.set(key, some.add(one));
}

function drop<T>(all: Map<string, Set<T>>, key: string, one: T): void {
  const some = all.get(key);
  some?.delete(one);
  if (some?.size === 0) all.delete(key);
}
