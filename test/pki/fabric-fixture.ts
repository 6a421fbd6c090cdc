// A small fabric for the tests of this folder: root, one controller, nodes, workloads, on a simulated clock.

import { randomBytes } from 'node:crypto';
import type { MicroserviceName } from '../../control/plan.ts';
import type { Random } from '../../node-runtime/random.ts';
import {
  createRoot,
  type Issuer,
  issueControllerAuthority,
  issueNodeAuthority,
  issueWorkload,
} from '../../pki/certificates.ts';
import type { Keys, PrivateKey } from '../../pki/keys.ts';
import { fabricIdOf } from '../../pki/names.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';

export const strongRandom: Random = { next: () => 0.5, bytes: (count) => new Uint8Array(randomBytes(count)) };

export const monitor: MicroserviceName = { project: 'default', application: 'cold-chain', microservice: 'monitor' };
export const sensor: MicroserviceName = { project: 'default', application: 'cold-chain', microservice: 'sensor' };
export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

export interface Member {
  node: string;
  peerId: string;
  key: PrivateKey;
  /** Own certificate first, the root last. */
  chain: Uint8Array[];
  /** To sign what is below it. */
  issuer: Issuer;
}

export interface Fabric {
  id: string;
  name: string;
  clock: SimClock;
  keys: Keys;
  random: Random;
  rootKey: PrivateKey;
  root: Uint8Array;
  controller: Member;
  newPeerId(): string;
  addController(node: string, options?: { peerId?: string }): Member;
  addNode(node: string, options?: NodeOptions): Member;
  issueWorkload(by: Member, name: MicroserviceName): { key: PrivateKey; chain: Uint8Array[] };
}

export interface NodeOptions {
  peerId?: string;
  key?: PrivateKey;
  covers?: MicroserviceName[];
  publicNames?: string[];
  issueNumber?: number;
  by?: Member;
}

export function createFabric({
  name = 'acme',
  keys = createNodeKeys(),
  random = strongRandom,
  clock = createSimClock(Date.parse('2026-11-20T12:00:00Z')),
}: {
  name?: string;
  keys?: Keys;
  random?: Random;
  clock?: SimClock;
} = {}): Fabric {
  const moment = () => ({ random, nowMs: clock.now() });
  const rootKey = keys.create('P-256');
  const root = createRoot({ key: rootKey, fabricName: name, ...moment() });
  const id = fabricIdOf(rootKey.publicKey);
  const newPeerId = () => peerIdOf(keys.create('Ed25519').publicKey);

  function addController(node: string, { peerId = newPeerId() }: { peerId?: string } = {}): Member {
    const key = keys.create('P-256');
    const issuer = { key: rootKey, certificate: root };
    const certificate = issueControllerAuthority({ issuer, publicKey: key.publicKey, node, peerId, ...moment() });
    return { node, peerId, key, chain: [certificate, root], issuer: { key, certificate } };
  }

  const controller = addController('box1');

  function addNode(node: string, options: NodeOptions = {}): Member {
    const { peerId = newPeerId(), key = keys.create('P-256'), covers = [], publicNames = [] } = options;
    const { issueNumber = 1, by = controller } = options;
    const certificate = issueNodeAuthority({
      issuer: by.issuer,
      publicKey: key.publicKey,
      node,
      peerId,
      fabricId: id,
      covers,
      publicNames,
      issueNumber,
      ...moment(),
    });
    return { node, peerId, key, chain: [certificate, ...by.chain], issuer: { key, certificate } };
  }

  return {
    id,
    name,
    clock,
    keys,
    random,
    rootKey,
    root,
    controller,
    newPeerId,
    addController,
    addNode,
    issueWorkload(by, workload) {
      const key = keys.create('P-256');
      const leaf = issueWorkload({
        issuer: by.issuer,
        publicKey: key.publicKey,
        name: workload,
        fabricId: id,
        ...moment(),
      });
      return { key, chain: [leaf, ...by.chain] };
    },
  };
}
