// Connections of neighbours, with links by hand: what is asked over a link ends with who asked.

import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import test from 'ava';
import { backDialsMax, neighbourConnectionsMax, neighboursConnectionsMax } from '../../mesh/limits.ts';
import type { FrameStream, StreamHandler } from '../../mesh/mesh.ts';
import { createNeighbourConnections, mostOfOne } from '../../mesh/neighbour-connections.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';

const fabric = createTestFabric();

test('attack: neighbours that take all connections leave each other one its share', (t) => {
  t.is(mostOfOne(0, 1), neighbourConnectionsMax);
  t.is(mostOfOne(neighboursConnectionsMax - 1, 20), neighbourConnectionsMax);
  t.is(mostOfOne(neighboursConnectionsMax, 9), Math.floor(neighboursConnectionsMax / 9));
  t.is(mostOfOne(neighboursConnectionsMax, 2), neighbourConnectionsMax, 'never more than one may have alone');
  t.true(mostOfOne(neighboursConnectionsMax, 500) > 0);
});

test('attack: a neighbour that asks to be dialled and goes leaves no dial, however often it does so', async (t) => {
  const silent = createServer().listen(0, '127.0.0.1');
  t.teardown(() => silent.close());
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const clock = createSimClock();
  const self = fabric.node('self', []);
  let handler: StreamHandler | undefined;
  const neighbours = createNeighbourConnections({
    clock,
    mesh: {
      handle: (_protocol, _audience, handle) => {
        handler = handle;
      },
      open: () => Promise.reject(new Error('nobody is asked')),
    },
    verifyChain: fabric.verifyChain,
    isPeerAdmitted: () => true,
    credential: () => self.ownCredential,
    onConnection: () => t.fail('nothing was proved'),
  });
  t.teardown(() => neighbours.close());
  neighbours.setOffer('neighbour', { addresses: [`127.0.0.1:${port}`], authorityKeySha256: 'its key' });
  neighbours.serve();
  const gone = Promise.withResolvers<undefined>();
  const sent: Uint8Array[] = [];
  const asks = (): FrameStream => ({
    protocol: '/selvedge/tunnel-back/1',
    receive: () => gone.promise,
    send: async (frame) => void sent.push(frame),
    close: async () => undefined,
    abort: () => undefined,
  });
  const dialled = once(silent, 'connection') as Promise<[Socket]>;
  const handled = Array.from({ length: backDialsMax }, () => handler?.(asks(), 'neighbour'));
  const [socket] = await dialled;
  socket.on('error', () => undefined);
  socket.resume();
  await handler?.(asks(), 'neighbour');
  t.is(sent.length, 1, 'one more than it may ask for at a time is refused at once');
  gone.reject(new Error('the stream was reset'));
  await eventually(() => socket.destroyed);
  await Promise.all(handled);
  t.is(sent.length, 1, 'nobody else is there to be told');
  t.is(clock.pending(), 0);
});
