// Gateways on real sockets: what is carried, what is refused, and what hostile clients do to honest ones.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import { gatewayConnectionsOfOriginMax, gatewayHeadBytesMax, gatewayPipelinedMax } from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { dial, everybody, everything, ownCertificate, publish, say, serveHttp, service } from './gateway-fixture.ts';
import { serve } from './tunnel-fixture.ts';

const deadline = { deadlineMs: 60_000 };
const head = (target: string, ...lines: string[]): string =>
  `${[`GET ${target} HTTP/1.1`, 'Host: shop.test', 'Connection: close', ...lines].join('\r\n')}\r\n\r\n`;
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

test('TCP is carried both ways, also when one side has ended', async (t) => {
  const port = await serve(t, (socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => socket.end(`got ${text.length}`));
  });
  const gateway = await publish(t, { protocol: 'tcp', routes: [{ to: service(port) }] });
  const socket = await dial(t, gateway.port);
  const all = everything(socket);
  socket.end('x'.repeat(1_000_000));
  t.is(await all, 'got 1000000');
});

test('a client that vanishes is noticed: TCP asks connections on which nothing is said', async (t) => {
  const port = await serve(t, (socket) => void socket.pipe(socket));
  const gateway = await publish(t, { protocol: 'tcp', routes: [{ to: service(port) }] });
  const socket = await dial(t, gateway.port);
  socket.write('hello');
  await once(socket, 'data');
  const { stdout, error } = spawnSync('ss', ['-tnoH', 'state', 'established', 'sport', '=', `:${gateway.port}`], {
    encoding: 'utf8',
  });
  if (error !== undefined) return skip(t, `ss (iproute2) cannot be run: ${error.message}`);
  t.regex(stdout, /timer:\(keepalive,/);
});

test('without a grant nobody is read; with one he is; without it again he is closed', async (t) => {
  const port = await serve(t, (socket) => void socket.pipe(socket));
  const routes = [{ to: service(port) }];
  const gateway = await publish(t, { protocol: 'tcp', routes, grants: [] });
  t.is(await say(t, gateway.port, 'hello'), '');
  t.regex(gateway.refusals.join(), /no grant lets in/);
  gateway.update({ tls: undefined, routes, grants: everybody });
  const socket = await dial(t, gateway.port);
  socket.write('hello');
  await once(socket, 'data');
  const closed = new Promise((resolve) => socket.once('close', resolve));
  gateway.update({ tls: undefined, routes, grants: [{ name: 'other', cidrs: ['192.0.2.0/24'] }] });
  await closed;
  await eventually(() => gateway.connections === 0, deadline);
  t.is(gateway.refused, 1);
});

test('a grant whose time is over closes what is open', async (t) => {
  const port = await serve(t, (socket) => void socket.pipe(socket));
  const grants = [{ ...everybody[0], name: 'short', until: Date.now() + 3_000 }];
  const gateway = await publish(t, { protocol: 'tcp', routes: [{ to: service(port) }], grants });
  const socket = await dial(t, gateway.port);
  await eventually(() => socket.destroyed, deadline);
  t.true(Date.now() >= (grants[0]?.until ?? 0));
  t.is(await say(t, gateway.port, 'hello'), '');
});

test('what two programs could read in two ways goes no further', async (t) => {
  let asked = 0;
  const { port } = await serveHttp(t, (_request, response) => {
    asked += 1;
    response.end('reached');
  });
  const gateway = await publish(t, { protocol: 'http', routes: [{ path: '/open', to: service(port) }] });
  const body = 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /open HTTP/1.1\r\nHost: x\r\n\r\n';
  const bad: [what: string, text: string][] = [
    ['both framings', `POST /open HTTP/1.1\r\nHost: shop.test\r\n${body}`],
    ['two lengths', 'POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length with a sign', 'POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na'],
    ['another coding', 'POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n'],
    ['a bad chunk', 'POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n'],
    ['space before a colon', 'GET /open HTTP/1.1\r\nHost : a\r\n\r\n'],
    ['a folded line', 'GET /open HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n'],
    ['no host', 'GET /open HTTP/1.1\r\n\r\n'],
    ['two hosts', 'GET /open HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n'],
    ['a whole address', head('http://other.test/open')],
    ['a proxy’s tunnel', 'CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['dots', head('/open/../secret')],
    ['written dots', head('/open/%2e%2E/secret')],
    ['dots behind a semicolon', head('/open/..;/secret')],
    ['dots written twice', head('/open/%252e%252e/secret')],
    ['a backslash', head('/open\\..\\secret')],
    ['another protocol', head('/open', 'Upgrade: h2c', 'Connection: Upgrade, HTTP2-Settings', 'HTTP2-Settings: AA')],
    ['an upgrade with a body', head('/open', 'Upgrade: websocket', 'Connection: Upgrade', 'Content-Length: 4')],
    ['HTTP/2 at once', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x00\x05hello\r\n\r\n'],
    ['a large head', head('/open', `X: ${'x'.repeat(gatewayHeadBytesMax)}`)],
  ];
  for (const [what, text] of bad) {
    const status = statusOf(await say(t, gateway.port, text));
    t.true(Number.isNaN(status) || (status >= 400 && status < 500), `${what}: ${status}`);
  }
  t.is(asked, 0, 'the service has seen nothing of it');
  t.is(statusOf(await say(t, gateway.port, head('/secret'))), 404);
  t.is(statusOf(await say(t, gateway.port, head('/opens'))), 404);
  t.regex(await say(t, gateway.port, head('/open/a?b=/../c')), /reached/);
  t.is(asked, 1);
});

test('who sends his request slowly is let go, and others are served meanwhile', async (t) => {
  const { port } = await serveHttp(t, (_request, response) => void response.end('well'));
  const gateway = await publish(t, { protocol: 'http', routes: [{ to: service(port) }] });
  const slow = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const socket = await dial(t, gateway.port);
      socket.write('GET / HTTP/1.1\r\nHost: shop.test\r\n');
      const ended = everything(socket);
      return { socket, ended };
    }),
  );
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const drip = (async () => {
    while (!stop.signal.aborted) {
      for (const { socket } of slow) if (socket.writable) socket.write('X: 1\r\n');
      await after(1_000, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  t.regex(await say(t, gateway.port, head('/')), /well/);
  const ends = await Promise.all(slow.map(({ ended }) => ended));
  t.true(ends.every((text) => text === '' || statusOf(text) === 408));
  stop.abort();
  await drip;
  await eventually(() => gateway.connections === 0, deadline);
  t.true(gateway.refusals.filter((reason) => reason === 'its request took too long').length > 90, 'it is told');
  t.regex(await say(t, gateway.port, head('/')), /well/);
});

test('who goes within the handshake of TLS leaves his place, and who stays silent is let go', async (t) => {
  const port = await serve(t, (socket) => void socket.pipe(socket));
  const gateway = await publish(t, { protocol: 'tcp', routes: [{ to: service(port) }], tls: await ownCertificate(t) });
  const silent = await dial(t, gateway.port);
  silent.resume();
  const gone = await dial(t, gateway.port);
  await eventually(() => gateway.connections === 2, deadline);
  gone.end(Buffer.from([0x16, 3, 1, 2, 0, 1, 0]));
  gone.resume();
  await eventually(() => gateway.connections === 1, deadline);
  t.false(silent.destroyed, 'it came before and has waited longer');
  await eventually(() => gateway.connections === 0, deadline);
  t.deepEqual(gateway.refusals, ['its TLS handshake took too long']);
  const client = connectTls({ host: '127.0.0.1', port: gateway.port, rejectUnauthorized: false });
  client.allowHalfOpen = true;
  t.teardown(() => client.destroy());
  const all = everything(client);
  client.end('x'.repeat(1_000_000));
  t.is((await all).length, 1_000_000, 'an end of one side ends not the other');
});

test('a flood of wrong tokens is counted and lets nobody in', async (t) => {
  let asked = 0;
  const { port } = await serveHttp(t, ({ headers }, response) => {
    asked += 1;
    response.end(headers.authorization === undefined ? 'well' : 'told the token');
  });
  const good = 'a'.repeat(43);
  const tokenSha256 = createHash('sha256').update(good).digest('hex');
  const gateway = await publish(t, {
    protocol: 'http',
    routes: [{ to: service(port) }],
    grants: [{ name: 'token', tokenSha256 }],
  });
  const wrong = ['', 'Authorization: Bearer', `Authorization: Basic ${good}`, `Authorization: Bearer ${good}a`];
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      say(t, gateway.port, head('/', ...(wrong[index % 4] ? [wrong[index % 4] ?? ''] : []))),
    ),
  );
  t.true(answers.every((answer) => statusOf(answer) === 401 && /www-authenticate: Bearer/i.test(answer)));
  t.is(asked, 0);
  t.is(gateway.refused, 200);
  t.regex(await say(t, gateway.port, head('/', `Authorization: Bearer ${good}`)), /well/);
});

test('one address, and one connection, have no more than their share', async (t) => {
  const held: (() => void)[] = [];
  const { port } = await serveHttp(t, (_request, response) => void held.push(() => response.end('late')));
  const gateway = await publish(t, { protocol: 'http', routes: [{ to: service(port) }] });
  const socket = await dial(t, gateway.port);
  const all = everything(socket);
  const requests = Array.from({ length: gatewayPipelinedMax + 4 }, () => 'GET / HTTP/1.1\r\nHost: a\r\n\r\n');
  socket.write(requests.join(''));
  await eventually(() => held.length === gatewayPipelinedMax, deadline);
  for (const answer of held) answer();
  t.regex(await all, /429/);
  t.is(held.length, gatewayPipelinedMax);
  const many = await Promise.all(
    Array.from({ length: gatewayConnectionsOfOriginMax + 20 }, () => dial(t, gateway.port)),
  );
  await eventually(() => many.filter(({ destroyed }) => destroyed).length >= 20, deadline);
  t.true(gateway.connections <= gatewayConnectionsOfOriginMax);
  t.regex(gateway.refusals.join(), /connections from there already/);
});

test('an answer that breaks off is no answer, and a service that is not there is a 502', async (t) => {
  const broken = await serve(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\nhalf of ', () => socket.resetAndDestroy());
    });
  });
  const nobody = createServer().listen(0, '127.0.0.1');
  await once(nobody, 'listening');
  const { port: gone } = nobody.address() as { port: number };
  nobody.close();
  await once(nobody, 'close');
  const routes = [{ to: service(broken) }, { path: '/gone', to: service(gone) }];
  const gateway = await publish(t, { protocol: 'http', routes });
  t.is(statusOf(await say(t, gateway.port, head('/gone'))), 502);
  const answer = await say(t, gateway.port, head('/'));
  t.false(/\r\n0\r\n\r\n$/.test(answer), 'it does not look complete');
});

test('what a service answers wrongly is that answer’s end, and nobody else’s', async (t) => {
  let answer = '';
  const port = await serve(t, (socket) => socket.once('data', () => socket.end(answer, 'latin1')));
  const gateway = await publish(t, { protocol: 'http', routes: [{ to: service(port) }] });
  const wrong: [what: string, text: string][] = [
    ['a status below 100', 'HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n'],
    ['a field that is no text', 'HTTP/1.1 200 OK\r\nX: \x01\r\nContent-Length: 0\r\n\r\n'],
    ['a field without a name', 'HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n'],
    ['another protocol that nobody asked for', 'HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nx'],
    ['nothing but early hints', 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n'.repeat(1_000)],
    ['a large head', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(gatewayHeadBytesMax)}\r\n\r\n`],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['both framings', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['no HTTP', 'nonsense\r\n\r\n'],
  ];
  const upgrade = head('/', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13').replace('n: close', 'n: Upgrade');
  for (const [what, text] of wrong) {
    answer = text;
    for (const asked of [head('/'), upgrade]) {
      const status = statusOf(await say(t, gateway.port, asked));
      t.true(Number.isNaN(status) || status >= 400, `${what}: ${status}`);
    }
  }
  answer = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell';
  t.regex(await say(t, gateway.port, head('/')), /well$/);
  answer = answer.replace('OK', 'O\x01K');
  t.regex(await say(t, gateway.port, head('/')), /^HTTP\/1\.1 200 OK\r\n[\s\S]*well$/, 'the reason does not go on');
});

test('a port that is taken is said', async (t) => {
  const gateway = await publish(t, { protocol: 'tcp', routes: [] });
  const second = publish(t, { protocol: 'tcp', routes: [], port: gateway.port });
  await t.throwsAsync(second, { name: 'GatewayPortTakenError', message: /is taken on this node/ });
  await t.throwsAsync(publish(t, { protocol: 'tcp', routes: [], address: '192.0.2.77' }), {
    name: 'GatewayAddressError',
  });
  const tls = { chainPem: 'none', keyPem: 'none' };
  await t.throwsAsync(publish(t, { protocol: 'http', routes: [], tls }), { name: 'GatewayTlsError' });
  await gateway.close();
  await gateway.close();
});
