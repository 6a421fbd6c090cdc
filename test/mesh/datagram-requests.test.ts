// UDP in the tunnel as any other program speaks it: extended CONNECT with nothing but node:http2 and a workload certificate, what is refused of
// it, and a node that is too old for it.

import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  createSecureServer,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { datagramBytesMax } from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import { callableUdp, serveUdp, udpCaller, udpEndpoint, udpPort } from './datagram-fixture.ts';
import { instanceOf, link, type NetworkNode, nameOf, startNode } from './tunnel-fixture.ts';

const dns = nameOf('dns');
const monitor = nameOf('monitor');
const spy = nameOf('spy', 'other');
const fabric = createTestFabric();

const path = `/.well-known/masque/udp/dns/${udpPort}/`;
const request = {
  ':method': 'CONNECT',
  ':protocol': 'connect-udp',
  ':scheme': 'https',
  ':authority': 'dns',
  ':path': path,
};

async function dnsNode(t: ExecutionContext) {
  const node = await startNode(t, fabric, fabric.node('two', [dns]));
  const echo = await serveUdp(t);
  await node.attach(dns, { udpListens: { [udpPort]: echo.port } });
  return { node, echo };
}

/** A session as `caller` of some other node. */
async function session(t: ExecutionContext, node: NetworkNode, caller = monitor): Promise<ClientHttp2Session> {
  const { keyPem: key, chainPem: cert } = fabric.node('one', [caller]).issue(caller);
  const port = Number(node.network.offer()?.addresses[0]?.split(':')[1]);
  const servername = `dns.cold-chain.default.ms.${fabric.fabricId}`;
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    servername,
    key,
    cert,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => undefined);
  const opened = connectHttp2('https://dns', { createConnection: () => socket });
  opened.on('error', () => undefined);
  t.teardown(() => opened.destroy());
  await once(opened, 'remoteSettings');
  return opened;
}

async function call(opened: ClientHttp2Session, headers: OutgoingHttpHeaders = {}) {
  const stream: ClientHttp2Stream = opened.request({ ...request, ...headers });
  stream.on('error', () => undefined);
  const [answer] = (await once(stream, 'response')) as [OutgoingHttpHeaders];
  return { stream, status: answer[':status'], answer };
}

/** What came until the stream closed, and with which code. */
async function closing(stream: ClientHttp2Stream): Promise<{ code: number | undefined; bytes: Buffer }> {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => stream.once('close', resolve));
  return { code: stream.rstCode, bytes: Buffer.concat(chunks) };
}

test('a flow opened with nothing but node:http2 works, whatever capsules and contexts come between', async (t) => {
  const { node, echo } = await dnsNode(t);
  const opened = await session(t, node);
  t.true(opened.remoteSettings.enableConnectProtocol);
  const { stream, status, answer } = await call(opened, {
    'capsule-protocol': '?1',
    'selvedge-instance': instanceOf(dns),
  });
  t.is(status, 200);
  t.is(answer['capsule-protocol'], '?1');
  const unknownType = Buffer.from([0x2a, 3, 1, 2, 3]);
  const unknownContext = Buffer.from([0, 4, 2, 1, 2, 3]);
  const hello = Buffer.from([0, 6, 0, ...Buffer.from('hello')]);
  stream.write(Buffer.concat([unknownType, unknownContext, hello]));
  t.deepEqual((await once(stream, 'data'))[0], hello);
  // The same in more bytes than are needed, and in pieces.
  for (const byte of [0x40, 0, 0x80, 0, 0, 7, 0x40, 0, ...Buffer.from('again')]) stream.write(Buffer.from([byte]));
  t.deepEqual((await once(stream, 'data'))[0], Buffer.from([0, 6, 0, ...Buffer.from('again')]));
  stream.end();
  t.is((await closing(stream)).code, 0);
  t.is(echo.received, 2);
});

for (const [title, headers, status] of [
  ['another protocol', { ':protocol': 'websocket' }, 501],
  ['a path that is no template', { ':path': '/' }, 400],
  ['a path with a query', { ':path': `${path}?h=1` }, 400],
  ['another service', { ':path': `/.well-known/masque/udp/127.0.0.1/${udpPort}/` }, 404],
  ['another port', { ':path': '/.well-known/masque/udp/dns/53/' }, 404],
  ['another instance', { 'selvedge-instance': instanceOf(dns, 7) }, 404],
] as [string, OutgoingHttpHeaders, number][]) {
  test(`asking for ${title} is answered with ${status}`, async (t) => {
    const { node, echo } = await dnsNode(t);
    const { status: answered, answer } = await call(await session(t, node), headers);
    t.is(answered, status);
    t.true(String(answer['selvedge-reason']).length > 5);
    t.is(echo.received, 0);
  });
}

test('a TCP port is not called by UDP, nor the other way round', async (t) => {
  const node = await startNode(t, fabric, fabric.node('two', [dns]));
  await node.attach(dns, { listens: { [udpPort]: 9 }, udpListens: { 54: 9 } });
  const opened = await session(t, node);
  t.is((await call(opened)).status, 404);
  const stream = opened.request({ ':method': 'CONNECT', ':authority': 'dns:54' });
  t.is(((await once(stream, 'response'))[0] as OutgoingHttpHeaders)[':status'], 404);
});

test('whom no policy allows is refused, and that is told', async (t) => {
  const { node, echo } = await dnsNode(t);
  t.is((await call(await session(t, node, spy))).status, 403);
  t.like(node.denied, [{ kind: 'call-denied', caller: spy, called: dns, port: udpPort, protocol: 'udp' }]);
  t.is(echo.received, 0);
});

const longer = datagramBytesMax + 2;
for (const [title, bytes] of [
  ['a datagram without a context', Buffer.from([0, 0])],
  ['a datagram that is cut within its context', Buffer.from([0, 1, 0x40])],
  [
    'a datagram longer than UDP allows',
    Buffer.concat([
      Buffer.from([0, 0x80, longer >> 16, (longer >> 8) & 0xff, longer & 0xff, 0]),
      Buffer.alloc(longer - 1),
    ]),
  ],
  ['a capsule of endless length', Buffer.from([0, ...Array.from({ length: 8 }, () => 0xff)])],
  ['an unknown capsule of endless length', Buffer.from([9, ...Array.from({ length: 8 }, () => 0xff)])],
] as const) {
  test(`${title} ends the flow as a protocol error, and no other one`, async (t) => {
    const { node } = await dnsNode(t);
    const opened = await session(t, node);
    const other = await call(opened);
    const { stream } = await call(opened);
    const closed = closing(stream);
    stream.write(bytes);
    t.is((await closed).code, 1);
    other.stream.write(Buffer.from([0, 2, 0, 65]));
    t.deepEqual((await once(other.stream, 'data'))[0], Buffer.from([0, 2, 0, 65]));
  });
}

test('an end within a capsule is a protocol error', async (t) => {
  const { node, echo } = await dnsNode(t);
  const { stream } = await call(await session(t, node));
  const closed = closing(stream);
  stream.end(Buffer.from([0, 6, 0, 1]));
  t.is((await closed).code, 1);
  t.is(echo.received, 0);
});

test('a node that is too old for UDP is asked for none, and the caller’s node says why', async (t) => {
  const node2 = await startNode(t, fabric, fabric.node('two', [dns]));
  const { keyPem: key, chainPem: cert } = node2.issue(dns);
  const server = createSecureServer({ key, cert, requestCert: true, rejectUnauthorized: false });
  let requests = 0;
  server.on('sessionError', () => undefined);
  server.on('stream', () => {
    requests += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const caller = await node1.attach(monitor, { calls: [callableUdp('dns')] });
  link(node1, node2, { addresses: [`127.0.0.1:${(server.address() as AddressInfo).port}`] });
  node1.network.setEndpoints([udpEndpoint(node2, dns)]);
  await (await udpCaller(t, caller.address('dns'))).send('?');
  const { reason } = await eventually(() => node1.outcomes[0]);
  t.is(reason, 'its node runs a version that carries no UDP');
  t.is(requests, 0);
});
