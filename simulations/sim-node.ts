// One simulated box: what survives its restarts (disk, store, engine, keys), and the product's own node started on it. Called
// by scenarios and tests. It decides nothing: it is node-runtime/daemon.ts with simulated ports.

import { replicate } from '../control/replicate.ts';
import type { Database, Store } from '../control/store.ts';
import type { TraceRecord } from '../node-runtime/actor-system.ts';
import { createEngines } from '../node-runtime/engines.ts';
import { type SelvedgeNode, startNode } from '../node-runtime/node.ts';
import type { NodePorts, NodeSettings } from '../node-runtime/node-ports.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import type { SimClock } from './sim-clock.ts';
import { createSimDisk, type SimDisk } from './sim-disk.ts';
import { createSimEngine, type SimEngine } from './sim-engine.ts';
import { createSimHardware, type SimHardware } from './sim-hardware.ts';
import { createSimKeys } from './sim-keys.ts';
import { createSimLife, type SimLife } from './sim-life.ts';
import type { SimNetwork } from './sim-mesh.ts';
import type { SimRandom } from './sim-random.ts';
import { simDeriveKey } from './sim-scrypt.ts';
import { createSimServiceNetwork } from './sim-service-network.ts';
import { createSimStore, type SimStore } from './sim-store.ts';

export interface SimBox {
  readonly name: string;
  readonly disk: SimDisk;
  readonly store: SimStore;
  readonly engine: SimEngine;
  readonly hardware: SimHardware;
  /** Starts the node on this box; again after `stop` or `crash`. */
  start(settings?: Partial<NodeSettings>): Promise<SelvedgeNode>;
  /** The running node; throws when there is none. */
  node(): SelvedgeNode;
  stop(): Promise<void>;
  /** `kill -9` of the daemon: nothing of it goes on, workloads do. */
  crash(): void;
}

export interface SimBoxOptions {
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

export function createSimBox({ name, clock, random, network, trace }: SimBoxOptions): SimBox {
  const disk = createSimDisk();
  const store = createSimStore({ random: random.fork('store') });
  const engine = createSimEngine({ clock, random: random.fork('engine') });
  const hardware = createSimHardware();
  const keys = createSimKeys(random.fork('keys'));
  const chance = random.fork('node');
  const kept = traced(store, (database, id, revision) =>
    trace({ at: clock.now(), node: name, actor: `database/${database}`, event: id, state: revision }),
  );
  let running: SelvedgeNode | undefined;
  let nextPort = 20_000;
  let life: SimLife | undefined;

  return {
    name,
    disk,
    store,
    engine,
    hardware,
    node() {
      if (running === undefined) throw new Error(`the simulated node ${name} does not run`);
      return running;
    },
    async start(settings = {}) {
      life?.end();
      const born = createSimLife(clock);
      life = born;
      const ports: NodePorts = {
        clock: born.clock,
        random: chance,
        keys,
        deriveKey: simDeriveKey,
        disk: born.disk(disk),
        engines: createEngines([engine]),
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
        createMesh: async (identity) => network.createMesh({ peerId: peerIdOf(identity.publicKey), name }),
        createServiceNetwork: ({ localPeerId }) => createSimServiceNetwork({ node: localPeerId }),
        platform: { arch: 'x64', os: 'linux' },
        hostName: name,
        software: 'simulated',
        trace: (record) => {
          if (born.alive()) trace(record);
        },
      };
      const wished: NodeSettings = { name, labels: {}, found: false, join: [], ...settings };
      running = await startNode(ports, wished, (type, message) => {
        if (born.alive()) trace({ at: clock.now(), node: name, actor: 'node', event: type, state: message });
      });
      return running;
    },
    async stop() {
      await running?.stop({ workloads: false });
      running = undefined;
    },
    crash() {
      if (running === undefined) return;
      life?.end();
      network.crash(running.peerId);
      engine.crashDaemon();
      running = undefined;
    },
  };
}
