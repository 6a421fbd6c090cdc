// Probes against real sockets on the loopback.

import { createSocket } from 'node:dgram';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import test from 'ava';
import type { ProbeSpec } from '../../control/plan.ts';
import type { Execution } from '../../node-runtime/engine.ts';
import { pickFreePort } from '../../node-runtime/free-port.ts';
import { runProbe } from '../../node-runtime/probe.ts';

const timing = { periodMs: 1_000, timeoutMs: 5_000, failureThreshold: 3, successThreshold: 1, initialDelayMs: 0 };
const http = (path = '/', timeoutMs = 5_000): ProbeSpec => ({ ...timing, timeoutMs, http: { path, port: 'http' } });
const tcp = (timeoutMs = 5_000): ProbeSpec => ({ ...timing, timeoutMs, tcp: { port: 'http' } });

const noCommands = { exec: () => Promise.reject(new Error('no command is wanted here')) };

async function listen(t: { teardown(run: () => void): void }, server: Server) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { ...noCommands, host: '127.0.0.1', ports: { http: (server.address() as AddressInfo).port } };
}

const serve = (t: { teardown(run: () => void): void }, answer: RequestListener) => listen(t, createHttpServer(answer));

test('a status from 200 to 399 is well, others are not, with the status and words in the reason', async (t) => {
  const target = await serve(t, (request, response) => {
    response.statusCode = Number(request.url?.slice(1));
    response.setHeader('location', '/500');
    response.end(response.statusCode === 503 ? 'warming\u0007 up\nsoon' : '');
  });
  for (const status of [200, 204, 302, 399])
    t.deepEqual(await runProbe(http(`/${status}`), target), { ok: true }, `${status}`);
  for (const status of [400, 404, 500]) {
    t.deepEqual(await runProbe(http(`${status}`), target), { ok: false, reason: `HTTP status ${status}` });
  }
  t.deepEqual(await runProbe(http('/503'), target), { ok: false, reason: 'HTTP status 503: warming up soon' });
});

test('an answer without end is not read for ever', async (t) => {
  let sent = 0;
  const target = await serve(t, (_request, response) => {
    const chunk = Buffer.alloc(16 * 1024, 'x');
    const pump = () => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.byteLength;
    };
    response.on('drain', pump);
    response.on('error', () => undefined);
    pump();
  });
  t.deepEqual(await runProbe(http(), target), { ok: true });
  t.true(sent < 32 * 1024 * 1024);
});

test('a workload that accepts and says nothing fails after the time-out over HTTP, and is well over TCP', async (t) => {
  const sockets = new Set<{ destroy(): void }>();
  const target = await listen(
    t,
    createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
    }),
  );
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  t.deepEqual(await runProbe(http('/', 100), target), { ok: false, reason: 'no answer within 100 ms' });
  t.deepEqual(await runProbe(tcp(), target), { ok: true });
});

test('a connection that breaks in the answer is not well', async (t) => {
  const target = await listen(
    t,
    createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'));
    }),
  );
  const result = await runProbe(http(), target);
  t.false(result.ok);
});

test('what is not HTTP is not well', async (t) => {
  const target = await listen(
    t,
    createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    }),
  );
  t.false((await runProbe(http(), target)).ok);
});

test('a port that nobody listens on is refused with a reason', async (t) => {
  const target = { ...noCommands, host: '127.0.0.1', ports: { http: await pickFreePort() } };
  for (const spec of [http(), tcp()]) {
    t.deepEqual(await runProbe(spec, target), { ok: false, reason: 'connection refused: nothing listens there yet' });
  }
});

test('a port that the instance does not have is said by name', async (t) => {
  const result = await runProbe(tcp(), { ...noCommands, host: '127.0.0.1', ports: {} });
  t.deepEqual(result, { ok: false, reason: 'the probe names port http, which the instance does not have' });
});

test('a cancelled probe ends at once', async (t) => {
  const target = await serve(t, () => undefined);
  const cancelled = new AbortController();
  const probing = runProbe(http(), target, cancelled.signal);
  cancelled.abort();
  t.deepEqual(await probing, { ok: false, reason: 'the probe was cancelled' });
  t.deepEqual(await runProbe(tcp(), target, AbortSignal.abort()), { ok: false, reason: 'the probe was cancelled' });
});

test('a free port can be listened on by TCP and by UDP, and is not one that was promised', async (t) => {
  const first = await pickFreePort();
  const second = await pickFreePort('127.0.0.1', new Set([first]));
  t.not(first, second);
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(second, '127.0.0.1', resolve);
  });
  t.teardown(() => server.close());
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port: second, address: '127.0.0.1', exclusive: true }, resolve);
  });
  await t.throwsAsync(pickFreePort('192.0.2.1'), { name: 'FreePortError' });
});

test('a command is well when it ends with 0; else its status, its signal or its words say why not', async (t) => {
  const exec: ProbeSpec = { ...timing, exec: { command: ['check', '--all'] } };
  const ask = (ended: Execution) =>
    runProbe(exec, {
      ...{ host: '127.0.0.1', ports: {} },
      exec: async (command) => {
        t.deepEqual(command, ['check', '--all']);
        return ended;
      },
    });
  t.deepEqual(await ask({ status: 0, signal: undefined, output: 'all is well' }), { ok: true });
  const failed = { status: 3, signal: undefined };
  t.deepEqual(await ask({ ...failed, output: '' }), { ok: false, reason: 'exit status 3' });
  t.deepEqual(await ask({ ...failed, output: 'no\tdisk\n' }), { ok: false, reason: 'exit status 3: no disk' });
  const killed = { status: undefined, signal: 'SIGSEGV', output: '' };
  t.deepEqual(await ask(killed), { ok: false, reason: 'ended by SIGSEGV' });
});

test('a command that hangs is cancelled after the time-out', async (t) => {
  const exec: ProbeSpec = { ...timing, timeoutMs: 50, exec: { command: ['check'] } };
  const result = await runProbe(exec, {
    ...{ host: '127.0.0.1', ports: {} },
    exec: (_, { signal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
  });
  t.deepEqual(result, { ok: false, reason: 'no answer within 50 ms' });
});
