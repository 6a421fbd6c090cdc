// The announcements table: what is taken in, what counts, and the attacks that must change nothing.

import test from 'ava';
import { createAnnouncedParts } from '../../mesh/announced-parts.ts';
import type { Announcement } from '../../mesh/announcement-format.ts';
import { createAnnouncementTable } from '../../mesh/announcements.ts';
import { announcementBytesMax, announcementInstancesMax } from '../../mesh/limits.ts';
import type { SignPayload, VerifySigned } from '../../pki/identity.ts';
import { createTestFabric, type TestNode } from './credentials.ts';

const fabric = createTestFabric();
const { fabricId } = fabric;
const one = fabric.node('one', []);
const two = fabric.node('two', []);
const instance = 'default.cold-chain.monitor.0';

function newTable(verifySigned: VerifySigned = fabric.verifySigned) {
  return createAnnouncementTable({ fabricId, verifySigned });
}

const current = (table: ReturnType<typeof newTable>): string[] => [...table.all()].map(({ jws }) => jws);

function announcementOf(node: TestNode, changes: Partial<Announcement> = {}, sign: SignPayload = node.sign): string {
  return sign('selvedge-announcement+jws', {
    fabricId,
    peerId: node.peerId,
    node: node.name,
    bootCounter: 1,
    sequence: 1,
    instances: [{ instance, ready: true, ticket: fabric.ticket({ instance, peerId: node.peerId }) }],
    ...changes,
  });
}

test('an announced instance with a ticket is an endpoint for each of its ports, TCP and UDP', (t) => {
  const table = newTable();
  const ticket = fabric.ticket({ instance, peerId: one.peerId, ports: [8080, 9090], udpPorts: [53, 8080] });
  const accepted = table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }] }));
  t.like(accepted, { changed: true, forward: true, dropped: [] });
  const endpoint = {
    project: 'default',
    application: 'cold-chain',
    microservice: 'monitor',
    instance,
    peerId: one.peerId,
    ready: true,
  };
  t.deepEqual(table.endpoints(), [
    { ...endpoint, port: 53, protocol: 'udp' },
    { ...endpoint, port: 8080 },
    { ...endpoint, port: 8080, protocol: 'udp' },
    { ...endpoint, port: 9090 },
  ]);
});

test('what is ready is known of what has no port, too', (t) => {
  const table = newTable();
  const ticket = fabric.ticket({ instance, peerId: one.peerId, ports: [] });
  table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }] }));
  t.deepEqual([...table.ready()], ['default.cold-chain.monitor']);
  t.deepEqual(table.endpoints(), []);
  table.accept(announcementOf(one, { instances: [{ instance, ready: false, ticket }], sequence: 2 }));
  t.deepEqual([...table.ready()], []);
  table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }], sequence: 3 }));
  table.forget((peerId) => peerId === one.peerId);
  t.deepEqual([...table.ready()], []);
});

test('a heartbeat that says the same is passed on and changes nothing, the same announcement again is no news', (t) => {
  const table = newTable();
  const ticket = fabric.ticket({ instance, peerId: one.peerId });
  const instances = [{ instance, ready: true, ticket }];
  table.accept(announcementOf(one, { instances }));
  const heartbeat = announcementOf(one, { instances, sequence: 2 });
  t.like(table.accept(heartbeat), { changed: false, forward: true, dropped: [] });
  t.like(table.accept(heartbeat), { changed: false, forward: false, dropped: [] });
  t.deepEqual(current(table), [heartbeat]);
  t.like(table.accept(announcementOf(one, { instances: [{ instance, ready: false, ticket }], sequence: 3 })), {
    changed: true,
  });
  t.false(table.endpoints()[0]?.ready);
});

test('a ticket is verified once, not at each heartbeat', (t) => {
  let verifications = 0;
  const table = newTable((jws, type) => {
    if (type === 'selvedge-ticket+jws') verifications += 1;
    return fabric.verifySigned(jws, type);
  });
  const instances = [{ instance, ready: true, ticket: fabric.ticket({ instance, peerId: one.peerId }) }];
  for (const sequence of [1, 2, 3]) table.accept(announcementOf(one, { instances, sequence }));
  t.is(verifications, 1);
  table.forget((peerId) => peerId === fabric.controllerPeerId);
  table.accept(announcementOf(one, { instances, sequence: 4 }));
  t.is(verifications, 2, 'what a forgotten controller signed is verified again');
});

for (const [title, older] of [
  ['an old sequence', { bootCounter: 2, sequence: 6 }],
  ['an earlier boot with a higher sequence', { bootCounter: 1, sequence: 900 }],
] as const) {
  test(`attack: ${title} that is replayed changes nothing, held or forgotten`, (t) => {
    const table = newTable();
    const replayed = announcementOf(one, older);
    const held = announcementOf(one, { bootCounter: 2, sequence: 7, instances: [] });
    t.like(newTable().accept(replayed), { changed: true });
    table.accept(held);
    t.like(table.accept(replayed), { refused: 'older than the one that is held' });
    table.forget((peerId) => peerId === one.peerId);
    t.like(table.accept(replayed), { refused: 'older than one that was held' });
    t.deepEqual(table.endpoints(), []);
    t.like(table.accept(held), { forward: true }, 'the newest one is taken again when the peer is back');
  });
}

test('attack: a node that announces another node’s instance gets it dropped, and keeps its own', (t) => {
  const table = newTable();
  const own = 'default.cold-chain.sensor.0';
  const accepted = table.accept(
    announcementOf(one, {
      instances: [
        { instance, ready: true, ticket: fabric.ticket({ instance, peerId: two.peerId }) },
        {
          instance: own,
          ready: true,
          ticket: fabric.ticket({ instance: own, peerId: one.peerId, microservice: 'sensor' }),
        },
        {
          instance: 'default.cold-chain.other.0',
          ready: true,
          ticket: fabric.ticket({ instance: own, peerId: one.peerId }),
        },
      ],
    }),
  );
  t.like(accepted, {
    dropped: [{ instance, reason: 'its ticket is for another peer' }, { reason: 'its ticket is for another instance' }],
  });
  t.deepEqual(
    table.endpoints().map((endpoint) => endpoint.instance),
    [own],
  );
});

test('attack: a generation that the node invented and signed itself does not take an instance over', (t) => {
  const table = newTable();
  table.accept(announcementOf(two));
  const ticket = fabric.ticket({ instance, peerId: one.peerId, generation: 99 }, one.sign);
  const accepted = table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }] }));
  t.like(accepted, { changed: false, dropped: [{ reason: 'its ticket is not signed by a controller' }] });
  t.is(table.endpoints()[0]?.peerId, two.peerId);
});

test('attack: a ticket whose generation was edited is dropped', (t) => {
  const [header, body = '', signature] = fabric.ticket({ instance, peerId: one.peerId }).split('.');
  const edited = { ...JSON.parse(Buffer.from(body, 'base64url').toString()), generation: 99 };
  const ticket = [header, Buffer.from(JSON.stringify(edited)).toString('base64url'), signature].join('.');
  const table = newTable();
  t.regex(
    JSON.stringify(table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }] }))),
    /cannot be verified/,
  );
  t.deepEqual(table.endpoints(), []);
});

test('attack: a node that signs for another node, or a controller that signs for a node, is refused', (t) => {
  const table = newTable();
  t.like(table.accept(announcementOf(two, {}, one.sign)), {
    refused: 'signed by another peer than the one it is about',
  });
  t.like(table.accept(announcementOf(two, {}, fabric.sign)), { refused: 'not signed by the authority of a node' });
  t.like(table.accept(announcementOf(one, { node: 'two' })), { refused: 'names another node than its signer' });
  t.deepEqual(table.endpoints(), []);
});

test('attack: announcements and tickets of another fabric are refused', (t) => {
  const foreign = createTestFabric();
  const stranger = foreign.node('one', []);
  const table = newTable();
  t.true('refused' in table.accept(announcementOf(stranger)), 'a stranger’s signature');
  t.like(table.accept(announcementOf(one, { fabricId: foreign.fabricId })), { refused: 'of another fabric' });
  const ticket = foreign.ticket({ instance, peerId: one.peerId });
  t.regex(
    JSON.stringify(table.accept(announcementOf(one, { instances: [{ instance, ready: true, ticket }] }))),
    /cannot be verified/,
  );
  const mislabelled = fabric.ticket({ instance, peerId: one.peerId, fabricId: foreign.fabricId });
  t.like(
    table.accept(announcementOf(one, { sequence: 2, instances: [{ instance, ready: true, ticket: mislabelled }] })),
    {
      dropped: [{ reason: 'its ticket is of another fabric' }],
    },
  );
  t.deepEqual(table.endpoints(), []);
});

test('of two tickets for one instance the newer wins, also after its place is out of reach', (t) => {
  const older = announcementOf(one);
  const moved = fabric.ticket({ instance, peerId: two.peerId, term: 2, generation: 0 });
  const newer = announcementOf(two, { instances: [{ instance, ready: false, ticket: moved }] });
  for (const order of [
    [older, newer],
    [newer, older],
  ]) {
    const table = newTable();
    for (const jws of order) table.accept(jws);
    t.deepEqual(
      table.endpoints().map(({ peerId }) => peerId),
      [two.peerId],
    );
    table.forget((peerId) => peerId === two.peerId);
    t.deepEqual(table.endpoints(), [], 'nobody who has heard of the move calls the old place');
  }
});

test('what is malformed, oversized or has too many instances is refused and never throws', (t) => {
  const table = newTable();
  const many = Array.from({ length: 257 }, (_, index) => ({ instance: `i${index}`, ready: true, ticket: 'a.b.c' }));
  for (const jws of [
    '',
    'a.b.c',
    'x'.repeat(1_000_001),
    one.sign('selvedge-announcement+jws', { hello: 1 }),
    announcementOf(one, { instances: many }),
  ]) {
    t.true('refused' in table.accept(jws));
  }
  t.true('refused' in table.accept(announcementOf(one, { sequence: -1 })));
  t.true('refused' in table.accept(announcementOf(one).replace(/^[^.]*/, 'e30')));
  t.true('refused' in table.accept(fabric.ticket({ instance, peerId: one.peerId })));
  t.deepEqual(current(table), []);
});

const named = (index: number): string => `default.cold-chain.monitor.${index}`;
const announcedBy = (node: TestNode, index: number, ready = true) => ({
  instance: named(index),
  ready,
  ticket: fabric.ticket({ instance: named(index), peerId: node.peerId }),
});

test('parts of one node count side by side, each by its own sequence', (t) => {
  const table = newTable();
  const first = announcementOf(one, { sequence: 1, instances: [announcedBy(one, 0)] });
  const second = announcementOf(one, { sequence: 2, part: 1, instances: [announcedBy(one, 1)] });
  t.like(table.accept(second), { changed: true });
  t.like(table.accept(first), { changed: true }, 'the other part was said earlier, and comes later');
  t.deepEqual(
    table.endpoints().map((endpoint) => endpoint.instance),
    [named(0), named(1)],
  );
  t.true(current(table).includes(first) && current(table).includes(second));
  const emptied = announcementOf(one, { sequence: 3, part: 1, instances: [] });
  t.like(table.accept(emptied), { changed: true });
  t.like(table.accept(second), { refused: 'older than the one that is held' });
  t.deepEqual(
    table.endpoints().map((endpoint) => endpoint.instance),
    [named(0)],
  );
});

test('an instance that changed its part is where it was said last', (t) => {
  const table = newTable();
  table.accept(announcementOf(one, { sequence: 4, part: 1, instances: [announcedBy(one, 0, false)] }));
  table.accept(announcementOf(one, { sequence: 3, instances: [announcedBy(one, 0, true)] }));
  t.deepEqual(
    table.endpoints().map(({ instance, ready }) => ({ instance, ready })),
    [{ instance: named(0), ready: false }],
  );
});

test('attack: parts of an earlier start, or older ones of a forgotten peer, change nothing', (t) => {
  const table = newTable();
  const old = announcementOf(one, { sequence: 5, part: 1, instances: [announcedBy(one, 1)] });
  const older = announcementOf(one, { sequence: 2, part: 2, instances: [announcedBy(one, 2)] });
  table.accept(old);
  table.accept(announcementOf(one, { sequence: 6, part: 2, instances: [] }));
  table.forget((peerId) => peerId === one.peerId);
  t.like(table.accept(announcementOf(one, { sequence: 7, instances: [] })), { forward: true });
  t.like(table.accept(older), { refused: 'older than one that was held' }, 'the first part is back, this one is not');
  t.like(table.accept(old), { changed: true }, 'the newest of its part is taken again');
  t.like(table.accept(announcementOf(one, { bootCounter: 2, sequence: 1, instances: [] })), { changed: true });
  t.deepEqual(table.endpoints(), [], 'a new start ends all parts of the last one');
  t.like(table.accept(old), { refused: 'older than the one that is held' });
  t.like(table.accept(announcementOf(one, { sequence: 1, bootCounter: 3, part: 16, instances: [] })), {
    refused: 'malformed',
  });
});

test('five hundred instances take eight parts, and one that changes takes one', (t) => {
  const parts = createAnnouncedParts();
  const all = Array.from({ length: 500 }, (_, index) => announcedBy(one, index));
  const before = parts.divide(all);
  t.is(before.size, 8);
  t.true([...before.values()].every((instances) => instances.length <= announcementInstancesMax));
  for (const [part, instances] of before) {
    const jws = announcementOf(one, { sequence: part + 1, ...(part > 0 && { part }), instances });
    t.true(jws.length < announcementBytesMax);
  }
  const said = (divided: ReturnType<typeof parts.divide>) =>
    [...divided].map(([part, one]) => `${part} ${JSON.stringify(one)}`);
  const changed = (instances: typeof all): number => {
    const earlier = new Set(said(before));
    return said(parts.divide(instances)).filter((one) => !earlier.has(one)).length;
  };
  t.is(changed(all), 0);
  t.is(changed(all.map((one, index) => (index === 300 ? { ...one, ready: false } : one))), 1);
  t.is(changed(all.filter((_, index) => index !== 10)), 1, 'the others stay where they are');
  t.is(parts.divide([]).size, 8, 'the empty ones are said as well');
});
