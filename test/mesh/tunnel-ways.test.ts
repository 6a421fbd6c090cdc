// By which neighbour a call goes through other nodes, after one that led nowhere. Links and ways by hand, on the virtual clock.

import { duplexPair } from 'node:stream';
import test from 'ava';
import { routeAnswerMs } from '../../mesh/limits.ts';
import type { PeerId } from '../../mesh/mesh.ts';
import { loadCredential } from '../../mesh/tunnel-credentials.ts';
import { connectTunnel } from '../../mesh/tunnel-session.ts';
import { createTunnelThroughNodes } from '../../mesh/tunnel-through-nodes.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import { nameOf } from './tunnel-fixture.ts';

const fabric = createTestFabric();

test('attack: a neighbour that takes a call and is silent is not the first to be asked the next time', async (t) => {
  const clock = createSimClock();
  const self = fabric.node('self', []);
  const asked: PeerId[] = [];
  const overdue = new Set<PeerId>();
  const facts = { address: '/ip4/192.0.2.1/tcp/1', openedAtMs: 0, through: undefined, bytes: undefined };
  const through = createTunnelThroughNodes({
    ...{ clock, self: self.peerId, verifyChain: fabric.verifyChain, isPeerAdmitted: () => true },
    credential: () => self.ownCredential,
    mesh: {
      handle: () => undefined,
      connection: (peerId) => ({ ...facts, overdue: overdue.has(peerId) }),
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
  // Of two that were silent the one that was so before the other one, unless it does not answer now either.
  overdue.add('silent');
  await open();
  t.deepEqual(asked, ['silent', 'other', 'other']);
  t.is(clock.pending(), 0);
});

test('what is being opened to a neighbour ends with the link to it, and another one is asked at once', async (t) => {
  const clock = createSimClock();
  const self = fabric.node('self', []);
  const asked: PeerId[] = [];
  const linked = ['gone', 'other'];
  const through = createTunnelThroughNodes({
    ...{ clock, self: self.peerId, verifyChain: fabric.verifyChain, isPeerAdmitted: () => true },
    credential: () => self.ownCredential,
    mesh: {
      ...{ handle: () => undefined, connection: () => undefined },
      open(peerId) {
        asked.push(peerId);
        return peerId === 'gone' ? new Promise(() => undefined) : Promise.reject(new Error('not today'));
      },
    },
    step: () => ({ type: 'forward', nextHops: [...linked], hopsLeft: 3 }),
    onArrived: () => t.fail('nothing was asked'),
  });
  const offer = { addresses: [], authorityKeySha256: 'its key' };
  for (const peerId of linked) through.setOffer(peerId, offer);
  const open = () =>
    t.throwsAsync(through.open('far', new AbortController().signal), { message: /other was not reached/ });
  const opening = open();
  await eventually(() => asked.length === 1);
  linked.splice(0, 1);
  through.setOffer('gone', undefined);
  await opening;
  t.deepEqual(asked, ['gone', 'other']);
  t.is(clock.pending(), 0);
  // It was lost, and has done no harm: it is asked first again.
  linked.unshift('gone');
  through.setOffer('gone', offer);
  const ended = new AbortController();
  const again = t.throwsAsync(through.open('far', ended.signal));
  await eventually(() => asked.length === 3);
  ended.abort(new Error('enough'));
  await again;
  t.is(asked[2], 'gone');
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
