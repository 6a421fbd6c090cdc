// One simulated box: what survives its restarts (disk, store, engine, keys), and the product's own node started on it. Called
// by scenarios and tests. It decides nothing: it is node-runtime/daemon.ts with simulated ports.

import { replicate } from '../control/replicate.ts';
import type { Database, Store } from '../control/store.ts';
import type { TraceRecord } from '../node-runtime/actor-system.ts';
import { createController } from '../node-runtime/controller.ts';
import { createEngines } from '../node-runtime/engines.ts';
import { type SelvedgeNode, startNode } from '../node-runtime/node.ts';
import type { NodePorts, NodeSettings, Report } from '../node-runtime/node-ports.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import type { SimClock } from './sim-clock.ts';
import { createSimDisk, type SimDisk } from './sim-disk.ts';
import { createSimEngine, type SimEngine, type SimEngineOptions } from './sim-engine.ts';
import { openSimGateway } from './sim-gateway.ts';
import { createSimHardware, type SimHardware } from './sim-hardware.ts';
import { createSimKeys } from './sim-keys.ts';
import { createSimLife, type SimLife } from './sim-life.ts';
import type { SimNetwork } from './sim-mesh.ts';
import { createSimOutages, type SimOutages } from './sim-outages.ts';
import type { SimRandom } from './sim-random.ts';
import { simDeriveKey } from './sim-scrypt.ts';
import { createSimServiceNetwork, type SimServiceNetwork } from './sim-service-network.ts';
import { createSimStore, type SimStore } from './sim-store.ts';

export interface SimBox {
  readonly name: string;
  readonly disk: SimDisk;
  readonly store: SimStore;
  readonly engine: SimEngine;
  readonly hardware: SimHardware;
  /** The engine of containers, and what makes it go away; where it was asked for. */
  readonly containers: { engine: SimEngine; outages: SimOutages } | undefined;
  /** What the node of the last start told its service network. */
  readonly services: SimServiceNetwork | undefined;
  /** Starts the node on this box; again after `stop` or `crash`. */
  start(settings?: Partial<NodeSettings>): Promise<SelvedgeNode>;
  /** The running node; throws when there is none. */
  node(): SelvedgeNode;
  readonly running: boolean;
  stop(): Promise<void>;
  /** `kill -9` of the daemon: nothing of it goes on, workloads do. */
  crash(): void;
  /** The same before or after the nth effect on store or disk from now on, whatever it is; `onCrash` is told. */
  crashAtEffect(count: number, onCrash: () => void): void;
  /** Its clock is so far ahead of the others' from now on. */
  setClockOffset(offsetMs: number): void;
}

export interface SimBoxWishes {
  /** It has an engine of containers too, which can go away. */
  containers?: boolean;
  /** As SimEngineOptions.watch, of all its engines. */
  watch?: SimEngineOptions['watch'];
  /** As its operator set them. */
  linkCostsMs?: ReadonlyMap<string, number>;
  /** The node's own events, of every life. */
  onEvent?: Report;
}

export interface SimBoxOptions extends SimBoxWishes {
  name: string;
  clock: SimClock;
  random: SimRandom;
  network: SimNetwork;
  trace: (record: TraceRecord) => void;
}

/** Reports every revision that a database gets, by whomever it was written. */
function traced(store: Store, report: (database: string, id: string, revision: string) => void): Store {
  const opened = new Map<string, Database>();
  return {
    ...store,
    async open(name) {
      const database = await store.open(name);
      if (!opened.has(name)) {
        opened.set(name, database);
        database.subscribe(({ id }) => {
          database.leaves(id).then(
            (leaves) =>
              report(
                name,
                id,
                leaves
                  .map(({ _rev = '' }) => _rev)
                  .sort()
                  .join(' '),
              ),
            () => undefined,
          );
        });
      }
      return database;
    },
    async destroy(name) {
      opened.delete(name);
      await store.destroy(name);
    },
    // The box keeps its store: closing is the daemon's end, not the disk's.
    async close() {},
  };
}

export function createSimBox(options: SimBoxOptions): SimBox {
  const { name, clock, random, network, trace, watch, onEvent, linkCostsMs } = options;
  const disk = createSimDisk();
  const store = createSimStore({ random: random.fork('store') });
  const hardware = createSimHardware();
  const watched = watch === undefined ? {} : { watch };
  const engine = createSimEngine({ clock, random: random.fork('engine'), ...watched });
  const containers = options.containers === true ? createContainers() : undefined;
  const keys = createSimKeys(random.fork('keys'));
  const chance = random.fork('node');
  const kept = traced(store, (database, id, revision) =>
    trace({ at: clock.now(), node: name, actor: `database/${database}`, event: id, state: revision }),
  );
  let running: SelvedgeNode | undefined;
  let services: SimServiceNetwork | undefined;
  let nextPort = 20_000;
  let life: SimLife | undefined;
  let peerId: string | undefined;
  let offsetMs = 0;
  let crashIn: { effects: number; onCrash: () => void } | undefined;

  function createContainers() {
    const inner = createSimEngine({ clock, random: random.fork('containers'), name: 'docker', ...watched });
    return { engine: inner, outages: createSimOutages({ clock, engine: inner }) };
  }

  function crash(): void {
    life?.end();
    if (peerId !== undefined) network.crash(peerId);
    engine.crashDaemon();
    containers?.engine.crashDaemon();
    containers?.outages.crashDaemon();
    running = undefined;
    crashIn = undefined;
  }

  function onEffect(): void {
    if (crashIn === undefined) return;
    crashIn.effects -= 1;
    if (crashIn.effects > 0) return;
    const { onCrash } = crashIn;
    crash();
    onCrash();
  }

  return {
    name,
    disk,
    store,
    engine,
    hardware,
    containers,
    get services() {
      return services;
    },
    get running() {
      return running !== undefined;
    },
    node() {
      if (running === undefined) throw new Error(`the simulated node ${name} does not run`);
      return running;
    },
    async start(settings = {}) {
      // One that still starts is no more.
      crash();
      const born = createSimLife(clock, { offsetMs: () => offsetMs, onEffect });
      life = born;
      const ports: NodePorts = {
        clock: born.clock,
        random: chance,
        keys,
        deriveKey: simDeriveKey,
        disk: born.disk(disk),
        engines: createEngines([engine, ...(containers === undefined ? [] : [containers.outages.engine])]),
        hardware: {
          ...hardware,
          // A daemon that was killed hears nothing.
          subscribe: (listener) => hardware.subscribe(() => born.alive() && listener()),
        },
        replicate,
        // Simulated workloads are as ready as they run.
        probe: async () => ({ ok: true }),
        freePort: async () => nextPort++,
        openStore: async () => born.store(kept),
        createMesh: async (identity) => {
          peerId = peerIdOf(identity.publicKey);
          return network.createMesh({ peerId, name });
        },
        openGateway: openSimGateway,
        createController,
        createServiceNetwork({ localPeerId }) {
          services = createSimServiceNetwork({ node: localPeerId });
          return services;
        },
        platform: { arch: 'x64', os: 'linux' },
        hostName: name,
        software: 'simulated',
        ...(linkCostsMs !== undefined && { linkCostsMs }),
        trace: (record) => {
          if (born.alive()) trace(record);
        },
      };
      const wished: NodeSettings = { name, labels: {}, found: false, join: [], ...settings };
      const started = await startNode(ports, wished, (type, message, more) => {
        if (!born.alive()) return;
        trace({ at: clock.now(), node: name, actor: 'node', event: type, state: message });
        onEvent?.(type, message, more);
      });
      // It may have crashed while it started.
      if (!born.alive()) return new Promise<never>(() => undefined);
      running = started;
      return running;
    },
    async stop() {
      await running?.stop({ workloads: false });
      running = undefined;
    },
    crash,
    crashAtEffect(effects, onCrash) {
      crashIn = { effects, onCrash };
    },
    setClockOffset(next) {
      offsetMs = next;
    },
  };
}
