// Which links a node wants: a table.

import test from 'ava';
import { chooseLinks, islandLinksMax, type KnownPeer, type LinkChoiceInput } from '../../mesh/link-choice.ts';

const peer = (peerId: string, changes: Partial<KnownPeer> = {}): KnownPeer => ({
  peerId,
  router: 'edge',
  controller: false,
  addresses: ['/ip4/192.0.2.1/tcp/1'],
  routed: false,
  roundTripMs: undefined,
  failures: 0,
  proven: true,
  ...changes,
});
const interior = (peerId: string, changes: Partial<KnownPeer> = {}) => peer(peerId, { router: 'interior', ...changes });

function chosen(input: Partial<LinkChoiceInput>): string[] {
  return [
    ...chooseLinks({ self: 'self', router: 'edge', known: [], linked: new Set(), called: new Set(), ...input }),
  ].sort();
}

test('an edge node takes two uplinks, the closest first', (t) => {
  const known = [
    interior('a', { roundTripMs: 9 }),
    interior('b', { roundTripMs: 1 }),
    interior('c', { roundTripMs: 5 }),
  ];
  t.deepEqual(chosen({ known }), ['b', 'c']);
});

test('a standing uplink is kept although another one is closer', (t) => {
  const known = [
    interior('a', { roundTripMs: 9 }),
    interior('b', { roundTripMs: 1 }),
    interior('c', { roundTripMs: 5 }),
  ];
  t.deepEqual(chosen({ known, linked: new Set(['a']) }), ['a', 'b']);
});

test('with an uplink an edge node links to other edge nodes only when it calls them', (t) => {
  const known = [interior('a'), peer('x'), peer('y')];
  t.deepEqual(chosen({ known, linked: new Set(['a']) }), ['a']);
  t.deepEqual(chosen({ known, linked: new Set(['a']), called: new Set(['y']) }), ['a', 'y']);
});

test('without an uplink an edge node links to whom it finds, but not to everybody', (t) => {
  const many = Array.from({ length: 50 }, (_, index) => peer(`edge-${index}`));
  t.is(chosen({ known: many }).length, islandLinksMax);
  t.deepEqual(chosen({ known: [interior('a'), peer('x')] }), ['a', 'x']);
});

test('an interior router links to every interior router and controller, and waits for edge nodes to come', (t) => {
  const known = [interior('a'), interior('b'), interior('c'), peer('k', { controller: true }), peer('x')];
  t.deepEqual(chosen({ router: 'interior', known }), ['a', 'b', 'c', 'k']);
});

test('interior routers that know nothing of each other yet still find each other', (t) => {
  const known = [peer('x'), peer('y', { router: undefined })];
  t.deepEqual(chosen({ router: 'interior', known }), ['y']);
});

test('nobody links to itself, or to whom it has no address of', (t) => {
  t.deepEqual(chosen({ known: [interior('self'), interior('a', { addresses: [] })] }), []);
});

test('what a neighbour invented takes no place of a proven controller, and falls behind when it fails', (t) => {
  const invented = (peerId: string, failures = 0) => interior(peerId, { proven: false, failures });
  const known = [peer('k', { controller: true, failures: 2 }), invented('0'), invented('1')];
  t.true(chosen({ known }).includes('k'));
  const island = [...Array.from({ length: 50 }, (_, index) => peer(`0${index}`, { failures: 1 })), peer('honest')];
  t.true(chosen({ known: island }).includes('honest'));
  const many = Array.from({ length: 4_000 }, (_, index) => invented(`x${index}`));
  t.true(chosen({ router: 'interior', known: many }).length <= 32);
});

test('a called node without an address is linked to through others; nobody else is', (t) => {
  const far = peer('far', { addresses: [], routed: true });
  t.deepEqual(chosen({ known: [far, interior('up')], linked: new Set(['up']), called: new Set(['far']) }), [
    'far',
    'up',
  ]);
  t.deepEqual(chosen({ known: [far, interior('up')], linked: new Set(['up']) }), ['up']);
  t.deepEqual(chosen({ known: [{ ...far, routed: false }], called: new Set(['far']) }), []);
  t.deepEqual(chosen({ known: [{ ...far, router: 'interior' }], router: 'interior' }), []);
});
