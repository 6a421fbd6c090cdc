// What a neighbour asks to have carried, on the virtual clock: who says nothing loses its place.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { askToCarry, type CarryRequest, createCarryRequests } from '../../mesh/carry-requests.ts';
import { tunnelHandshakeMs } from '../../mesh/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';

function world(t: { fail(message: string): void }, onRequest = (_: CarryRequest) => t.fail('nothing was asked')) {
  const clock = createSimClock();
  const requests = createCarryRequests({ clock, onRequest });
  const [near, far] = duplexPair();
  near.on('error', () => undefined);
  near.resume();
  requests.read(far as TLSSocket, 'neighbour');
  return { clock, near, far };
}

test('a neighbour that has not asked in time loses its connection, and one that is gone leaves no timer', async (t) => {
  const slow = world(t);
  slow.near.write('CONNECT somebody HTTP/1.1\r\nhost: some');
  await slow.clock.advance(tunnelHandshakeMs - 1);
  t.false(slow.far.destroyed);
  await slow.clock.advance(1);
  t.true(slow.far.destroyed);

  const gone = world(t);
  t.is(gone.clock.pending(), 1);
  const closed = once(gone.far, 'close');
  gone.far.destroy();
  await closed;
  t.is(gone.clock.pending(), 0);
});

test('attack: who was refused and leaves its side open keeps no connection', async (t) => {
  const { near, far } = world(t, ({ refuse }) => refuse('router', 'for no good reason'));
  const answer: string[] = [];
  near.on('data', (chunk: Buffer) => answer.push(`${chunk}`));
  near.write('CONNECT somebody HTTP/1.1\r\nhost: somebody\r\n\r\n');
  await eventually(() => far.destroyed);
  t.regex(answer.join(''), /^HTTP\/1.1 502 .*selvedge-reason: for no good reason/s);
});

test('what a neighbour is asked arrives as it was asked, and what is said twice or too often is no request', async (t) => {
  const asked: CarryRequest[] = [];
  const onRequest = (request: CarryRequest) => {
    asked.push(request);
    request.accept();
  };
  const wishes = [
    { to: 'press', from: 'box', via: [], avoid: ['evil', 'slow'] },
    { to: 'press', from: 'box', via: ['one', 'two'] },
  ];
  for (const wish of wishes) {
    const clock = createSimClock();
    const requests = createCarryRequests({ clock, onRequest });
    const [near, far] = duplexPair();
    requests.read(far as TLSSocket, 'neighbour');
    await askToCarry(near as TLSSocket, wish, new AbortController().signal);
    t.deepEqual(JSON.parse(JSON.stringify(asked.at(-1)?.wish)), wish);
    near.destroy();
  }

  const head = 'CONNECT press HTTP/1.1\r\nhost: press\r\nselvedge-from: box\r\nselvedge-via: \r\n';
  const bad = [
    'selvedge-avoid: one\r\nselvedge-avoid: two\r\n',
    'selvedge-avoid: \r\n',
    `selvedge-avoid: ${'a '.repeat(9)}a\r\n`,
  ];
  for (const line of ['', ...bad]) {
    const { near } = world(t, onRequest);
    const before = asked.length;
    near.write(`${head}${line}\r\n`);
    await eventually(() => asked.length > before);
    t.is(asked.at(-1)?.wish === undefined, line !== '', line);
    near.destroy();
  }
});
