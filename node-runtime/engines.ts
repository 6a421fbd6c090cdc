// The engines of one node as one: a launch goes to the engine of its spec, everything else to the engine that has the instance.
// Called by instances.ts and the composition. It runs nothing itself.

import type { StageSpec } from '../control/plan.ts';
import type { Engine, EngineInstance, EngineOwner, WantedInstance } from './engine.ts';
import { EngineMissingError, InstanceUnknownError, PolicyRefusedError } from './errors.ts';
import type { GoneInstance, KeptLogs } from './kept-logs.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { LOG_TAIL_LINES_MAX } from './limits.ts';
import { type NodePolicy, nothingAllowed, policyRefusal } from './policy.ts';

export interface EngineState {
  name: string;
  /** Why it cannot be used now. */
  unavailable: string | undefined;
}

export interface Engines extends Omit<Engine, 'name' | 'unavailable' | 'subscribe' | 'list' | 'want'> {
  /** What workloads may have of this box; `stage` and `launch` reject with PolicyRefusedError for what they may not. */
  readonly policy: NodePolicy;
  /** Names of those that can be used now. */
  offered(): string[];
  states(): EngineState[];
  unavailable(engine: string): string | undefined;
  /** Calls the listener with the name of an engine that came or went. */
  subscribe(listener: (engine: string) => void): () => void;
  /** What an earlier daemon left in one engine, or in all that can be used now. */
  list(engine?: string): Promise<EngineInstance[]>;
  /** An instance that was removed, whose last lines `logs` still reads; by its name or a part of it. */
  gone(name: string): Promise<GoneInstance | undefined>;
  want(planned: readonly WantedInstance[], staged: readonly StageSpec[]): void;
  /** Ends and forgets what one engine has of an instance that another one runs by now, or that nobody wants. */
  clear(engine: string, instance: string, timeoutMs: number): Promise<void>;
}

/** The first one is always there: the node does not start without it. Without `kept` the log of an instance goes with it. */
export function createEngines(
  engines: readonly [Engine, ...Engine[]],
  { policy = nothingAllowed, kept }: { policy?: NodePolicy | undefined; kept?: KeptLogs } = {},
): Engines {
  const byName = new Map(engines.map((engine) => [engine.name, engine]));
  const owners = new Map<string, Engine>();
  /** Launches of one instance come one after the other. */
  const queue = createKeyedQueue();

  function named(name: string): Engine {
    const engine = byName.get(name);
    if (engine === undefined) throw new EngineMissingError(name);
    return engine;
  }

  function ownerOf(instance: string): Engine {
    const owner = owners.get(instance);
    if (owner === undefined) throw new InstanceUnknownError(instance);
    return owner;
  }

  function heed(spec: StageSpec): void {
    const refusal = policyRefusal(spec, policy);
    if (refusal !== undefined) throw new PolicyRefusedError(refusal);
  }

  async function remove(engine: Engine, instance: string): Promise<void> {
    await kept?.keep(instance, engine.logs(instance, { tail: LOG_TAIL_LINES_MAX, follow: false }));
    await engine.remove(instance);
  }

  const usable = (): Engine[] => engines.filter((engine) => engine.unavailable() === undefined);

  return {
    async start(owner: EngineOwner) {
      const begun: Engine[] = [];
      try {
        for (const engine of engines) {
          begun.push(engine);
          await engine.start(owner);
        }
        kept?.start();
      } catch (error) {
        await Promise.all(begun.map((engine) => engine.stop()));
        throw error;
      }
    },
    async stop() {
      kept?.stop();
      await Promise.all(engines.map((engine) => engine.stop()));
    },

    offered: () => usable().map(({ name }) => name),
    states: () => engines.map((engine) => ({ name: engine.name, unavailable: engine.unavailable() })),
    unavailable: (name) => (byName.has(name) ? named(name).unavailable() : 'this node has no such engine'),
    subscribe(listener) {
      const ends = engines.map((engine) => engine.subscribe(() => listener(engine.name)));
      return () => {
        for (const end of ends) end();
      };
    },
    notHeld: (spec) => byName.get(spec.engine)?.notHeld(spec),
    network: async (instance, spec) => named(spec.engine).network(instance, spec),

    async list(engine) {
      const asked = engine === undefined ? usable() : [named(engine)];
      const all: EngineInstance[] = [];
      for (const one of asked) {
        for (const found of await one.list()) {
          if (!owners.has(found.instance)) owners.set(found.instance, one);
          if (owners.get(found.instance) === one) all.push(found);
          // Two engines have it: this one was away when the other was told to run it.
          else await clear(one, found.instance, 0);
        }
      }
      return all;
    },

    policy,
    async stage(spec, onProgress, signal) {
      heed(spec);
      await named(spec.engine).stage(spec, onProgress, signal);
    },
    want(planned, staged) {
      for (const engine of engines) engine.want?.(planned, staged);
    },
    async launch(launch) {
      const { instance, spec } = launch;
      heed(spec);
      const engine = named(spec.engine);
      return queue.run(instance, async () => {
        const before = owners.get(instance);
        // Nobody else would end what still runs there.
        if (before !== undefined && before !== engine) await clear(before, instance, spec.stopTimeoutMs);
        owners.set(instance, engine);
        return engine.launch(launch);
      });
    },
    waitForExit: async (instance, signal) => ownerOf(instance).waitForExit(instance, signal),
    async terminate(instance, timeoutMs) {
      // A launch that is under way comes first: it may be going from one engine to another.
      await queue.run(instance, async () => undefined);
      const owner = owners.get(instance);
      if (owner !== undefined) return owner.terminate(instance, timeoutMs);
      // Nobody launched or found it: what an engine that is away has of it is found when that is back.
      for (const engine of usable()) {
        const exit = await engine.terminate(instance, timeoutMs);
        if (exit !== undefined) return exit;
      }
      return undefined;
    },
    async remove(instance) {
      const owner = owners.get(instance);
      for (const engine of owner === undefined ? usable() : [owner]) await remove(engine, instance);
      owners.delete(instance);
    },
    clear: (engine, instance, timeoutMs) => clear(named(engine), instance, timeoutMs),
    writeFiles: async (instance, files) => ownerOf(instance).writeFiles(instance, files),
    writeMounts: async (instance, mounts) => ownerOf(instance).writeMounts(instance, mounts),
    writeHosts: async (instance, hosts) => ownerOf(instance).writeHosts(instance, hosts),
    exec: async (instance, command, options) => ownerOf(instance).exec(instance, command, options),
    async *logs(instance, query, signal) {
      const owner = owners.get(instance);
      if (owner === undefined && kept !== undefined) yield* kept.read(instance, query);
      else yield* ownerOf(instance).logs(instance, query, signal);
    },
    gone: async (name) => kept?.find(name),
  };

  async function clear(engine: Engine, instance: string, timeoutMs: number): Promise<void> {
    await engine.terminate(instance, timeoutMs);
    await remove(engine, instance);
    if (owners.get(instance) === engine) owners.delete(instance);
  }
}
