// A node's network as a process of its own, for floods: the mesh's port, the tunnel with one served workload, and the resolver of containers.
// Started by floods.test.ts with --expose-gc; it says where it listens, and when it is asked what it holds and what it has told.

import { createServer } from 'node:net';
import { createLibp2pMesh } from '../../mesh/libp2p-mesh.ts';
import { createTunnelNetwork } from '../../mesh/tunnel-network.ts';
import { createContainerNames } from '../../node-runtime/container-names.ts';
import { createNameServer } from '../../node-runtime/name-server.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createTestFabric } from '../mesh/credentials.ts';
import { createIdentityPem, freePort } from '../mesh/libp2p-world.ts';
import { instanceOf, nameOf } from '../mesh/tunnel-fixture.ts';

export interface VictimPlace {
  meshAddress: string;
  peerId: string;
  tunnelPort: number;
  servername: string;
  dnsPort: number;
  /** Of callers on two nodes. */
  mallory: { keyPem: string; chainPem: string };
  honest: { keyPem: string; chainPem: string };
}
export interface VictimState {
  heapBytes: number;
  rssBytes: number;
  told: string[];
  found: string[];
}

const discovery = process.argv[2] === 'discovery';
const told: string[] = [];
const clock = createSystemClock();
const random = createSystemRandom();

const mesh = await createLibp2pMesh({
  identityPem: createIdentityPem(),
  clock,
  random,
  listen: { port: 0, hosts: ['127.0.0.1'] },
  discovery: discovery && { interfaces: (name) => name === 'lo' },
  onFlood: (message) => told.push(message),
});
mesh.handle('/hostile/echo', 'anyone', async (stream) => {
  for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive())
    await stream.send(frame);
});
await mesh.start();

const fabric = createTestFabric();
const [sensor, monitor] = [nameOf('sensor'), nameOf('monitor')];
const self = fabric.node('two', [sensor]);
const network = createTunnelNetwork({
  clock,
  random,
  node: self.peerId,
  listen: { hosts: ['127.0.0.1'], port: 0 },
  verifyChain: fabric.verifyChain,
  isPeerAdmitted: () => true,
  localPeerId: self.peerId,
  advertisedHosts: () => ['127.0.0.1'],
  onDenied: ({ reason }) => told.push(reason),
});
await network.start();
const workload = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.pipe(socket);
});
const workloadPort = await new Promise<number>((resolve) => {
  workload.listen(0, '127.0.0.1', () => resolve((workload.address() as { port: number }).port));
});
const listens = [{ port: 8080, host: '127.0.0.1', hostPort: workloadPort }];
await network.attach({ ...sensor, instance: instanceOf(sensor), credential: self.issue(sensor), calls: [], listens });

const names = createContainerNames();
names.tell('127.0.0.1', [{ address: '198.18.9.1', names: ['server'] }]);
names.tell('127.0.0.66', [{ address: '198.18.9.2', names: ['server'] }]);
const dnsPort = await freePort();
// A resolver of the box that never answers.
const forwarder = { ask: () => clock.sleep(1_000).then(() => undefined) };
await createNameServer({ knows: names.knows, answer: names.answer, forwarder, port: dnsPort }).listen('127.0.0.1');

const place: VictimPlace = {
  meshAddress: mesh.addresses()[0] ?? '',
  peerId: mesh.peerId,
  tunnelPort: Number(network.offer()?.addresses[0]?.split(':')[1]),
  servername: `sensor.cold-chain.default.ms.${fabric.fabricId}`,
  dnsPort,
  mallory: fabric.node('mallory', [monitor]).issue(monitor),
  honest: fabric.node('one', [monitor]).issue(monitor),
};
process.send?.({ place });

process.on('message', () => {
  for (let collections = 0; collections < 3; collections++) globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  const found = mesh.found().map(({ peerId }) => peerId);
  const state: VictimState = { heapBytes: heapUsed + external, rssBytes: rss, told: [...told], found };
  process.send?.({ state });
});
process.on('disconnect', () => process.exit(0));
