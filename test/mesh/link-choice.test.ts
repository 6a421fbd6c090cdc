// Which links a node wants: a table.

import test from 'ava';
import {
  chooseLinks,
  islandLinksMax,
  type KnownPeer,
  type LinkChoiceInput,
  routersToMeasure,
  surplusUplinks,
} from '../../mesh/link-choice.ts';

const peer = (peerId: string, changes: Partial<KnownPeer> = {}): KnownPeer => ({
  peerId,
  router: 'edge',
  controller: false,
  addresses: ['/ip4/192.0.2.1/tcp/1'],
  routed: false,
  indirect: false,
  costMicroseconds: undefined,
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

function surplus(input: Partial<LinkChoiceInput>): string[] {
  return surplusUplinks({ self: 'self', router: 'edge', known: [], linked: new Set(), called: new Set(), ...input });
}

test('an edge node takes two uplinks, the closest first', (t) => {
  const known = [
    interior('a', { costMicroseconds: 9_000 }),
    interior('b', { costMicroseconds: 1_000 }),
    interior('c', { costMicroseconds: 5_000 }),
  ];
  t.deepEqual(chosen({ known }), ['b', 'c']);
});

test('a standing uplink is kept although another one is closer, until that one is linked', (t) => {
  const known = [
    interior('a', { costMicroseconds: 9_000 }),
    interior('b', { costMicroseconds: 1_000 }),
    interior('c', { costMicroseconds: 5_000 }),
  ];
  t.deepEqual(chosen({ known, linked: new Set(['a']) }), ['a', 'b']);
  t.deepEqual(chosen({ known, linked: new Set(['a', 'b']) }), ['a', 'b', 'c'], 'the closer one beside both');
  t.deepEqual(surplus({ known, linked: new Set(['a', 'b']) }), []);
  t.deepEqual(chosen({ known, linked: new Set(['a', 'b', 'c']) }), ['b', 'c']);
  t.deepEqual(surplus({ known, linked: new Set(['a', 'b', 'c']) }), ['a']);
  t.deepEqual(chosen({ known, linked: new Set(['b', 'c']) }), ['b', 'c'], 'and that is where it ends');
});

test('no uplink gives way for a little, for what nobody has measured, or for one that does not answer', (t) => {
  const linked = new Set(['a', 'b']);
  const [a, b] = [interior('a', { costMicroseconds: 20_000 }), interior('b', { costMicroseconds: 1_000 })];
  const with3 = (changes: Partial<KnownPeer>) => chosen({ known: [a, b, interior('c', changes)], linked });
  t.deepEqual(with3({ costMicroseconds: 15_000 }), ['a', 'b'], 'a quarter');
  t.deepEqual(with3({ costMicroseconds: 10_000 }), ['a', 'b', 'c'], 'half');
  t.deepEqual(with3({}), ['a', 'b']);
  t.deepEqual(with3({ costMicroseconds: 10_000, failures: 1 }), ['a', 'b']);
  t.deepEqual(with3({ costMicroseconds: 10_000, addresses: [] }), ['a', 'b']);
  const near = [interior('a', { costMicroseconds: 2_500 }), b, interior('c', { costMicroseconds: 700 })];
  t.deepEqual(chosen({ known: near, linked }), ['a', 'b'], 'two milliseconds on a LAN are noise');
  const unmeasured = [interior('a'), b, interior('c', { costMicroseconds: 700 })];
  t.deepEqual(chosen({ known: unmeasured, linked }), ['a', 'b'], 'the uplink itself may be close');
  t.deepEqual(surplus({ known: unmeasured, linked: new Set(['a', 'b', 'c']) }), []);
});

test('whatever their costs do within the band, links neither come nor go', (t) => {
  let linked = new Set(['a', 'b']);
  for (let round = 0; round < 200; round += 1) {
    // Up to a quarter more or less, each of them at another time.
    const cost = (phase: number) => Math.round(20_000 * (1 + 0.12 * Math.sin(round * phase)));
    const known = ['a', 'b', 'c', 'd'].map((id, index) => interior(id, { costMicroseconds: cost(1 + index) }));
    const now = new Set([...linked, ...chosen({ known, linked })]);
    for (const gone of surplus({ known, linked: now })) now.delete(gone);
    t.deepEqual([...now].sort(), ['a', 'b']);
    linked = now;
  }
});

test('a link to a controller is kept whatever it costs, and one through others is no uplink', (t) => {
  const known = [
    interior('a', { costMicroseconds: 1_000 }),
    interior('b', { costMicroseconds: 1_000 }),
    peer('k', { controller: true, costMicroseconds: 90_000 }),
  ];
  t.deepEqual(chosen({ known, linked: new Set(['a', 'b']) }), ['a', 'b', 'k']);
  t.deepEqual(surplus({ known, linked: new Set(['a', 'b', 'k']) }), []);
  const two = [...known, peer('l', { controller: true, costMicroseconds: 95_000 })];
  t.deepEqual(surplus({ known: two, linked: new Set(['a', 'b', 'k', 'l']) }), ['l']);
  const through = known.map((one) => (one.peerId === 'k' ? { ...one, indirect: true } : one));
  t.deepEqual(chosen({ known: through, linked: new Set(['a', 'k']) }), ['a', 'b', 'k']);
  t.deepEqual(surplus({ known: through, linked: new Set(['a', 'b', 'k']) }), []);
});

test('who is called, and all that an interior router has, is no surplus', (t) => {
  const known = ['a', 'b', 'c', 'd'].map((id, index) => interior(id, { costMicroseconds: 5_000 * (index + 1) }));
  const linked = new Set(['a', 'b', 'c', 'd']);
  t.deepEqual(surplus({ known, linked }), ['d', 'c'], 'the farthest first');
  t.deepEqual(surplus({ known, linked, called: new Set(['d']) }), ['c']);
  t.deepEqual(surplus({ known, linked, router: 'interior' }), []);
});

test('those are measured that were not, then those whose measure is oldest; nobody before there are two uplinks', (t) => {
  const known = ['a', 'b', 'c', 'd', 'e'].map((id) => interior(id));
  known.push(peer('x'), interior('f', { addresses: [] }), interior('g', { indirect: true }));
  const measured = new Map([
    ['c', 200],
    ['d', 100],
  ]);
  const toMeasure = (changes: Partial<LinkChoiceInput>) =>
    routersToMeasure(
      { self: 'self', router: 'edge', known, linked: new Set(['a', 'b']), called: new Set(), ...changes },
      (id) => measured.get(id),
      () => 0.5,
    ).map(({ peerId }) => peerId);
  t.deepEqual(toMeasure({}), ['e', 'd', 'c']);
  t.deepEqual(toMeasure({ linked: new Set(['a']) }), []);
  t.deepEqual(toMeasure({ router: 'interior' }), []);
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
