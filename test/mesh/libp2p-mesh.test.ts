import { generateKeyPairSync } from 'node:crypto';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import type { Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import test, { type ExecutionContext } from 'ava';
import { createLibp2p, type Libp2p } from 'libp2p';
import { FrameTooLargeError, IdentityKeyError, ListenError } from '../../mesh/errors.ts';
import { createLibp2pMesh } from '../../mesh/libp2p-mesh.ts';
import { connectionsPerPeerMax, unadmittedStreamsMax } from '../../mesh/limits.ts';
import type { Mesh, MeshEvent } from '../../mesh/mesh.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { meshConformance } from '../conformance/mesh.ts';
import { eventually } from '../eventually.ts';
import { createIdentityPem, freePort, startNode } from './libp2p-world.ts';
import { startPeer } from './start-peer.ts';

meshConformance(test, 'libp2p-mesh', async (t) => ({
  // A loaded test machine may starve a node for longer than a LAN would be silent.
  node: () => startNode(t, { keepAlive: { silentMsMax: 10_000 } }),
  nowhere: async () => `/ip4/127.0.0.1/tcp/${await freePort()}`,
}));

const ENROLL = '/selvedge/enroll/1';
/** Every protocol of ours that only admitted peers may open, and those that libp2p nodes commonly serve. */
const FORBIDDEN = [
  '/selvedge/link/1',
  '/selvedge/mailbox/1',
  '/selvedge/bulletin/1',
  '/selvedge/work/1',
  '/ipfs/id/1.0.0',
  '/ipfs/id/push/1.0.0',
  '/ipfs/ping/1.0.0',
  '/ipfs/kad/1.0.0',
  '/libp2p/autonat/1.0.0',
  '/libp2p/dcutr',
  '/libp2p/circuit/relay/0.2.0/hop',
  '/libp2p/circuit/relay/0.2.0/stop',
  '/libp2p/fetch/0.0.1',
  '/meshsub/1.1.0',
];

/** A libp2p node that knows nothing of us. */
async function startStranger(t: ExecutionContext): Promise<Libp2p> {
  const stranger = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ enableKeepAlive: false })],
    connectionMonitor: { enabled: false },
  });
  t.teardown(() => stranger.stop());
  return stranger;
}

/** The first bytes that come on a stream, or undefined when it ends or is reset without any. */
async function firstBytes(open: () => Promise<Stream>): Promise<number | undefined> {
  try {
    for await (const chunk of await open()) return chunk.byteLength;
  } catch {
    // Refused or reset.
  }
  return undefined;
}

async function serveAll(mesh: Mesh): Promise<string[]> {
  const served: string[] = [];
  mesh.handle(ENROLL, 'anyone', async (stream) => {
    await stream.receive();
  });
  for (const protocol of FORBIDDEN.filter((each) => each.startsWith('/selvedge/'))) {
    mesh.handle(protocol, 'admitted', async (stream) => {
      served.push(protocol);
      await stream.receive();
    });
  }
  return served;
}

test('a stranger can open enrollment and nothing else', async (t) => {
  const mesh = await startNode(t);
  const served = await serveAll(mesh);
  const stranger = await startStranger(t);
  const connection = await stranger.dial(multiaddr(mesh.addresses()[0]));
  for (const protocol of FORBIDDEN) {
    t.is(await firstBytes(() => connection.newStream(protocol)), undefined, protocol);
  }
  t.deepEqual(served, []);
  t.is(await firstBytes(() => connection.newStream(ENROLL)), 1);
  t.is(connection.status, 'open');
  // The same protocols are there for the same peer once it is admitted: what was refused was the stranger.
  mesh.admit(stranger.peerId.toString());
  t.is(await firstBytes(() => connection.newStream('/selvedge/work/1')), 1);
  t.deepEqual(served, ['/selvedge/work/1']);
});

test('a stranger cannot hold many streams', async (t) => {
  const mesh = await startNode(t);
  await serveAll(mesh);
  const stranger = await startStranger(t);
  const connection = await stranger.dial(multiaddr(mesh.addresses()[0]));
  // Before that, libp2p itself refuses more than ten streams, with the whole connection.
  await eventually(() => mesh.connected().length === 1);
  const opened = await Promise.all(Array.from({ length: 20 }, () => firstBytes(() => connection.newStream(ENROLL))));
  t.is(opened.filter((bytes) => bytes === 1).length, unadmittedStreamsMax);
});

test('a stranger that announces a frame beyond the limit is cut off, and nothing else breaks', async (t) => {
  const mesh = await startNode(t);
  const refused = Promise.withResolvers<unknown>();
  mesh.handle(ENROLL, 'anyone', (stream) => stream.receive().then(refused.resolve, refused.resolve));
  const stranger = await startStranger(t);
  const connection = await stranger.dial(multiaddr(mesh.addresses()[0]));
  const stream = await connection.newStream(ENROLL);
  stream.send(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 2, 3));
  t.true((await refused.promise) instanceof FrameTooLargeError);
  t.deepEqual(mesh.connected(), [stranger.peerId.toString()]);
});

test('one key cannot hold many connections', async (t) => {
  const mesh = await startNode(t);
  const stranger = await startStranger(t);
  for (let n = 0; n < connectionsPerPeerMax * 2; n++)
    await stranger.dial(multiaddr(mesh.addresses()[0]), { force: true });
  await eventually(() => stranger.getConnections().length <= connectionsPerPeerMax);
  t.deepEqual(mesh.connected(), [stranger.peerId.toString()]);
});

test('a second connection to a peer is closed after a while, and nobody hears of it', async (t) => {
  const mesh = await startNode(t);
  const stranger = await startStranger(t);
  const events: MeshEvent[] = [];
  mesh.subscribe((event) => event.type !== 'cost' && events.push(event));
  const first = await stranger.dial(multiaddr(mesh.addresses()[0]));
  await stranger.dial(multiaddr(mesh.addresses()[0]), { force: true });
  await eventually(() => first.status !== 'open', { deadlineMs: 30_000 });
  t.is(stranger.getConnections().length, 1);
  t.deepEqual(
    events.map(({ type }) => type),
    ['connected'],
  );
});

test('a frozen peer is noticed, and its streams end', async (t) => {
  const mesh = await startNode(t);
  const peer = await startPeer(t, { hosts: ['127.0.0.1'], discovery: false });
  await mesh.connect({ peerId: peer.peerId, addresses: peer.addresses });
  await eventually(() => mesh.roundTripMs(peer.peerId));
  const lost = new Promise<string>((resolve) => {
    mesh.subscribe((event) => event.type === 'disconnected' && resolve(event.reason));
  });
  const frozenAt = performance.now();
  peer.signal('SIGSTOP');
  t.regex(await lost, /no sign of life/);
  const tookMs = performance.now() - frozenAt;
  t.log(`noticed after ${Math.round(tookMs)} ms`);
  t.true(tookMs < 10_000);
  t.deepEqual(mesh.connected(), []);
  peer.signal('SIGCONT');
});

test('a frozen peer is overdue before it is given up, and no longer when it is back', async (t) => {
  const mesh = await startNode(t, { keepAlive: { silentMsMax: 60_000 } });
  const peer = await startPeer(t, { hosts: ['127.0.0.1'], discovery: false });
  await mesh.connect({ peerId: peer.peerId, addresses: peer.addresses });
  const isOverdue = () => mesh.connection(peer.peerId)?.overdue;
  t.false(isOverdue());
  peer.signal('SIGSTOP');
  await eventually(() => isOverdue() === true);
  t.deepEqual(mesh.connected(), [peer.peerId]);
  peer.signal('SIGCONT');
  await eventually(() => isOverdue() === false);
});

test('a peer that is allowed to be silent is still believed in when others have given it up, and no longer than that', async (t) => {
  const [patient, usual] = [await startNode(t), await startNode(t)];
  const peer = await startPeer(t, { hosts: ['127.0.0.1'], discovery: false });
  for (const mesh of [patient, usual]) {
    await mesh.connect({ peerId: peer.peerId, addresses: peer.addresses });
    await eventually(() => mesh.roundTripMs(peer.peerId));
  }
  patient.allowSilence(peer.peerId, 300_000);
  peer.signal('SIGSTOP');
  await eventually(() => usual.connected().length === 0, { what: 'the usual one gives it up' });
  t.deepEqual(patient.connected(), [peer.peerId]);
  patient.allowSilence(peer.peerId, undefined);
  await eventually(() => patient.connected().length === 0, { what: 'the other one does as well' });
  peer.signal('SIGCONT');
});

test('a killed peer is noticed at once', async (t) => {
  const mesh = await startNode(t);
  const peer = await startPeer(t, { hosts: ['127.0.0.1'], discovery: false });
  await mesh.connect({ peerId: peer.peerId, addresses: peer.addresses });
  peer.signal('SIGKILL');
  await eventually(() => mesh.connected().length === 0);
  t.pass();
});

test('a taken port is refused with the reason, and nothing is left open', async (t) => {
  const first = await startNode(t);
  const port = Number(first.addresses()[0]?.split('/').at(-1));
  const second = await createLibp2pMesh({
    identityPem: createIdentityPem(),
    clock: createSystemClock(),
    random: createSystemRandom(),
    listen: { port, hosts: ['127.0.0.1'] },
    discovery: false,
  });
  await t.throwsAsync(second.start(), { instanceOf: ListenError, message: new RegExp(`port ${port}`) });
  t.deepEqual(second.addresses(), []);
});

test('a key that is not Ed25519 is refused without being shown', async (t) => {
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  for (const identityPem of [pem.toString(), 'no key at all']) {
    const error = await t.throwsAsync(
      createLibp2pMesh({
        identityPem,
        clock: createSystemClock(),
        random: createSystemRandom(),
        listen: { port: 0 },
        discovery: false,
      }),
      { instanceOf: IdentityKeyError },
    );
    t.false(String(error?.stack).includes(pem.toString().split('\n')[1] ?? 'never'));
  }
});
