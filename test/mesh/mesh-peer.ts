// A node as a process of its own, for tests that freeze, kill or put it into a network namespace. Started by start-peer.ts;
// its argument is JSON. It prints one JSON line when it is ready, one per event of the mesh, and ends when its input does.

import { createLibp2pMesh } from '../../mesh/libp2p-mesh.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createIdentityPem } from './libp2p-world.ts';

export interface PeerSettings {
  hosts?: string[];
  discovery: boolean;
  fabricId?: string;
  /** Connects to whoever is found. */
  connect?: boolean;
}

const settings = JSON.parse(process.argv[2] ?? '{}') as PeerSettings;
const say = (line: object) => process.stdout.write(`${JSON.stringify({ atMs: performance.now(), ...line })}\n`);

const mesh = await createLibp2pMesh({
  identityPem: createIdentityPem(),
  clock: createSystemClock(),
  random: createSystemRandom(),
  listen: { port: 0, ...(settings.hosts === undefined ? {} : { hosts: settings.hosts }) },
  discovery: settings.discovery,
});
mesh.subscribe((event) => {
  say(event);
  if (settings.connect !== true || event.type !== 'found') return;
  mesh.connect(event).then(
    (peerId) => say({ type: 'dialled', peerId }),
    (error: Error) => say({ type: 'failed', message: error.message }),
  );
});
mesh.advertise(settings.fabricId);
await mesh.start();
say({ type: 'ready', peerId: mesh.peerId, addresses: mesh.addresses() });

process.stdin.resume();
process.stdin.once('end', async () => {
  await mesh.stop();
  say({ type: 'stopped' });
});
