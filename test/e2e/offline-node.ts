// A node on its real data folder (files, store, process engine) and on no network: the product's own start, without sockets, for
// tests that start it a hundred times.

import { join } from 'node:path';
import { createPouchStore } from '../../control/pouch-store.ts';
import { replicate } from '../../control/replicate.ts';
import { createController } from '../../node-runtime/controller.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { pickFreePort } from '../../node-runtime/free-port.ts';
import { settleOptions } from '../../node-runtime/kept-options.ts';
import { type SelvedgeNode, startNode } from '../../node-runtime/node.ts';
import { runProbe } from '../../node-runtime/probe.ts';
import { createProcessEngine } from '../../node-runtime/process-engine.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { deriveApprovalKey } from '../../pki/scrypt.ts';
import { openSimGateway } from '../../simulations/sim-gateway.ts';
import { createSimHardware } from '../../simulations/sim-hardware.ts';
import { createSimNetwork } from '../../simulations/sim-mesh.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createSimServiceNetwork } from '../../simulations/sim-service-network.ts';

export interface OfflineNode {
  node: SelvedgeNode;
  /** What it reported as a problem. */
  problems: string[];
}

/** Rejects with why it cannot start; otherwise it is a member, and running. */
export async function startOffline(
  dataFolder: string,
  { found = false, clockMs }: { found?: boolean; clockMs?: number } = {},
): Promise<OfflineNode> {
  const real = createSystemClock();
  const behindMs = clockMs === undefined ? 0 : real.now() - clockMs;
  const clock = { ...real, now: () => real.now() - behindMs };
  const problems: string[] = [];
  const [disk, keys] = [createFileDisk(dataFolder), createNodeKeys()];
  // As the daemon does.
  await settleOptions({ disk, keys, given: {}, forget: [] });
  const network = createSimNetwork({ clock, random: createSimRandom('offline') });
  const node = await startNode(
    {
      ...{
        clock,
        random: createSystemRandom(),
        keys,
        deriveKey: deriveApprovalKey,
        disk,
      },
      engines: createEngines([createProcessEngine({ folder: join(dataFolder, 'instances'), clock })]),
      hardware: createSimHardware(),
      probe: runProbe,
      freePort: (taken) => pickFreePort('127.0.0.1', taken),
      replicate,
      openStore: () => createPouchStore({ clock, folder: join(dataFolder, 'store') }),
      createMesh: async (identity) => network.createMesh({ peerId: peerIdOf(identity.publicKey), name: 'offline' }),
      openGateway: openSimGateway,
      createController,
      createServiceNetwork: ({ localPeerId }) => createSimServiceNetwork({ node: localPeerId }),
      platform: { arch: process.arch, os: process.platform },
      hostName: 'offline',
      software: '0.0.0',
    },
    { labels: {}, found, join: [] },
    (type, message) => {
      if (type === 'problem') problems.push(message);
    },
  );
  try {
    // A box that has lost its membership would wait for ever for a token: that is for the caller to see.
    const waiting = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`not a member after 10 s; ${problems.join('; ')}`)), 10_000).unref();
    });
    await Promise.race([node.joined, waiting]);
  } catch (error) {
    await node.stop({ workloads: false });
    throw error;
  }
  return { node, problems };
}
