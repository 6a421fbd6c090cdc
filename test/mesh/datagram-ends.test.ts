// What waits for a way that takes nothing has a bound, whatever it is made of; an end that leads nowhere is none.

import type { Http2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import test from 'ava';
import {
  connectDatagrams,
  createDatagramSocket,
  createUnsentBytes,
  sendFrom,
  streamDatagrams,
} from '../../mesh/datagram-ends.ts';
import { datagramBytesMax, datagramUnsentBytesMax, datagramUnsentBytesMin } from '../../mesh/limits.ts';

/** How many of these a stream takes of which nothing is read, of `unsentBytesMax` for all. */
function taken(payload: Uint8Array, unsentBytesMax?: number): number {
  const stream = new Duplex({ read: () => undefined, write: () => undefined }) as Duplex & { rstCode: number };
  stream.rstCode = 0;
  const events = { onDatagram: () => undefined, onClosed: () => undefined };
  const end = streamDatagrams(stream as unknown as Http2Stream, createUnsentBytes(unsentBytesMax), events);
  let count = 0;
  while (count < 100_000 && end.send(payload)) count += 1;
  stream.destroy();
  return count;
}

test('attack: many short datagrams take no more memory than few long ones', (t) => {
  t.is(taken(new Uint8Array(datagramBytesMax)), 2);
  t.is(taken(new Uint8Array(0)), datagramUnsentBytesMax / datagramUnsentBytesMin);
  t.is(taken(new Uint8Array(1), 10 * datagramUnsentBytesMin), 10, 'nor do those of all flows');
});

test('an instance to which there is no way is not reached', async (t) => {
  const events = { onDatagram: () => undefined, onClosed: () => undefined };
  // Nobody may send there who has not said that it is meant.
  await t.throwsAsync(connectDatagrams('255.255.255.255', 9, events), { code: 'EACCES' });
});

test('attack: a datagram from port 0, as a raw socket can send it, is not answered and harms nobody', (t) => {
  const socket = createDatagramSocket(4);
  t.teardown(() => socket.close());
  const to = { address: '127.0.0.1', port: 0 };
  t.notThrows(() => sendFrom(socket, Buffer.from('an answer'), () => undefined, to));
});
