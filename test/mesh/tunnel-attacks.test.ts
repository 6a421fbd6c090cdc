// Who gets nothing through the tunnel: strangers, admitted nodes with the wrong workload's certificate, and callers that policy
// does not allow. The good caller here is nothing but node:http2 with a workload certificate.

import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  type ClientHttp2Session,
  connect as connectHttp2,
  createSecureServer,
  type IncomingHttpHeaders,
} from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { WorkloadCredential } from '../../mesh/service-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric, type TestFabric } from './credentials.ts';
import {
  answering,
  ask,
  brokenWith,
  callable,
  instanceOf,
  link,
  type NetworkNode,
  nameOf,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const spy = nameOf('spy', 'other');
const fabric = createTestFabric();

const serverNameOf = ({ project, application, microservice }: typeof sensor, { fabricId }: TestFabric = fabric) =>
  `${microservice}.${application}.${project}.ms.${fabricId}`;

/** A node that serves `sensor`; `reached` counts the connections that its instance got. */
async function sensorNode(t: ExecutionContext, options: Parameters<typeof startNode>[3] = {}) {
  const reached = { count: 0 };
  const node = await startNode(t, fabric, fabric.node('two', [sensor]), options);
  const port = await serve(t, (socket) => {
    reached.count += 1;
    socket.pipe(socket);
  });
  await node.attach(sensor, { listens: { 8080: port } });
  return { node, reached };
}

interface KnockOptions extends ConnectionOptions {
  headers?: Record<string, string>;
}

/** Calls `sensor:8080` with plain node:tls and node:http2. Resolves with the status and what was echoed; rejects when cut off. */
async function knock(
  t: ExecutionContext,
  node: NetworkNode,
  credential: WorkloadCredential | undefined,
  { headers = {}, ...options }: KnockOptions = {},
): Promise<{ status: number; reason: string; echoed: string; session: ClientHttp2Session }> {
  const socket = secureSocket(t, node, credential, options);
  const session = connectHttp2('https://sensor', { createConnection: () => socket });
  t.teardown(() => session.destroy());
  return new Promise((resolve, reject) => {
    session.on('error', reject);
    session.once('close', () => reject(new Error('the session was closed')));
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'sensor:8080', ...headers });
    stream.on('error', reject);
    stream.once('response', (answer: IncomingHttpHeaders & { ':status'?: number }) => {
      const status = answer[':status'] ?? 0;
      const reason = String(answer['selvedge-reason'] ?? '');
      if (status !== 200) resolve({ status, reason, echoed: '', session });
      stream.once('data', (data: Buffer) => resolve({ status, reason, echoed: String(data), session }));
      if (status === 200) stream.write('hello');
    });
  });
}

function secureSocket(
  t: ExecutionContext,
  node: NetworkNode,
  credential: WorkloadCredential | undefined,
  options: ConnectionOptions = {},
): TLSSocket {
  const port = Number(node.network.offer()?.addresses[0]?.split(':')[1]);
  const own = credential === undefined ? {} : { key: credential.keyPem, cert: credential.chainPem };
  const servername = serverNameOf(sensor);
  const socket = connectTls({
    host: '127.0.0.1',
    port,
    servername,
    ...own,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
    ...options,
  });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

test('a tunnel opened with nothing but node:http2 and a workload certificate works', async (t) => {
  const { node } = await sensorNode(t);
  const caller = fabric.node('one', [monitor]);
  t.like(await knock(t, node, caller.issue(monitor)), { status: 200, echoed: 'hello' });
  const headers = { 'selvedge-instance': instanceOf(sensor) };
  t.like(await knock(t, node, caller.issue(monitor), { headers }), { status: 200, echoed: 'hello' });
  t.deepEqual(node.denied, []);
});

test('a stranger with a certificate authority of its own gets nothing', async (t) => {
  const { node, reached } = await sensorNode(t);
  const foreign = createTestFabric();
  const stranger = foreign.node('one', [monitor]);
  await t.throwsAsync(knock(t, node, stranger.issue(monitor)));
  await t.throwsAsync(knock(t, node, undefined), undefined, 'without any certificate');
  await eventually(() => node.denied.length === 2);
  t.true(node.denied.every(({ kind, caller }) => kind === 'handshake-refused' && caller === undefined));
  t.is(reached.count, 0);
});

test('a stranger that puts the fabric’s real authorities behind its own leaf gets nothing', async (t) => {
  const { node, reached } = await sensorNode(t);
  const stranger = createTestFabric().node('one', [monitor]).issue(monitor);
  const real = fabric.node('one', [monitor]).issue(monitor);
  const authorities = real.chainPem.slice(real.chainPem.indexOf('-----END CERTIFICATE-----') + 26);
  const leaf = new X509Certificate(stranger.chainPem).toString();
  await t.throwsAsync(knock(t, node, { keyPem: stranger.keyPem, chainPem: leaf + authorities }));
  await eventually(() => node.denied.length === 1);
  t.is(reached.count, 0);
});

test('an admitted node gets nothing with a certificate that is not a caller’s', async (t) => {
  const { node, reached } = await sensorNode(t);
  const admitted = fabric.node('one', [spy]);
  await t.throwsAsync(knock(t, node, admitted.ownCredential), undefined, 'its authority itself');
  await t.throwsAsync(
    knock(t, node, admitted.issue(monitor)),
    undefined,
    'a workload that its authority does not cover',
  );
  await eventually(() => node.denied.length === 2);
  t.like(await knock(t, node, admitted.issue(spy)), {
    status: 403,
    reason: 'no policy of project default allows the call',
  });
  t.like(node.denied[2], {
    kind: 'call-denied',
    caller: spy,
    callerPeerId: admitted.peerId,
    called: sensor,
    port: 8080,
    leftOut: 0,
  });
  t.is(reached.count, 0);
});

test('a workload of a node that is not admitted gets nothing', async (t) => {
  const allowed = new Set<string>();
  const { node, reached } = await sensorNode(t, { isPeerAdmitted: (peerId) => allowed.has(peerId) });
  const caller = fabric.node('one', [monitor]);
  await t.throwsAsync(knock(t, node, caller.issue(monitor)));
  t.is(reached.count, 0);
  allowed.add(caller.peerId);
  const { session } = await knock(t, node, caller.issue(monitor));
  allowed.clear();
  const stream = session.request({ ':method': 'CONNECT', ':authority': 'sensor:8080' });
  t.teardown(() => stream.destroy());
  const [answer] = (await once(stream, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  t.is(answer[':status'], 403, 'a call on a session from before is asked about as well');
});

test('an unknown name, no name, HTTP/1.1 and TLS 1.2 are refused in the handshake', async (t) => {
  const { node, reached } = await sensorNode(t);
  const credential = fabric.node('one', [monitor]).issue(monitor);
  for (const options of [
    { servername: serverNameOf(monitor) },
    { servername: serverNameOf(sensor, createTestFabric()) },
    { servername: '' },
    { ALPNProtocols: ['http/1.1'] },
    { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' },
  ] as ConnectionOptions[]) {
    await t.throwsAsync(knock(t, node, credential, options), undefined, JSON.stringify(options));
  }
  t.is(reached.count, 0);
});

test('what is not a CONNECT to a port of the instance is refused with a status', async (t) => {
  const { node, reached } = await sensorNode(t);
  const credential = fabric.node('one', [monitor]).issue(monitor);
  for (const [status, headers] of [
    [404, { ':authority': 'sensor:22' }],
    [404, { ':authority': 'monitor:8080' }],
    [404, { ':authority': '127.0.0.1:8080' }],
    [404, { ':authority': 'sensor:8080', 'selvedge-instance': 'default.cold-chain.sensor.7' }],
    [405, { ':method': 'GET', ':authority': 'sensor:8080', ':path': '/', ':scheme': 'https' }],
  ] as [number, Record<string, string>][]) {
    t.is((await knock(t, node, credential, { headers })).status, status, JSON.stringify(headers));
  }
  t.is(reached.count, 0);
});

test('no TLS session is resumed', async (t) => {
  const { node } = await sensorNode(t);
  const credential = fabric.node('one', [monitor]).issue(monitor);
  const tickets: Buffer[] = [];
  for (let round = 0; round < 3; round += 1) {
    const session = tickets.at(-1);
    const socket = secureSocket(t, node, credential, session === undefined ? {} : { session });
    socket.on('session', (ticket) => tickets.push(ticket));
    const http2 = connectHttp2('https://sensor', { createConnection: () => socket });
    await once(socket, 'secureConnect');
    t.false(socket.isSessionReused());
    await once(http2, 'remoteSettings');
    http2.destroy();
  }
});

test('a microservice of another application is denied before anything is dialled, with an event on its node', async (t) => {
  const { node: node2, reached } = await sensorNode(t);
  const node1 = await startNode(t, fabric, fabric.node('one', [spy]));
  const caller = await node1.attach(spy, { calls: [callable('sensor')] });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  t.is(await brokenWith(connect(8080, caller.address('sensor'))), 'ECONNRESET');
  t.like(node1.outcomes[0], { outcome: 'failed', attempts: 0 });
  t.regex(node1.outcomes[0]?.reason ?? '', /no policy of project default allows the call/);
  t.like(node1.denied, [{ kind: 'call-denied', caller: spy, called: sensor, port: 8080, callerPeerId: node1.peerId }]);
  t.deepEqual(node2.denied, []);
  t.is(reached.count, 0);
});

test('a caller whose own node allows everything is denied by the called one, with an event there', async (t) => {
  const { node: node2, reached } = await sensorNode(t);
  const node1 = await startNode(t, fabric, fabric.node('one', [spy]), { authorize: () => true });
  const caller = await node1.attach(spy, { calls: [callable('sensor')] });
  link(node1, node2);
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  t.is(await brokenWith(connect(8080, caller.address('sensor'))), 'ECONNRESET');
  t.like(node1.outcomes[0], { outcome: 'failed', attempts: 1 });
  t.regex(node1.outcomes[0]?.reason ?? '', /no policy of project default allows the call/);
  t.deepEqual(node1.denied, []);
  t.like(node2.denied, [{ kind: 'call-denied', caller: spy, called: sensor, port: 8080, callerPeerId: node1.peerId }]);
  t.is(reached.count, 0);
});

test('a microservice of another application on the same node is denied as well', async (t) => {
  const node = await startNode(t, fabric, fabric.node('one', [sensor, spy]));
  await node.attach(sensor, { listens: { 8080: await serve(t, answering('never')) } });
  const caller = await node.attach(spy, { calls: [callable('sensor')] });
  node.network.setEndpoints([node.endpoint(sensor)]);
  t.is(await brokenWith(connect(8080, caller.address('sensor'))), 'ECONNRESET');
  t.like(node.denied, [{ kind: 'call-denied', caller: spy, called: sensor }]);
});

test('denied calls are told at a bounded rate, and the rest is counted', async (t) => {
  const clock = createSystemClock();
  let aheadMs = 0;
  const { node } = await sensorNode(t, { clock: { ...clock, elapsed: () => clock.elapsed() + aheadMs } });
  const { session } = await knock(t, node, fabric.node('one', [spy]).issue(spy));
  const call = async (port: number) => {
    const stream = session.request({ ':method': 'CONNECT', ':authority': `sensor:${port}` });
    await once(stream, 'response');
    stream.destroy();
  };
  for (let again = 0; again < 20; again += 1) await call(8080);
  t.is(node.denied.length, 1, 'one that tries again and again is told once');
  for (let port = 1; port <= 80; port += 1) await call(port);
  t.is(node.denied.length, 60);
  aheadMs = 61_000;
  await call(8080);
  // The 20 of this call, and the 21 others that were past the bound.
  t.like(node.denied.at(-1), { port: 8080, leftOut: 20 + 21 });
  t.is(node.denied.length, 61);
});

test('an admitted node that answers in the place of the called workload gets no byte', async (t) => {
  const { node: real } = await sensorNode(t);
  const impostor = await startNode(t, fabric, fabric.node('three', [sensor]));
  let stolen = 0;
  await impostor.attach(sensor, { listens: { 8080: await serve(t, () => (stolen += 1)) } });
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  node1.network.setEndpoints([real.endpoint(sensor)]);
  const attempt = async (expected: RegExp) => {
    const socket = connect(8080, caller.address('sensor'));
    socket.write('secret');
    t.is(await brokenWith(socket), 'ECONNRESET');
    t.regex(node1.denied.at(-1)?.reason ?? '', expected);
    t.is(node1.denied.at(-1)?.kind, 'wrong-peer');
  };
  const { addresses } = impostor.network.offer() ?? { addresses: [] };
  link(node1, real, { addresses });
  await attempt(/runs on another node/);
  link(node1, real, { addresses, authorityKeySha256: impostor.authorityKeySha256 });
  await attempt(/runs on another node/);
  link(node1, real, { authorityKeySha256: impostor.authorityKeySha256 });
  await attempt(/of another authority than that of the link/);
  link(node1, real);
  t.is(await ask(t, caller.address('sensor'), 'hello'), 'hello');
  t.is(stolen, 0);
});

for (const [title, make, expected] of [
  ['another workload of the same node', (node: NetworkNode) => node.issue(nameOf('store')), /is another workload/],
  ['the node’s own authority', (node: NetworkNode) => node.ownCredential, /is another workload/],
  [
    'a name that the node does not cover',
    (node: NetworkNode) => node.issue(nameOf('uncovered')),
    /no good certificate/,
  ],
  ['a stranger', () => createTestFabric().node('two', [sensor]).issue(sensor), /no good certificate/],
] as [string, (node: NetworkNode) => WorkloadCredential, RegExp][]) {
  test(`a server with the certificate of ${title} gets no byte`, async (t) => {
    const node2 = await startNode(t, fabric, fabric.node('two', [sensor, nameOf('store')]));
    const { keyPem: key, chainPem: cert } = make(node2);
    let requests = 0;
    const server = createSecureServer({ key, cert, requestCert: true, rejectUnauthorized: false });
    server.on('sessionError', () => undefined);
    server.on('stream', (stream) => {
      requests += 1;
      stream.respond({ ':status': 200 });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    const node1 = await startNode(t, fabric, fabric.node('one', [monitor]));
    const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
    link(node1, node2, { addresses: [`127.0.0.1:${(server.address() as AddressInfo).port}`] });
    node1.network.setEndpoints([node2.endpoint(sensor)]);
    const socket = connect(8080, caller.address('sensor'));
    socket.write('secret');
    t.is(await brokenWith(socket), 'ECONNRESET');
    t.regex(node1.denied[0]?.reason ?? '', expected);
    t.is(requests, 0);
  });
}

test('a credential that is somebody else’s is not attached', async (t) => {
  const node = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  for (const credential of [
    node.issue(sensor),
    node.ownCredential,
    { keyPem: 'x', chainPem: 'y' },
    node.issue(nameOf('uncovered')),
  ]) {
    await t.throwsAsync(node.attach(monitor, { credential }), { name: 'WorkloadCredentialError' });
  }
});
