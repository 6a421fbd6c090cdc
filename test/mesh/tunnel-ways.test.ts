// By which neighbour a call goes through other nodes, after one that led nowhere. Links and ways by hand, on the virtual clock.

import { duplexPair } from 'node:stream';
import test from 'ava';
import { routeAnswerMs } from '../../mesh/limits.ts';
import type { PeerId } from '../../mesh/mesh.ts';
import { loadCredential } from '../../mesh/tunnel-credentials.ts';
import { connectTunnel } from '../../mesh/tunnel-session.ts';
import { createTunnelThroughNodes } from '../../mesh/tunnel-through-nodes.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createTestFabric } from './credentials.ts';
import { nameOf } from './tunnel-fixture.ts';

const fabric = createTestFabric();

test('attack: a neighbour that takes a call and is silent is not the first to be asked the next time', async (t) => {
  const clock = createSimClock();
  const self = fabric.node('self', []);
  const asked: PeerId[] = [];
  const through = createTunnelThroughNodes({
    ...{ clock, self: self.peerId, verifyChain: fabric.verifyChain, isPeerAdmitted: () => true },
    credential: () => self.ownCredential,
    mesh: {
      handle: () => undefined,
      open(peerId) {
        asked.push(peerId);
        return new Promise(() => undefined);
      },
    },
    step: () => ({ type: 'forward', nextHops: ['silent', 'other'], hopsLeft: 3 }),
    onArrived: () => t.fail('nothing was asked'),
  });
  for (const peerId of ['silent', 'other']) through.setOffer(peerId, { addresses: [], authorityKeySha256: 'its key' });
  const open = async (): Promise<void> => {
    const opening = t.throwsAsync(through.open('far', new AbortController().signal), { message: /no answer in time/ });
    await clock.advance(routeAnswerMs);
    await opening;
  };
  await open();
  await open();
  t.deepEqual(asked, ['silent', 'other']);
  t.is(clock.pending(), 0);
});

test('who carries a session to nobody who proves to be the peer is told of', async (t) => {
  const monitor = nameOf('monitor');
  const self = fabric.node('self', [monitor]);
  const [near, far] = duplexPair();
  const failed: unknown[] = [];
  const credential = loadCredential(self.issue(monitor), monitor, fabric.verifyChain);
  const connecting = connectTunnel(
    {
      ...{ clock: createSimClock(), verifyChain: fabric.verifyChain, costOf: () => undefined },
      overLink: {
        ...{ open: async () => near, through: () => undefined, serve: () => undefined },
        blame: (stream) => failed.push(stream),
      },
    },
    {
      ...{ credential, called: nameOf('sensor'), peerId: 'far' },
      offer: { addresses: [], authorityKeySha256: 'its key' },
    },
    new AbortController().signal,
  );
  far.resume();
  far.end();
  await t.throwsAsync(connecting, { message: /no tunnel to/ });
  t.deepEqual(failed, [near]);
});
