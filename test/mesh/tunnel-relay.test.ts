// What the relay does at the edges that Node makes dangerous.

import { connect, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import test from 'ava';
import { gatheredChunkBytesMin } from '../../mesh/limits.ts';
import { pump } from '../../mesh/tunnel-pump.ts';
import { resetSocket } from '../../mesh/tunnel-relay.ts';
import { eventually } from '../eventually.ts';
import { brokenWith, dial, serve } from './tunnel-fixture.ts';

const answer = Buffer.alloc(16 * 1024 * 1024);

test('a reset after an end that is still on its way lets the end go first, and frees the socket', async (t) => {
  const errors: Error[] = [];
  const freed = Promise.withResolvers<void>();
  const port = await serve(t, (socket) => {
    socket.on('error', (error) => errors.push(error));
    socket.once('close', () => freed.resolve());
    socket.write(answer);
    socket.end();
    resetSocket(socket);
    t.false(socket.destroyed);
    resetSocket(socket);
  });
  const socket = await dial(t, '127.0.0.1', port);
  let received = 0;
  for await (const chunk of socket) received += (chunk as Buffer).length;
  t.is(received, answer.length);
  socket.end();
  await freed.promise;
  t.deepEqual(errors, []);
});

test('a reset with an answer that nobody takes is a reset at once', async (t) => {
  const port = await serve(t, (socket) => {
    socket.write(answer);
    resetSocket(socket);
    t.true(socket.destroyed);
  });
  t.is(await brokenWith(connect(port, '127.0.0.1')), 'ECONNRESET');
});

/** What is pumped from `from` into a slow writer: how long each chunk was when it was written, and is after all are. */
async function pumped(from: Socket | PassThrough, bytes: number) {
  const chunks: { chunk: Buffer; whole: boolean }[] = [];
  let written = 0;
  const to = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      const { length } = chunk;
      setImmediate(() => {
        chunks.push({ chunk, whole: chunk.length === length && chunk.every((byte) => byte === 7) });
        written += length;
        done();
      });
    },
  });
  pump(from, to);
  await eventually(() => written === bytes);
  return { whole: chunks.every(({ whole }) => whole), left: chunks.map(({ chunk }) => chunk.length) };
}

test('memory that a socket read is free once it is written, and not before; that of a stream is left alone', async (t) => {
  const sent = Buffer.alloc(1024 * 1024, 7);
  const port = await serve(t, (socket) => socket.end(sent));
  const socket = await dial(t, '127.0.0.1', port);
  const ofSocket = await pumped(socket, sent.length);
  t.true(ofSocket.whole);
  // Short reads are not worth it.
  t.true(
    ofSocket.left.some((length) => length === 0),
    'nothing was freed',
  );
  t.true(ofSocket.left.every((length) => length < gatheredChunkBytesMin));

  const stream = new PassThrough();
  for (let offset = 0; offset < sent.length; offset += 65_536) stream.write(Buffer.alloc(65_536, 7));
  const ofStream = await pumped(stream, sent.length);
  t.true(ofStream.whole);
  t.deepEqual(
    ofStream.left,
    ofStream.left.map(() => 65_536),
  );
});
