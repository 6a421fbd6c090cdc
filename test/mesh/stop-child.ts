// Run by tunnel-choice.test.ts as a process of its own: two nodes carry calls and stop in the middle of them. Nothing else ends
// this process, so that whatever stays open keeps it alive.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { createTunnelNetwork } from '../../mesh/tunnel-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createTestFabric } from './credentials.ts';

const fabric = createTestFabric();
const sensor = { project: 'p', application: 'a', microservice: 'sensor' };
const monitor = { project: 'p', application: 'a', microservice: 'monitor' };
const workload = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.pipe(socket);
}).listen(0, '127.0.0.1');
await once(workload, 'listening');

const [one, two] = [fabric.node('one', [monitor]), fabric.node('two', [sensor])].map((node) => ({
  node,
  network: createTunnelNetwork({
    clock: createSystemClock(),
    random: createSystemRandom(),
    node: node.peerId,
    listen: { hosts: ['127.0.0.1'], port: 0 },
    verifyChain: fabric.verifyChain,
    isPeerAdmitted: () => true,
    localPeerId: node.peerId,
    advertisedHosts: () => ['127.0.0.1'],
    onDenied: () => undefined,
  }),
}));
if (one === undefined || two === undefined) throw new Error('two nodes were to be made');
await one.network.start();
await two.network.start();
const port = (workload.address() as AddressInfo).port;
const attach = {
  credential: two.node.issue(sensor),
  calls: [],
  listens: [{ port: 8080, host: '127.0.0.1', hostPort: port }],
};
await two.network.attach({ ...sensor, instance: 's', ...attach });
const calls = [{ ...sensor, port: 8080 }];
const { hosts } = await one.network.attach({
  ...monitor,
  instance: 'm',
  credential: one.node.issue(monitor),
  calls,
  listens: [],
});
one.network.setOffer(two.node.peerId, {
  addresses: two.network.offer()?.addresses ?? [],
  authorityKeySha256: two.node.authorityKeySha256,
});
one.network.setEndpoints([{ ...sensor, instance: 's', port: 8080, peerId: two.node.peerId, ready: true }]);

const callers: Socket[] = [];
for (let index = 0; index < 20; index += 1) {
  const socket = connect({ host: hosts[0]?.address ?? '', port: 8080 });
  socket.on('error', () => undefined);
  socket.write('hello');
  await once(socket, 'data');
  // Some in the middle of a long answer, some at their end, some idle.
  if (index % 3 === 0) socket.write(Buffer.alloc(16 * 1024 * 1024));
  if (index % 3 === 1) socket.end();
  callers.push(socket);
}
await Promise.all([one.network.stop(), two.network.stop()]);
for (const socket of callers) socket.destroy();
workload.close();
process.stdout.write(`carried ${callers.length}, stopped\n`);
