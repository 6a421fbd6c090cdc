// One node of the bench's paths that daemons on one box do not take: the product's mesh and service network in a process of their own,
// with routes by hand and certificates of a test fabric. Started by tunnel-peers.ts with its settings as the first line on stdin; each
// further line is a call, answered by one line on stdout. Ends with its stdin.

import { createInterface } from 'node:readline';
import { createLibp2pMesh } from '../../mesh/libp2p-mesh.ts';
import type { FindStep, PeerId } from '../../mesh/mesh.ts';
import { nextStep } from '../../mesh/routes.ts';
import type { AttachedInstance, Endpoint, TunnelOffer, WorkloadCredential } from '../../mesh/service-network.ts';
import { createTunnelNetwork } from '../../mesh/tunnel-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { rssMb } from './resident.ts';

export interface TunnelPeerSettings {
  identityPem: string;
  peerId: PeerId;
  fabricId: string;
  /** DER, base64. */
  root: string;
  /** The node's own authority. */
  credential: WorkloadCredential;
  router: 'interior' | 'edge';
  /** The neighbour that is next on the way to each peer. */
  nextHops: Record<PeerId, PeerId>;
}

const loopback = '127.0.0.1';
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const settings = JSON.parse((await lines.next()).value ?? '{}') as TunnelPeerSettings;
const { peerId: self, router } = settings;
const clock = createSystemClock();
const random = createSystemRandom();
const mesh = await createLibp2pMesh({
  ...{ identityPem: settings.identityPem, clock, random, discovery: false },
  listen: { port: 0, hosts: [loopback] },
  // A busy box may starve a process for longer than a LAN would be silent.
  keepAlive: { silentMsMax: 20_000 },
});
await mesh.start();
const routes = {
  to(peerId: PeerId) {
    const next = settings.nextHops[peerId];
    return next === undefined ? undefined : { costMicroseconds: 1, hops: 1, nextHops: [next] };
  },
  routers: () => new Map(),
};
const step: FindStep = (stream) => nextStep({ self, router, routes }, stream);
mesh.route(step);
const network = createTunnelNetwork({
  ...{ clock, random, node: self, localPeerId: self, mesh },
  step,
  costOf: (peerId) => mesh.costMicroseconds(peerId),
  nodeCredential: () => settings.credential,
  listen: { hosts: [loopback], port: 0 },
  verifyChain: createChainVerifier({ fabricId: settings.fabricId, clock, root: Buffer.from(settings.root, 'base64') }),
  isPeerAdmitted: () => true,
  advertisedHosts: () => [loopback],
  onDenied: ({ reason }) => console.error(`${self}: ${reason}`),
  onCall: ({ outcome, reason }) => outcome === 'failed' && console.error(`${self}: a call failed: ${reason}`),
});
await network.start();

const calls = {
  addresses: () => mesh.addresses(),
  offer: () => network.offer(),
  /** To a neighbour by its addresses; without any, through others. */
  connect: (peerId: PeerId, addresses: string[]) => mesh.connect({ peerId, addresses }),
  admit: (peerId: PeerId) => mesh.admit(peerId),
  isConnected: (peerId: PeerId) => mesh.connected().includes(peerId),
  cost: (peerId: PeerId) => mesh.costMicroseconds(peerId),
  setOffer: (peerId: PeerId, offer: TunnelOffer) => network.setOffer(peerId, offer),
  attach: (instance: AttachedInstance) => network.attach(instance),
  renew: (instance: string, credential: WorkloadCredential) => network.renew(instance, credential),
  setEndpoints: (endpoints: Endpoint[]) => network.setEndpoints(endpoints),
  /** Of this process after collecting its garbage, 10^6 bytes. */
  async residentMb() {
    for (let times = 0; times < 3; times++) {
      globalThis.gc?.();
      // Nothing tells when what a collection let go is given back; the next one takes what was freed late.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return rssMb(process.pid);
  },
};
export type TunnelPeerCalls = typeof calls;

console.log(JSON.stringify({ value: 'ready' }));
for await (const line of lines) {
  const [name, ...given] = JSON.parse(line) as [keyof TunnelPeerCalls, ...unknown[]];
  try {
    const value = await (calls[name] as (...all: unknown[]) => unknown)(...given);
    console.log(JSON.stringify({ value: value ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
process.exit(0);
