// The table of link states: what is taken in and what counts, what others cannot say, and what is forgotten.

import test from 'ava';
import { linkStateAgeMax, linkStateBytesMax, neighboursSaidMax } from '../../mesh/limits.ts';
import type { LinkState } from '../../mesh/link-state-format.ts';
import { createLinkStateTable } from '../../mesh/link-states.ts';
import type { SignPayload } from '../../pki/identity.ts';
import { createTestFabric, type TestNode } from './credentials.ts';

const fabric = createTestFabric();
const { fabricId, verifySigned } = fabric;
const one = fabric.node('one', []);
const two = fabric.node('two', []);
const stranger = createTestFabric();

const newTable = () => createLinkStateTable({ fabricId, verifySigned });
const end = (peerId: string, costMicroseconds = 700) => ({ peerId, costMicroseconds });

function stateOf(node: TestNode, changes: Partial<LinkState> = {}, sign: SignPayload = node.sign): string {
  return sign('selvedge-link-state+jws', {
    ...{ fabricId, peerId: node.peerId, node: node.name, router: 'interior', bootCounter: 1, sequence: 1 },
    ...{ neighbours: [end('A'), end('B')], attached: [end('E')] },
    ...changes,
  });
}

test('a link state of the router itself is taken in and passed on, the same one again is neither news nor a refusal', (t) => {
  const table = newTable();
  const jws = stateOf(one);
  t.like(table.accept(jws), { changed: true, forward: true, state: { peerId: one.peerId } });
  t.like(table.accept(jws), { changed: false, forward: false });
  const again = stateOf(one, { sequence: 2 });
  t.like(table.accept(again), { changed: false, forward: true }, 'said again, nothing new');
  t.like(table.accept(stateOf(one, { sequence: 3, neighbours: [end('A')] })), { changed: true });
  t.like(table.accept(stateOf(one, { sequence: 4, neighbours: [end('A', 701)] })), { changed: true });
  table.accept(stateOf(two));
  t.is(table.size, 2);
  t.like(table.held(one.peerId), { part: 0, bootCounter: 1, sequence: 4 });
  t.deepEqual([...table.all()].map(({ peerId }) => peerId).sort(), [one.peerId, two.peerId].sort());
});

test('of one router the newest (boot counter, sequence) counts, however they arrive', (t) => {
  const table = newTable();
  table.accept(stateOf(one, { bootCounter: 2, sequence: 5 }));
  for (const [bootCounter, sequence] of [
    [2, 4],
    [1, 900],
    [2, 5],
  ] as const) {
    const late = stateOf(one, { bootCounter, sequence, neighbours: [] });
    t.like(table.accept(late), { stale: true }, `${bootCounter}.${sequence}`);
  }
  t.like(table.accept(stateOf(one, { bootCounter: 3, sequence: 0 })), { forward: true });
  t.like(table.held(one.peerId), { bootCounter: 3, sequence: 0 });
});

test('what another signs, forges or writes badly changes nothing', (t) => {
  const table = newTable();
  const genuine = stateOf(one);
  table.accept(genuine);
  const [header, payload, signature] = stateOf(one, { sequence: 9 }).split('.') as [string, string, string];
  const altered = Buffer.from(
    Buffer.from(payload, 'base64url').toString('utf8').replace('"costMicroseconds":700', '"costMicroseconds":1'),
  ).toString('base64url');
  const refused: Record<string, string> = {
    'signed by another node': stateOf(one, { sequence: 9 }, two.sign),
    'signed by a controller': stateOf(one, { sequence: 9 }, fabric.sign),
    'of another fabric': stateOf(one, { sequence: 9, fabricId: stranger.fabricId }),
    'signed in another fabric': stateOf(one, { sequence: 9 }, stranger.node('one', []).sign),
    'under another name': stateOf(one, { sequence: 9, node: 'two' }),
    'of another type': one.sign('selvedge-announcement+jws', { fabricId, peerId: one.peerId }),
    'altered on the way': [header, altered, signature].join('.'),
    'without a signature': [header, payload, ''].join('.'),
    'no JWS': 'nonsense',
    'a cost of nothing': stateOf(one, { sequence: 9, neighbours: [end('A', 0)] }),
    'a cost below nothing': stateOf(one, { sequence: 9, neighbours: [end('A', -5)] }),
    'a cost that is no whole number': stateOf(one, { sequence: 9, neighbours: [end('A', 1.5)] }),
    'a neighbour twice': stateOf(one, { sequence: 9, neighbours: [end('A', 1), end('A', 2)] }),
    'a sequence below nothing': stateOf(one, { sequence: -1 }),
    'too many neighbours': stateOf(one, {
      sequence: 9,
      neighbours: Array.from({ length: neighboursSaidMax + 1 }, (_, index) => end(`N${index}`)),
    }),
    'too long': 'x'.repeat(linkStateBytesMax + 1),
  };
  for (const [what, jws] of Object.entries(refused)) {
    const outcome = table.accept(jws);
    t.true('refused' in outcome && outcome.refused !== '' && !outcome.stale, what);
  }
  t.is(table.held(one.peerId)?.jws, genuine);
  t.is(table.size, 1);
});

test('what a revoked router had said does not come back by way of others; what it says later is for its certificate to decide', (t) => {
  const table = newTable();
  const before = stateOf(one, { sequence: 7 });
  table.accept(before);
  table.forget(one.peerId);
  t.is(table.size, 0);
  t.like(table.accept(before), { stale: true });
  t.like(table.accept(stateOf(one, { sequence: 6 })), { stale: true });
  t.like(table.accept(stateOf(one, { sequence: 8 })), { forward: true });
  table.forget('nobody');
});

test('a link state that nobody says again is forgotten after a day, and does not come back from one who has not forgotten it', (t) => {
  const table = newTable();
  const old = stateOf(one);
  table.accept(old);
  for (let look = 1; look < linkStateAgeMax; look++) t.deepEqual(table.age(), []);
  table.accept(stateOf(two));
  t.deepEqual(table.age(), [one.peerId]);
  t.deepEqual(
    [...table.all()].map(({ peerId }) => peerId),
    [two.peerId],
  );
  t.like(table.accept(old), { stale: true });
  t.like(table.accept(stateOf(one, { bootCounter: 2, sequence: 1 })), { changed: true });
  for (let look = 1; look < linkStateAgeMax; look++) {
    table.accept(stateOf(one, { bootCounter: 2, sequence: 1 + look }));
    table.age();
  }
  t.truthy(table.held(one.peerId), 'it was said again all the time');
});
