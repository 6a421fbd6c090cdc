// What gateways read of strangers, on real sockets: heads of HTTP requests, with a token among them, the first bytes of TLS, and datagrams.
// Beside each a reading of what came through that is written anew.

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { tokenHash } from '../../mesh/gateway-grants.ts';
import { eventually } from '../eventually.ts';
import { serveUdp, udpCaller } from '../mesh/datagram-fixture.ts';
import { ownCertificate, publish, service } from '../mesh/gateway-fixture.ts';
import { serve } from '../mesh/tunnel-fixture.ts';
import type { Draw } from './draw.ts';
import { mutateBytes } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const deadline = { deadlineMs: 60_000 };
/** Who has sent half of a request waits for no answer: he hangs up. */
const patienceMs = 20;
const token = 'a-token-that-nobody-guesses-0123456789';
const tokenSha256 = Buffer.from(tokenHash(token)).toString('hex');

/** Sends the bytes and reads to the end; `waits` for an answer however long it takes. */
async function say(port: number, bytes: Uint8Array, waits: boolean): Promise<Buffer> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  const got: Buffer[] = [];
  socket.on('error', () => undefined);
  socket.on('data', (data: Buffer) => got.push(data));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const ended = new Promise<void>((resolve) => socket.once('end', () => resolve()));
  socket.write(bytes);
  await Promise.race([ended, closed, ...(waits ? [] : [after(patienceMs)])]);
  socket.end();
  socket.resume();
  await Promise.race([closed, after(deadline.deadlineMs, undefined, { ref: false })]);
  socket.destroy();
  return Buffer.concat(got);
}

const request = (target: string, ...lines: string[]): Uint8Array => {
  const head = [`GET ${target} HTTP/1.1`, 'Host: shop.test', `Authorization: Bearer ${token}`, ...lines];
  return Buffer.from(`${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n`, 'latin1');
};
const targets = [
  ...['/open', '/open/a?b=/../c', '/openly', '/', '/secret', '/open/..', '/open/%2e%2e/secret', '/open/%252E./secret'],
  ...[
    '/open/..;/secret',
    '/open\\..\\secret',
    'http://shop.test/open',
    '*',
    '//open',
    '/open/./x',
    '/open%2f..%2fsecret',
  ],
];
const lines = [
  ...['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, identity', 'Content-Length: 5', 'Content-Length: 0'],
  ...[
    'Content-Length: +5',
    'Host: other.test',
    'Host: shop.test:80',
    'Authorization: Bearer',
    'X-Forwarded-For: 192.0.2.1',
  ],
  ...['X_Forwarded_For: 192.0.2.1', 'Forwarded: for=192.0.2.1', 'X-Original-URL: /secret', 'X-Rewrite-URL: /secret'],
  ...[
    'Connection: host, authorization',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Upgrade: h2c',
    'Expect: 100-continue',
  ],
  ...[
    'Proxy: http://192.0.2.1',
    'X-Real-IP: 192.0.2.1',
    'Trailer: Host',
    'X: \x01',
    'X: \x7f',
    'X: \xe9',
    'X:',
    ': x',
    ' x: y',
    'Cookie: a=b',
  ],
  ...[
    'Content-Length: 5, 5',
    'Transfer-Encoding:\tchunked',
    'Te: trailers',
    `X: ${'x'.repeat(40_000)}`,
    'X-Forwarded-Host: other.test',
  ],
];
const bodies = [
  '',
  'hello',
  '0\r\n\r\n',
  '5\r\nhello\r\n0\r\nHost: other.test\r\n\r\n',
  'GET /secret HTTP/1.1\r\nHost: shop.test\r\n\r\n',
];

function hostileRequest(draw: Draw): Uint8Array {
  const more = Array.from({ length: draw.below(3) }, () => draw.pick(lines));
  const target = draw.oneIn(2) ? '/open' : draw.pick(targets);
  const body = draw.oneIn(2) ? '' : draw.pick(bodies);
  const made = Buffer.concat([request(target, ...more), Buffer.from(body)]);
  if (draw.oneIn(3)) return mutateBytes(made, [request('/open')], draw);
  return draw.oneIn(6)
    ? Buffer.from(
        Buffer.from(made)
          .toString('latin1')
          .replace('GET', draw.pick(['POST', 'TRACE', 'CONNECT', 'get', 'PRI'])),
        'latin1',
      )
    : made;
}

/** What is wrong with a request that the service got; its head alone. */
function wrongRequest(head: string): string | undefined {
  const [first = '', ...fields] = head.split('\r\n');
  const [, path = ''] = /^[A-Z]+ (\/[^ ]*) HTTP\/1\.1$/.exec(first) ?? [];
  if (!/^\/open(?:[/?]|$)/.test(path)) return `the path ${first}`;
  const [decoded = ''] = decodeURI(path.replaceAll(/%(?![0-9a-f]{2})/gi, '')).split('?');
  if (decoded.split(/[/\\]/).some((part) => /^\.\.?(?:;|$)/.test(part))) return `dots in ${first}`;
  const valuesOf = (name: string): string[] =>
    fields.flatMap((field) => {
      const at = field.indexOf(':');
      return field.slice(0, at).toLowerCase().replaceAll('_', '-') === name ? [field.slice(at + 1).trim()] : [];
    });
  const said: [name: string, values: RegExp | undefined][] = [
    ['host', /^shop\.test(?::80)?$/],
    ['x-forwarded-for', /^127\.0\.0\.1$/],
    ['x-forwarded-host', /^shop\.test(?::80)?$/],
    ['forwarded', undefined],
    ['x-real-ip', undefined],
    ['x-original-url', undefined],
    ['x-rewrite-url', undefined],
    ['proxy', undefined],
  ];
  for (const [name, wanted] of said) {
    const values = valuesOf(name);
    if (values.length !== (wanted === undefined ? 0 : 1) || !values.every((value) => wanted?.test(value)))
      return `${name}: ${values.join(' and ')}`;
  }
  if (valuesOf('content-length').length + valuesOf('transfer-encoding').length > 1) return 'two framings';
  return head.includes(token) ? 'the token' : undefined;
}

const gatewayRequests: HostileKind = {
  name: 'gateway-requests',
  share: 30,
  async open(t) {
    let reached = 0;
    let withToken = 0;
    let wrong: string | undefined;
    const port = await serve(t, (socket) => {
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        const before = text;
        text += chunk.toString('latin1');
        const end = text.indexOf('\r\n\r\n');
        if (end < 0 || before.includes('\r\n\r\n')) return;
        reached += 1;
        wrong ??= wrongRequest(text.slice(0, end));
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nreached');
      });
      socket.on('end', () => socket.end());
    });
    const gateway = await publish(t, {
      protocol: 'http',
      routes: [{ host: 'shop.test', path: '/open', to: service(port) }],
      grants: [{ name: 'token', cidrs: ['127.0.0.1'], tokenSha256 }],
    });
    const valid = [request('/open'), request('/open/a?b=/../c', 'X-Forwarded-For: 192.0.2.1', 'Cookie: a=b')];
    const isReached = (answer: Buffer): boolean => /^HTTP\/1\.1 200 [\s\S]*reached$/.test(answer.toString('latin1'));
    return {
      valid,
      hostile: hostileRequest,
      async take(frame): Promise<Verdict> {
        withToken += Buffer.from(frame).toString('latin1').split(token).length - 1;
        const known = valid.some((one) => Buffer.from(one).equals(frame));
        const accepted = isReached(await say(gateway.port, frame, known));
        if (wrong !== undefined) return { accepted, wrong: `the service got ${wrong}` };
        return reached > withToken ? { accepted, wrong: 'a request without the token' } : { accepted };
      },
      async close() {
        t.true(isReached(await say(gateway.port, request('/open'), true)), 'an honest request afterwards');
        await eventually(() => gateway.connections === 0, deadline);
      },
    };
  },
};

/** What a client of TLS says first. */
async function clientHello(version: 'TLSv1.2' | 'TLSv1.3'): Promise<Uint8Array> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const client = connectTls({ host: '127.0.0.1', port, servername: 'shop.test', maxVersion: version });
  client.on('error', () => undefined);
  const [socket] = await once(server, 'connection');
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  server.close();
  return new Uint8Array(hello);
}

const gatewayHellos: HostileKind = {
  name: 'gateway-hellos',
  share: 15,
  async open(t) {
    let reached = 0;
    const port = await serve(t, (socket) => {
      reached += 1;
      socket.end('here');
    });
    const gateway = await publish(t, {
      protocol: 'tcp',
      routes: [{ to: service(port) }],
      tls: await ownCertificate(t),
    });
    const valid = [await clientHello('TLSv1.2'), await clientHello('TLSv1.3')];
    return {
      valid,
      async take(frame, draw): Promise<Verdict> {
        // Whatever is said first: without a whole handshake nobody gets further.
        const said = draw.oneIn(4) ? Buffer.concat([frame, draw.bytes(draw.below(500))]) : frame;
        const known = valid.some((one) => Buffer.from(one).equals(frame));
        const socket = connect({ host: '127.0.0.1', port: gateway.port });
        socket.on('error', () => undefined);
        const closed = new Promise<undefined>((resolve) => socket.once('close', () => resolve(undefined)));
        const data = once(socket, 'data').then(
          ([chunk]) => chunk as Buffer,
          () => undefined,
        );
        socket.write(known ? frame : said);
        const first = await Promise.race([data, closed, ...(known ? [] : [after(patienceMs, undefined)])]);
        socket.destroy();
        await closed;
        const accepted = first?.[0] === 0x16;
        return reached > 0 ? { accepted, wrong: 'it reached the service' } : { accepted };
      },
      async close() {
        const client = connectTls({ host: '127.0.0.1', port: gateway.port, rejectUnauthorized: false });
        const [answer] = (await once(client, 'data')) as [Buffer];
        t.is(String(answer), 'here', 'an honest client afterwards');
        client.destroy();
        await eventually(() => gateway.connections === 0, deadline);
      },
    };
  },
};

const gatewayDatagrams: HostileKind = {
  name: 'gateway-datagrams',
  share: 30,
  async open(t) {
    const heard: Buffer[] = [];
    const echo = await serveUdp(t, (payload) => {
      heard.push(payload);
      return payload;
    });
    const gateway = await publish(t, {
      protocol: 'udp',
      routes: [{ to: { ...service(echo.port), protocol: 'udp' } }],
      grants: [{ name: 'one', cidrs: ['127.0.0.1'] }],
    });
    const honest = await udpCaller(t, '127.0.0.1', gateway.port);
    const stranger = createSocket('udp4');
    t.teardown(() => stranger.close());
    stranger.bind(0, '127.0.0.66');
    await once(stranger, 'listening');
    let answers = 0;
    stranger.on('message', () => {
      answers += 1;
    });
    let probes = 0;
    const valid = [0, 1, 62, 1_200, 65_507].map((bytes) => new Uint8Array(bytes));
    return {
      valid,
      hostile: (draw) => mutateBytes(draw.pick(valid), valid, draw).subarray(0, 65_507),
      async take(frame, draw): Promise<Verdict> {
        const known = valid.some((one) => one === frame);
        heard.length = 0;
        const isStranger = !known && draw.oneIn(2);
        if (isStranger) {
          stranger.send(frame, gateway.port, '127.0.0.1');
          // What came before it on the same socket has been read when it is answered.
          await honest.ask(`probe ${probes++}`);
          const said = heard.some((one) => one.equals(frame)) || answers > 0 || gateway.connections !== 1;
          return said ? { accepted: true, wrong: 'a stranger’s datagram went through' } : { accepted: false };
        }
        // Also after one that was sent again in vain, whose answer comes late on a busy box.
        const isBack = (): boolean => honest.answers.some(({ payload }) => payload.equals(frame));
        honest.answers.length = 0;
        await eventually(async () => (await honest.hear(Buffer.from(frame))) !== undefined && isBack(), deadline);
        return { accepted: true };
      },
    };
  },
};

export const gatewayKinds: readonly HostileKind[] = [gatewayRequests, gatewayHellos, gatewayDatagrams];
