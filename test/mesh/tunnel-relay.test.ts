// What the relay does at the edges that Node makes dangerous.

import { connect } from 'node:net';
import test from 'ava';
import { resetSocket } from '../../mesh/tunnel-relay.ts';
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
