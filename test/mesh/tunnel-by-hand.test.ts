// The tunnel as docs/tunnel.md describes it, spoken by nothing but node:http2 and a workload's certificate: the very lines of that page, and what
// it says of ends, resets, windows, renewals and refusals. Callers that are refused for who they are, are in tunnel-attacks.test.ts.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { WorkloadCredential } from '../../mesh/service-network.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import { instanceOf, type NetworkNode, nameOf, serve, startNode } from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();
const mebibyte = 1024 * 1024;

const page = readFileSync(new URL('../../docs/tunnel.md', import.meta.url), 'utf8');
const [, lines = ''] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
const names = ['http2', 'tls', 'host', 'port', 'servername', 'key', 'cert'];
// The page's lines as they are: whoever changes them sees here whether they still work.
const opened = new Function(...names, `${lines}; return { session, stream };`) as (...values: unknown[]) => {
  session: ClientHttp2Session;
  stream: ClientHttp2Stream;
};

/** A node whose instance of `sensor` does as told with its connections. */
async function sensorNode(t: ExecutionContext, onSocket: (socket: Socket) => void): Promise<NetworkNode> {
  const node = await startNode(t, fabric, fabric.node('two', [sensor]));
  await node.attach(sensor, { listens: { 8080: await serve(t, onSocket) } });
  return node;
}

function open(
  t: ExecutionContext,
  node: NetworkNode,
  credential: WorkloadCredential = fabric.node('one', [monitor]).issue(monitor),
) {
  const [host = '', port = ''] = (node.network.offer()?.addresses[0] ?? '').split(':');
  const servername = `sensor.cold-chain.default.ms.${fabric.fabricId}`;
  const { session, stream } = opened(
    http2,
    tls,
    host,
    Number(port),
    servername,
    credential.keyPem,
    credential.chainPem,
  );
  t.teardown(() => session.destroy());
  session.on('error', () => undefined);
  stream.on('error', () => undefined);
  return { session, stream };
}

/** Status of the answer; undefined when the stream is over without one. */
async function statusOf(stream: ClientHttp2Stream): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  stream.once('response', (headers) => resolve(headers[':status']));
  stream.once('close', () => resolve(undefined));
  return promise;
}

const textOf = async (stream: ClientHttp2Stream): Promise<string> => Buffer.concat(await stream.toArray()).toString();

test('the lines of the page open a tunnel; an end of one side is an END_STREAM, and the other side goes on', async (t) => {
  const node = await sensorNode(t, async (socket) => {
    const heard = Buffer.concat(await socket.toArray()).toString();
    socket.write(`heard ${heard}, `);
    socket.end('and more');
  });
  const { stream } = open(t, node);
  t.is(await statusOf(stream), 200);
  stream.end('a question');
  t.is(await textOf(stream), 'heard a question, and more');
  await eventually(() => stream.closed);
  t.is(stream.rstCode, http2.constants.NGHTTP2_NO_ERROR);
});

test('a certificate of another fabric, and none, get no answer and no byte', async (t) => {
  let reached = 0;
  const node = await sensorNode(t, () => {
    reached += 1;
  });
  for (const credential of [createTestFabric().node('one', [monitor]).issue(monitor), { keyPem: '', chainPem: '' }]) {
    const { stream } = open(t, node, credential);
    stream.end('let me in');
    t.is(await statusOf(stream), undefined);
  }
  t.is(reached, 0);
  await eventually(() => node.denied.length === 2);
  t.deepEqual(
    node.denied.map(({ kind }) => kind),
    ['handshake-refused', 'handshake-refused'],
  );
});

test('a reset is CONNECT_ERROR in both directions, and no END_STREAM comes before it', async (t) => {
  const errors: string[] = [];
  const node = await sensorNode(t, (socket) => {
    socket.on('error', ({ message }) => errors.push(message));
    socket.once('data', (data) => {
      const thisOne = String(data) === 'reset me';
      socket.write('half of an ans', () => thisOne && socket.resetAndDestroy());
    });
  });
  const { session, stream } = open(t, node);
  t.is(await statusOf(stream), 200);
  let ended = false;
  stream.on('end', () => {
    ended = true;
  });
  stream.resume().write('reset me');
  await eventually(() => stream.closed && stream.destroyed);
  t.is(stream.rstCode, http2.constants.NGHTTP2_CONNECT_ERROR);
  t.false(ended);

  const second = session.request({ ':method': 'CONNECT', ':authority': 'sensor:8080' });
  second.on('error', () => undefined);
  second.write('go on');
  await once(second, 'data');
  // As the page says: `close` alone would send END_STREAM first.
  second._final = (done) => done();
  second.close(http2.constants.NGHTTP2_CONNECT_ERROR);
  await eventually(() => errors.length > 0);
  t.regex(errors.join(), /ECONNRESET/);
});

test('who does not read is sent a window and no more, and other streams of the session go on', async (t) => {
  let written = 0;
  const node = await sensorNode(t, (socket) => {
    socket.once('data', (data) => {
      if (String(data) !== 'flood') {
        socket.end('quick');
        return;
      }
      const block = Buffer.alloc(64 * 1024);
      const write = (): void => {
        while (!socket.destroyed && socket.write(block)) written += block.length;
      };
      socket.on('drain', write);
      write();
    });
  });
  const { session, stream } = open(t, node);
  t.is(await statusOf(stream), 200);
  stream.write('flood');
  let before = -1;
  await eventually(
    () => {
      const stopped = written === before && written > 0;
      before = written;
      return stopped;
    },
    { everyMs: 400, what: 'the writer stops' },
  );
  t.true(written < 40 * mebibyte, `${written} bytes`);
  const quick = session.request({ ':method': 'CONNECT', ':authority': 'sensor:8080' });
  quick.end('hello');
  t.is(await textOf(quick), 'quick');
});

test('a renewed certificate is a GOAWAY with NO_ERROR: open streams live on, and a new session meets the new one', async (t) => {
  const node = await sensorNode(t, (socket) => socket.pipe(socket));
  const { session, stream } = open(t, node);
  t.is(await statusOf(stream), 200);
  stream.write('before');
  await once(stream, 'data');
  const serialOf = ({ socket }: ClientHttp2Session) =>
    (socket as unknown as TLSSocket).getPeerX509Certificate()?.serialNumber;
  const serial = serialOf(session);
  const goaway = once(session, 'goaway') as Promise<[number]>;
  node.network.renew(instanceOf(sensor), node.issue(sensor));
  t.is((await goaway)[0], http2.constants.NGHTTP2_NO_ERROR);
  stream.write('after');
  t.is(String((await once(stream, 'data'))[0]), 'after');
  const later = open(t, node);
  t.is(await statusOf(later.stream), 200);
  t.truthy(serial);
  t.not(serialOf(later.session), serial);
});
