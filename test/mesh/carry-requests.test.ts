// What a neighbour asks to have carried, on the virtual clock: who says nothing loses its place.

import { once } from 'node:events';
import { duplexPair } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import test from 'ava';
import { type CarryRequest, createCarryRequests } from '../../mesh/carry-requests.ts';
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
