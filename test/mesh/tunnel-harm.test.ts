// What a router can do to the calls that it carries, and what comes of it: real service networks on loopback, and one router by hand.

import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createSecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { FindStep, PeerId } from '../../mesh/mesh.ts';
import { nodeServerName } from '../../mesh/node-sessions.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric, type TestNode } from './credentials.ts';
import { ask, brokenWith, callable, dial, nameOf, serve, startNode } from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();

/** Links carry nothing here. */
const mesh = { open: () => Promise.reject(new Error('no link')), handle: () => undefined, connection: () => undefined };

const offerOf = ({ authorityKeySha256 }: TestNode, addresses: readonly string[] = []) => ({
  addresses: [...addresses],
  authorityKeySha256,
});

/** As a neighbour of the far end, with a node's own certificate. */
async function sessionTo(t: ExecutionContext, address: string, { ownCredential }: TestNode) {
  const [host = '', port = ''] = address.split(':');
  const { keyPem: key, chainPem: cert } = ownCredential;
  const tls = { host, port: Number(port), servername: nodeServerName, key, cert, minVersion: 'TLSv1.3' as const };
  const http2: ClientHttp2Session = connectHttp2('https://node', {
    createConnection: () => connectTls({ ...tls, ALPNProtocols: ['h2'], rejectUnauthorized: false }),
  });
  http2.on('error', () => undefined);
  t.teardown(() => http2.destroy());
  return http2;
}

type Harm = 'none' | 'flips' | 'is silent' | 'answers itself';

/** Carries calls to `last`, and does as it is told to what the far end says. */
async function hostileRouter(t: ExecutionContext, own: TestNode, lastAddress: string) {
  const { keyPem: key, chainPem: cert } = own.ownCredential;
  const does = { harm: 'none' as Harm, carried: 0 };
  const server = createSecureServer({ key, cert, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  async function carry(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    stream.on('error', () => undefined);
    const asked = { ':authority': `${headers[':authority']}`, 'selvedge-from': `${headers['selvedge-from']}` };
    const http2 = await sessionTo(t, lastAddress, own);
    const onward = http2.request({ ':method': 'CONNECT', ...asked, 'selvedge-via': own.peerId });
    onward.on('error', () => undefined);
    await once(onward, 'response');
    does.carried += 1;
    stream.respond({ ':status': 200 });
    if (does.harm === 'answers itself') stream.write('HTTP/1.1 200 OK\r\n\r\n');
    stream.pipe(onward);
    onward.on('data', (chunk: Buffer) => {
      const copy = Buffer.from(chunk);
      if (does.harm === 'flips') copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
      if (does.harm !== 'is silent') stream.write(copy);
    });
    onward.once('close', () => stream.close());
  }
  server.on('stream', (stream, headers) => void carry(stream, headers));
  server.on('sessionError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return { does, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** `monitor` calls `sensor` through one of two routers; the one by hand is the nearer one. */
async function twoWays(t: ExecutionContext) {
  const own = {
    first: fabric.node('first', [monitor]),
    last: fabric.node('last', [sensor]),
    good: fabric.node('good', []),
    evil: fabric.node('evil', []),
  };
  const start = (node: TestNode, nextHops: PeerId[]) => {
    const step: FindStep = ({ destination }) =>
      destination === node.peerId ? { type: 'deliver' } : { type: 'forward', nextHops, hopsLeft: 8 };
    return startNode(t, fabric, node, { mesh, step, nodeCredential: () => node.ownCredential });
  };
  const first = await start(own.first, [own.evil.peerId, own.good.peerId]);
  const good = await start(own.good, [own.last.peerId]);
  const last = await start(own.last, []);
  const evil = await hostileRouter(t, own.evil, last.network.offer()?.addresses[0] ?? '');
  first.network.setOffer(own.evil.peerId, offerOf(own.evil, [evil.address]));
  first.network.setOffer(own.good.peerId, offerOf(own.good, good.network.offer()?.addresses));
  first.network.setOffer(own.last.peerId, offerOf(own.last));
  good.network.setOffer(own.first.peerId, offerOf(own.first));
  good.network.setOffer(own.last.peerId, offerOf(own.last, last.network.offer()?.addresses));
  for (const router of [own.evil, own.good]) last.network.setOffer(router.peerId, offerOf(router));
  const caller = await first.attach(monitor, { calls: [callable('sensor')] });
  await last.attach(sensor, { listens: { 8080: await serve(t, (socket: Socket) => void socket.pipe(socket)) } });
  first.network.setEndpoints([last.endpoint(sensor)]);
  t.teardown(() => void (t.passed || t.log(first.outcomes)));
  return { ...evil, address: caller.address('sensor') };
}

test('a router that flips a bit of an open call breaks it, and the next call goes through another one', async (t) => {
  const { does, address } = await twoWays(t);
  const socket = await dial(t, address);
  socket.write('hello');
  t.is(String(await once(socket, 'data').then(([chunk]) => chunk)), 'hello');
  t.is(does.carried, 1);
  does.harm = 'flips';
  const broken = brokenWith(socket);
  socket.write('again');
  t.is(await broken, 'ECONNRESET', 'no wrong byte arrives');
  // The call that finds it ejected fails with a reason; it is tried again soon.
  await eventually(async () => (await ask(t, address, 'the other way').catch(() => '')) === 'the other way');
  t.is(does.carried, 1);
});

for (const harm of ['flips', 'is silent', 'answers itself'] as const)
  test(`calls go through another router when one ${harm} from the first byte on`, async (t) => {
    const { does, address } = await twoWays(t);
    does.harm = harm;
    await eventually(async () => (await ask(t, address, 'the other way').catch(() => '')) === 'the other way');
    t.is(does.carried, 1, 'once was enough');
  });
