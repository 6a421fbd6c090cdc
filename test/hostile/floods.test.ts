// Floods against a node's network on loopback: what it holds is bounded, others are served meanwhile, and it says so. The victim is a process of its
// own, whose memory is read after full collections; what an attacker holds is held here.

import { execFile, fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import * as dns from 'dns-packet';
import { encodeFrame } from '../../mesh/frame-codec.ts';
import { createLibp2pNode } from '../../mesh/libp2p-node.ts';
import {
  callsPerInstanceOfPeerMax,
  foundPeersMax,
  unadmittedFrameBytesMax,
  unadmittedStreamsMax,
} from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';
import { createIdentityPem, startNode as startMesh } from '../mesh/libp2p-world.ts';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { isSoak } from '../slice.ts';
import type { VictimPlace, VictimState } from './victim.ts';

const deadlineMs = 60_000;
/** What a flood may add to the heap and to buffers while it lasts: 1,536 calls at 50 kB with both ends here, and 20 MiB of strangers' frames. */
const heldBytesMax = 128 * 1024 * 1024;
/** The same of resident memory: V8 gives back late what it had for a moment. */
const residentBytesMax = 320 * 1024 * 1024;
/** What is left on the heap when it is over: code that was compiled meanwhile, and bounded tables. */
const leftBytesMax = 24 * 1024 * 1024;

interface Victim extends VictimPlace {
  state(): Promise<VictimState>;
}

/** In a network namespace, it looks for others there. */
async function startVictim(t: ExecutionContext, namespace?: string): Promise<Victim> {
  const program = fileURLToPath(new URL('victim.ts', import.meta.url));
  const child =
    namespace === undefined
      ? fork(program, [], { execArgv: ['--expose-gc'] })
      : fork(program, ['discovery'], {
          execPath: 'ip',
          execArgv: ['netns', 'exec', namespace, process.execPath, '--expose-gc'],
        });
  t.teardown(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
  });
  const answer = async <T>(): Promise<T> => {
    const [message] = await once(child, 'message', { signal: AbortSignal.timeout(deadlineMs) });
    return message as T;
  };
  const { place } = await answer<{ place: VictimPlace }>();
  return {
    ...place,
    async state() {
      const answered = answer<{ state: VictimState }>();
      child.send('state');
      return (await answered).state;
    },
  };
}

const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(1)} MiB`;

function checkHeld(t: ExecutionContext, before: VictimState, during: VictimState): void {
  const [heap, resident] = [during.heapBytes - before.heapBytes, during.rssBytes - before.rssBytes];
  t.log(`during the flood: heap and buffers +${megabytes(heap)}, resident +${megabytes(resident)}`);
  t.true(heap < heldBytesMax, `heap and buffers grew by ${megabytes(heap)}`);
  t.true(resident < residentBytesMax, `resident memory grew by ${megabytes(resident)}`);
}

async function checkLeft(t: ExecutionContext, victim: Victim, before: VictimState): Promise<void> {
  let left = 0;
  await eventually(
    async () => {
      left = (await victim.state()).heapBytes - before.heapBytes;
      return left < leftBytesMax;
    },
    { deadlineMs, everyMs: 500, what: `less than ${megabytes(leftBytesMax)} are left` },
  );
  t.log(`after it: heap and buffers +${megabytes(left)}`);
}

/** A connection that a stranger makes from an address of its own. */
function silent(t: ExecutionContext, port: number, localAddress: string): Socket {
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

/** Such connections, each made again as soon as it is closed, until the test ends. */
function besiege(t: ExecutionContext, port: number, hosts: readonly string[], ofEach: number): void {
  let over = false;
  const held = new Set<Socket>();
  t.teardown(() => {
    over = true;
    for (const socket of held) socket.destroy();
  });
  const hold = (localAddress: string): void => {
    if (over) return;
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    held.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      held.delete(socket);
      setTimeout(() => hold(localAddress), 50).unref();
    });
  };
  for (const host of hosts) for (let index = 0; index < ofEach; index++) hold(host);
}

/** One byte after the other of what a handshake begins with. */
function trickle(t: ExecutionContext, port: number, localAddress: string, bytes: Uint8Array): void {
  const socket = silent(t, port, localAddress);
  let at = 0;
  const timer = setInterval(() => {
    if (at < bytes.length && !socket.destroyed) socket.write(bytes.subarray(at, ++at));
  }, 200);
  t.teardown(() => clearInterval(timer));
}

function callerOf(
  t: ExecutionContext,
  { tunnelPort, servername }: Victim,
  { keyPem: key, chainPem: cert }: Victim['honest'],
) {
  const socket = connectTls({
    host: '127.0.0.1',
    port: tunnelPort,
    servername,
    key,
    cert,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  return socket;
}

function sessionOf(t: ExecutionContext, victim: Victim, credential: Victim['honest']): ClientHttp2Session {
  const session = connectHttp2('https://sensor', { createConnection: () => callerOf(t, victim, credential) });
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  return session;
}

/** The status of one CONNECT, and what came back of `hello`. The stream stays open. */
function call(session: ClientHttp2Session): Promise<{ status: number; echoed?: string }> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'CONNECT', ':authority': 'sensor:8080' });
    stream.on('error', reject);
    stream.once('close', () => reject(new Error('the stream was closed')));
    stream.once('response', (headers) => {
      const status = Number(headers[':status']);
      if (status !== 200) resolve({ status });
      stream.once('data', (data: Buffer) => resolve({ status, echoed: String(data) }));
      if (status === 200) stream.write('hello');
    });
  });
}

const honestCall = (t: ExecutionContext, victim: Victim): Promise<unknown> =>
  eventually(
    async () => {
      const session = sessionOf(t, victim, victim.honest);
      const answer = await call(session).catch((error: Error) => ({ status: 0, echoed: error.message }));
      session.destroy();
      return answer.status === 200 && answer.echoed === 'hello';
    },
    { deadlineMs, what: 'an honest caller is served' },
  );

/** A frame's head alone: length, type, flags, stream. */
const http2Head = (length: number, type: number, flags: number, stream: number): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return head;
};

test.serial('the tunnel: half-open connections, slow ones, giant frames and streams without number', async (t) => {
  t.timeout(10 * deadlineMs);
  const victim = await startVictim(t);
  await honestCall(t, victim);
  const before = await victim.state();

  for (let index = 0; index < (isSoak ? 2_000 : 300); index++)
    silent(t, victim.tunnelPort, `127.0.0.${66 + (index % 4)}`);
  for (let index = 0; index < 40; index++)
    trickle(
      t,
      victim.tunnelPort,
      '127.0.0.70',
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
    );
  await honestCall(t, victim);

  // Within a session of a proven workload: what is announced and never comes, headers without an end, and what is far too large.
  const begun = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), http2Head(0, 4, 0, 0)]);
  const continued = Array.from({ length: 200 }, () => [http2Head(16_000, 9, 0, 1), Buffer.alloc(16_000)]).flat();
  const attacks = [
    [http2Head(0xff_ff_ff, 1, 4, 1), Buffer.alloc(50_000)],
    [http2Head(60_000, 1, 4, 1), Buffer.alloc(59_000)],
    [http2Head(10, 1, 0, 1), Buffer.alloc(10), ...continued],
    Array.from({ length: 20_000 }, () => Buffer.concat([http2Head(8, 6, 0, 0), Buffer.alloc(8)])),
    Array.from({ length: 20_000 }, () => http2Head(0, 4, 0, 0)),
    [Buffer.alloc(100_000, 0xff)],
    [],
  ];
  for (let round = 0; round < (isSoak ? 20 : 4); round++) {
    for (const attack of attacks) {
      const socket = callerOf(t, victim, victim.mallory);
      await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]);
      // Whoever does not read what it is answered has a share of memory too, and no more.
      socket.pause();
      socket.write(Buffer.concat([begun, ...attack]));
    }
  }
  await honestCall(t, victim);

  const statuses: number[] = [];
  const sessions = Array.from({ length: 4 }, () => sessionOf(t, victim, victim.mallory));
  for (const session of sessions) {
    const calls = Array.from({ length: 500 }, () => call(session).catch(() => ({ status: 0 })));
    statuses.push(...(await Promise.all(calls)).map(({ status }) => status));
  }
  const open = statuses.filter((status) => status === 200).length;
  t.is(open, callsPerInstanceOfPeerMax, 'one node has its share of an instance');
  t.true(statuses.every((status) => status === 200 || status === 503));
  await honestCall(t, victim);
  const during = await victim.state();
  checkHeld(t, before, during);
  t.true(
    during.told.some((message) => /connections without a finished handshake/.test(message)),
    during.told.join('\n'),
  );
  t.true(during.told.some((message) => /too many connections of the caller’s node/.test(message)));
  t.true(during.told.length < 200, `${during.told.length} events`);
  for (const session of sessions) session.destroy();
  await honestCall(t, victim);
  await checkLeft(t, victim, before);
});

test.serial('the mesh: half-open connections, slow ones, strangers that hold frames, and giant frames', async (t) => {
  t.timeout(10 * deadlineMs);
  const victim = await startVictim(t);
  const port = Number(victim.meshAddress.split('/').at(-1));
  const echo = async (): Promise<void> => {
    const honest = await startMesh(t);
    const address = { peerId: victim.peerId, addresses: [victim.meshAddress] };
    let tries = 0;
    const connected = () => {
      tries++;
      return honest.connect(address).catch(() => undefined);
    };
    await eventually(connected, { deadlineMs, what: 'an honest peer connects' });
    t.log(`an honest peer was connected by try ${tries}`);
    const stream = await honest.open(victim.peerId, '/hostile/echo');
    await stream.send(Buffer.from('hello'));
    t.is(Buffer.from((await stream.receive()) ?? []).toString(), 'hello');
    await stream.close();
    await honest.stop();
  };
  await echo();
  const before = await victim.state();

  // More hosts than one has places for, so that together they have all places, and take them again.
  const hosts = Array.from({ length: 8 }, (_, index) => `127.0.0.${66 + index}`);
  besiege(t, port, hosts, isSoak ? 100 : 12);
  for (let index = 0; index < 20; index++)
    trickle(t, port, '127.0.0.80', Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n'));
  await echo();

  // Strangers with a key each: as many streams as they may have, each with all but the last byte of the largest frame.
  const frame = encodeFrame(new Uint8Array(unadmittedFrameBytesMax)).subarray(0, -1);
  const strangers = isSoak ? 60 : 20;
  for (let index = 0; index < strangers; index++) {
    const stranger = await createLibp2pNode({ identityPem: createIdentityPem() });
    await stranger.libp2p.start();
    t.teardown(() => stranger.libp2p.stop());
    const dial = () =>
      stranger.dial(victim.meshAddress, victim.peerId, AbortSignal.timeout(deadlineMs)).catch(() => undefined);
    const connection = await eventually(dial, { deadlineMs, what: 'a stranger connects' });
    for (let stream = 0; stream < unadmittedStreamsMax; stream++) {
      const opened = await connection.newStream('/hostile/echo').catch(() => undefined);
      opened?.addEventListener('message', () => undefined);
      try {
        // The last one announces more than may come.
        opened?.send(stream === unadmittedStreamsMax - 1 ? Uint8Array.of(0xff, 0xff, 0xff, 0xff) : frame);
      } catch {
        // It was reset.
      }
    }
  }
  await echo();
  const during = await victim.state();
  checkHeld(t, before, during);
  t.true(
    during.told.some((message) => /connections are not finished/.test(message)),
    during.told.join('\n'),
  );
  t.true(during.told.length < 20, `${during.told.length} events`);
});

test.serial('the resolver: names without number of one container', async (t) => {
  t.timeout(30 * deadlineMs);
  const victim = await startVictim(t);
  const [attacker, honest] = [createSocket('udp4'), createSocket('udp4')];
  t.teardown(() => {
    attacker.close();
    honest.close();
  });
  attacker.bind(0, '127.0.0.66');
  honest.bind(0, '127.0.0.1');
  await Promise.all([once(attacker, 'listening'), once(honest, 'listening')]);
  const query = (name: string, id: number): Buffer =>
    dns.encode({ type: 'query', id, flags: dns.RECURSION_DESIRED, questions: [{ name, type: 'A' }] });
  let answered = 0;
  honest.on('message', () => (answered += 1));
  const ask = async (): Promise<void> => {
    const asked = answered;
    await eventually(
      () => {
        honest.send(query('server', 1), victim.dnsPort, '127.0.0.1');
        return answered > asked;
      },
      { deadlineMs, what: 'another container is answered' },
    );
  };
  await ask();
  const before = await victim.state();
  const names = isSoak ? 1_000_000 : 20_000;
  for (let index = 0; index < names; index++) {
    attacker.send(
      query(`name-${index}.${index % 2 === 0 ? 'example.org' : 'shop.default'}`, index % 65_536),
      victim.dnsPort,
      '127.0.0.1',
    );
    // As fast as the victim takes them, or the kernel drops most of them.
    if (index % 500 === 499)
      await new Promise((resolve) => attacker.send(query('server', 2), victim.dnsPort, '127.0.0.1', resolve));
    if (index % 5_000 === 4_999) await ask();
  }
  await ask();
  checkHeld(t, before, await victim.state());
  await checkLeft(t, victim, before);
});

test.serial('discovery: names without number on the network', async (t) => {
  t.timeout(30 * deadlineMs);
  const missing = namespacesMissing();
  if (missing !== undefined) {
    skip(t, missing);
    return;
  }
  const namespaces = createNamespaces(t);
  const box = namespaces.box();
  namespaces.ip(box, 'link', 'set', 'lo', 'multicast', 'on');
  namespaces.ip(box, 'route', 'add', '224.0.0.0/4', 'dev', 'lo');
  const victim = await startVictim(t, box);
  const before = await victim.state();
  const program = fileURLToPath(new URL('name-flooder.ts', import.meta.url));
  const names = isSoak ? 1_000_000 : 100_000;
  await promisify(execFile)('ip', ['netns', 'exec', box, process.execPath, program, String(names)]);
  const during = await victim.state();
  checkHeld(t, before, during);
  t.true(during.found.length > 0 && during.found.length <= foundPeersMax, `${during.found.length} peers are held`);
  t.log(`${during.found.length} peers are held; told: ${during.told.join('; ') || 'nothing'}`);
  await checkLeft(t, victim, before);
});
