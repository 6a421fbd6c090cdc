// Hostile bytes on real connections: streams of the mesh between two libp2p nodes, and HTTP/2 on the tunnel's port with the certificate of an
// admitted workload. The far ends here send what they like, byte by byte.

import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import type { ExecutionContext } from 'ava';
import { createLibp2pNode } from '../../mesh/libp2p-node.ts';
import { unadmittedFrameBytesMax } from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from '../mesh/credentials.ts';
import { createIdentityPem, startNode as startMesh } from '../mesh/libp2p-world.ts';
import { nameOf, serve, startNode } from '../mesh/tunnel-fixture.ts';
import type { Draw } from './draw.ts';
import { cutFrames } from './frames.ts';
import { mutateBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

const meshStreams: HostileKind = {
  name: 'mesh-streams',
  share: 8,
  async open(t) {
    const victim = await startMesh(t);
    let ended = Promise.withResolvers<{ frames: Uint8Array[]; error?: Error }>();
    victim.handle('/hostile/1', 'anyone', async (stream) => {
      const frames: Uint8Array[] = [];
      try {
        for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive())
          frames.push(frame);
        ended.resolve({ frames });
      } catch (error) {
        ended.resolve({ frames, error: error as Error });
      }
    });
    const attacker = await createLibp2pNode({ identityPem: createIdentityPem() });
    await attacker.libp2p.start();
    t.teardown(() => attacker.libp2p.stop());
    const [address = ''] = victim.addresses();
    const connection = await attacker.dial(address, victim.peerId, AbortSignal.timeout(60_000));
    const valid = [
      Uint8Array.of(0, 0, 0, 3, 1, 2, 3),
      joined(Uint8Array.of(0, 0, 1, 0), new Uint8Array(256).fill(7), new Uint8Array(4)),
    ];
    return {
      valid,
      async take(frame, draw): Promise<Verdict> {
        ended = Promise.withResolvers();
        const stream = await connection.newStream('/hostile/1', { signal: AbortSignal.timeout(60_000) });
        stream.addEventListener('message', () => undefined);
        const cut = draw.below(frame.length + 1);
        try {
          for (const part of [frame.subarray(0, cut), frame.subarray(cut)]) if (part.length > 0) stream.send(part);
          await stream.close({ signal: AbortSignal.timeout(60_000) });
        } catch {
          // It was reset for what it had sent by then.
        }
        const { frames, error } = await ended.promise;
        const expected = cutFrames(frame, 4, unadmittedFrameBytesMax);
        const whole = !expected.tooLarge && expected.left === 0;
        if ((error === undefined) !== whole)
          return { accepted: error === undefined, wrong: `it ended with ${error?.message ?? 'an end'}` };
        if (error !== undefined && !['FrameTooLargeError', 'StreamResetError'].includes(error.name)) throw error;
        const alike = frames.every((one, index) =>
          Buffer.from(one).equals(expected.frames[index] ?? Buffer.from('none')),
        );
        return alike ? { accepted: whole } : { accepted: whole, wrong: 'other frames came out' };
      },
    };
  },
};

const http2Frame = (type: number, flags: number, stream: number, payload: Uint8Array): Uint8Array => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([type, flags], 3);
  head.writeUInt32BE(stream, 5);
  return joined(head, payload);
};
/** HPACK (RFC 7541, section 6.2.2): a literal that is not indexed, with a new name. */
const literal = (name: string, value: string): Uint8Array =>
  joined(
    Uint8Array.of(0),
    ...[name, value].flatMap((text) => [hpackLength(Buffer.byteLength(text)), Buffer.from(text)]),
  );
function hpackLength(length: number): Uint8Array {
  if (length < 127) return Uint8Array.of(length);
  const bytes = [127];
  let left = length - 127;
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) + 128);
  return Uint8Array.from([...bytes, left]);
}

const preface = joined(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), http2Frame(4, 0, 0, new Uint8Array()));
const request = (headers: readonly (readonly [string, string])[], stream = 1): Uint8Array =>
  http2Frame(1, 4, stream, joined(...headers.map(([name, value]) => literal(name, value))));
const instance = 'default.cold-chain.sensor.0';
const connectHeaders: (readonly [string, string])[] = [
  [':method', 'CONNECT'],
  [':authority', 'sensor:8080'],
  ['selvedge-instance', instance],
];

function hostileHeaders(draw: Draw): (readonly [string, string])[] {
  const headers = connectHeaders.map((pair) => [...pair] as [string, string]);
  const values = [
    '',
    '\0',
    'CONNECT\r\nx: y',
    'GET',
    'sensor:99999',
    'sensor:-1',
    'sensor:08080',
    'monitor:8080',
    'sensor:8080 ',
    'é',
    '*',
    'x'.repeat(20_000),
  ];
  const names = [
    ':method',
    ':authority',
    ':path',
    ':scheme',
    ':protocol',
    ':status',
    'selvedge-instance',
    '__proto__',
    'constructor',
    'host',
    'Upper',
    '',
    'a\0b',
    'connection',
    'te',
    'content-length',
  ];
  for (let changes = 1 + draw.below(3); changes > 0; changes--) {
    const pair = draw.pick(headers);
    draw.pick([
      () => void pair.splice(1, 1, draw.pick(values)),
      () => void pair.splice(0, 1, draw.pick(names)),
      () => void headers.push([draw.pick(names), draw.pick([...values, 'CONNECT', 'sensor:8080', instance])]),
      () => void headers.splice(draw.below(headers.length), headers.length > 1 ? 1 : 0),
      () =>
        void headers.push(
          ...Array.from({ length: draw.below(200) }, (_, index) => [`x-${index}`, 'y'] as [string, string]),
        ),
      () => void headers.reverse(),
    ])();
  }
  return headers;
}

const connectRequests: HostileKind = {
  name: 'connect-requests',
  share: 6,
  async open(t: ExecutionContext) {
    const fabric = createTestFabric();
    const [sensor, monitor] = [nameOf('sensor'), nameOf('monitor')];
    const node = await startNode(t, fabric, fabric.node('two', [sensor]));
    let reached = 0;
    const port = await serve(t, (socket) => {
      reached++;
      socket.end('here');
    });
    await node.attach(sensor, { listens: { 8080: port } });
    const { keyPem: key, chainPem: cert } = fabric.node('one', [monitor]).issue(monitor);
    const tunnelPort = Number(node.network.offer()?.addresses[0]?.split(':')[1]);
    const servername = `sensor.cold-chain.default.ms.${fabric.fabricId}`;
    const valid = [request(connectHeaders), request(connectHeaders.slice(0, 2))];

    /** Sends the bytes and reads to the end, which comes once the answers to all of them are there. */
    async function say(bytes: Uint8Array): Promise<string> {
      const socket = connectTls({
        host: '127.0.0.1',
        port: tunnelPort,
        servername,
        key,
        cert,
        ALPNProtocols: ['h2'],
        rejectUnauthorized: false,
      });
      const got: Buffer[] = [];
      socket.on('error', () => undefined);
      socket.on('data', (data: Buffer) => got.push(data));
      await once(socket, 'secureConnect');
      socket.write(joined(preface, bytes));
      const closed = once(socket, 'close');
      // Each stream is answered, reset or the session ended; bytes that end within a frame are waited for by nobody.
      const settled = eventually(() => socket.closed || hasEnd(Buffer.concat(got)), {
        deadlineMs: 60_000,
        what: 'an answer',
      });
      const waits = framesIn(bytes).whole;
      if (waits) await Promise.race([settled, closed]);
      settled.catch(() => undefined);
      socket.end(http2Frame(7, 0, 0, new Uint8Array(8)));
      socket.resume();
      await eventually(() => socket.closed, { deadlineMs: 60_000, what: 'the end of a session' });
      return Buffer.concat(got).toString('latin1');
    }

    return {
      valid,
      hostile: (draw) => (draw.oneIn(2) ? request(hostileHeaders(draw)) : mutateBytes(draw.pick(valid), valid, draw)),
      async take(frame): Promise<Verdict> {
        reached = 0;
        await say(frame);
        const known = valid.some((one) => Buffer.from(one).equals(frame));
        if (known) await eventually(() => reached === 1, { deadlineMs: 60_000, what: 'the instance is reached' });
        const text = Buffer.from(frame).toString('latin1');
        if (reached > 0 && !(text.includes('CONNECT') && /sensor:0?8080/.test(text)))
          return { accepted: true, wrong: 'it reached an instance' };
        return { accepted: reached > 0 };
      },
      async close() {
        reached = 0;
        await say(valid[0] ?? new Uint8Array());
        await eventually(() => reached === 1, { deadlineMs: 60_000, what: 'an honest call afterwards' });
      },
    };
  },
};

function framesIn(bytes: Uint8Array): { types: number[]; whole: boolean } {
  const types: number[] = [];
  let at = 0;
  while (at + 9 <= bytes.length) {
    types.push(bytes[at + 3] ?? 0);
    at += 9 + (bytes[at] ?? 0) * 65_536 + (bytes[at + 1] ?? 0) * 256 + (bytes[at + 2] ?? 0);
  }
  // Headers that are whole get an answer of some kind; other frames may get none.
  return { types, whole: at === bytes.length && types.length === 1 && types[0] === 1 && ((bytes[4] ?? 0) & 4) !== 0 };
}
/** HEADERS, RST_STREAM or GOAWAY. */
const hasEnd = (bytes: Uint8Array): boolean => framesIn(bytes).types.some((type) => [1, 3, 7].includes(type));

export const streamKinds: readonly HostileKind[] = [meshStreams, connectRequests];
