// An engine of the simulation that goes away and comes back, as Docker does: it refuses, or it is silent until somebody notices. Put
// around a SimEngine by sim-node.ts. What was asked of it when it went may have been done or not.

import type { Clock, TimerId } from '../node-runtime/clock.ts';
import type { Engine } from '../node-runtime/engine.ts';
import { EngineStoppedError, EngineUnavailableError } from '../node-runtime/errors.ts';
import type { SimEngine } from './sim-engine.ts';

/** A silent engine is noticed after this: what the pings of the real adapter take. */
const noticedMs = 5_000;

export interface SimOutages {
  /** What the node gets. */
  readonly engine: Engine;
  /** `refuses`: its socket is gone. `silent`: it takes calls and answers none. */
  goAway(how: 'refuses' | 'silent'): void;
  comeBack(): void;
  /** `kill -9` of the daemon: what it had asked and was not taken up yet is not done. */
  crashDaemon(): void;
}

export function createSimOutages({ clock, engine }: { clock: Clock; engine: SimEngine }): SimOutages {
  const listeners = new Set<() => void>();
  /** Until it is noticed or back, calls wait. */
  let silence: PromiseWithResolvers<void> | undefined;
  /** Until it is back, whether noticed or not. */
  let away: PromiseWithResolvers<void> | undefined;
  let reason: string | undefined;
  let noticing: TimerId;
  /** Counts the daemons. */
  let daemon = 0;
  /** Rejects for those who asked before it was noticed. */
  let gone = Promise.withResolvers<never>();
  gone.promise.catch(() => undefined);

  function tell(next: string | undefined): void {
    if (reason === next) return;
    reason = next;
    if (next !== undefined) {
      gone.reject(new EngineUnavailableError(next));
      gone = Promise.withResolvers<never>();
      gone.promise.catch(() => undefined);
    }
    silence?.resolve();
    silence = undefined;
    for (const listener of [...listeners]) listener();
  }

  async function ask<T>(work: () => Promise<T>): Promise<T> {
    const asked = daemon;
    if (silence !== undefined) await silence.promise;
    if (asked !== daemon) throw new EngineStoppedError();
    if (reason !== undefined) throw new EngineUnavailableError(reason);
    return Promise.race([work(), gone.promise]);
  }

  return {
    engine: {
      ...engine,
      unavailable: () => reason,
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      list: () => ask(() => engine.list()),
      stage: (spec, onProgress, signal) => ask(() => engine.stage(spec, onProgress, signal)),
      launch: (launch) => ask(() => engine.launch(launch)),
      terminate: (instance, timeoutMs) => ask(() => engine.terminate(instance, timeoutMs)),
      remove: (instance) => ask(() => engine.remove(instance)),
      writeFiles: (instance, files) => ask(() => engine.writeFiles(instance, files)),
      writeHosts: (instance, hosts) => ask(() => engine.writeHosts(instance, hosts)),
      // An end is waited for through an outage: the real adapter looks again when it is back.
      waitForExit: async (instance, signal) => {
        try {
          return await engine.waitForExit(instance, signal);
        } finally {
          if (signal?.aborted !== true) await away?.promise;
        }
      },
    },
    goAway(how) {
      if (away !== undefined) return;
      away = Promise.withResolvers<void>();
      if (how === 'refuses') return tell('the socket is gone');
      silence = Promise.withResolvers<void>();
      noticing = clock.setTimeout(() => tell('it does not answer'), noticedMs);
    },
    crashDaemon() {
      daemon += 1;
      listeners.clear();
    },
    comeBack() {
      clock.clearTimeout(noticing);
      away?.resolve();
      away = undefined;
      silence?.resolve();
      silence = undefined;
      tell(undefined);
    },
  };
}
