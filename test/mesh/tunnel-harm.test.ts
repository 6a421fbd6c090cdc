// What a router can do to the calls that it carries, and what comes of it: real service networks on loopback, and one router by hand.

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { FindStep, PeerId } from '../../mesh/mesh.ts';
import { nodeServerName } from '../../mesh/tunnel-credentials.ts';
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

/** As a neighbour of the far end, with a node's own certificate; resolves once that carries what follows. */
async function connectionTo(t: ExecutionContext, address: string, { ownCredential }: TestNode, asked: string[]) {
  const [host = '', port = ''] = address.split(':');
  const { keyPem: key, chainPem: cert } = ownCredential;
  const tls = { host, port: Number(port), servername: nodeServerName, key, cert, minVersion: 'TLSv1.3' as const };
  const socket = connectTls({ ...tls, ALPNProtocols: ['http/1.1'], rejectUnauthorized: false });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  socket.write(`${asked.join('\r\n')}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  if (!String(answer).startsWith('HTTP/1.1 200')) throw new Error(String(answer));
  return socket;
}

type Harm = 'none' | 'flips' | 'is silent' | 'answers itself';

/** Carries calls to `last`, and does as it is told to what the far end says. */
async function hostileRouter(t: ExecutionContext, own: TestNode, lastAddress: string) {
  const { keyPem: key, chainPem: cert } = own.ownCredential;
  const does = { harm: 'none' as Harm, carried: 0 };
  const tls = { key, cert, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' as const };
  const server = createServer({ ...tls, ALPNProtocols: ['http/1.1'] });
  async function carry({ url = '', headers }: IncomingMessage, socket: Duplex): Promise<void> {
    socket.on('error', () => undefined);
    const from = `selvedge-from: ${headers['selvedge-from']}`;
    const asked = [`CONNECT ${url} HTTP/1.1`, `host: ${url}`, from, `selvedge-via: ${own.peerId}`];
    const onward = await connectionTo(t, lastAddress, own, asked);
    does.carried += 1;
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    if (does.harm === 'answers itself') socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.pipe(onward);
    onward.on('data', (chunk: Buffer) => {
      const copy = Buffer.from(chunk);
      if (does.harm === 'flips') copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
      if (does.harm !== 'is silent') socket.write(copy);
    });
    onward.once('close', () => socket.destroy());
  }
  server.on(
    'connect',
    (asked: IncomingMessage, socket: Duplex) => void carry(asked, socket).catch(() => socket.destroy()),
  );
  server.on('tlsClientError', () => undefined);
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
