import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { parseAddress, readRecords, recordsOf, SERVICE } from '../../mesh/discovery-records.ts';
import { createFoundTable } from '../../mesh/found-table.ts';
import { foundExpiryMs, foundPeersMax } from '../../mesh/limits.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createNamespaces, type Namespaces, namespacesMissing } from './namespaces.ts';
import { type Peer, type PeerLine, startPeer } from './start-peer.ts';

const PEER = '12D3KooWPkF1KeuL5WsYgam7ENDiXMvF1g8sZAWTvhiB32EpQQc6';
const FABRIC = 'abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst';
const missing = namespacesMissing();

/** A test that needs namespaces: one that says so when they are not to be had. */
function networkTest(title: string, run: (t: ExecutionContext, namespaces: Namespaces) => Promise<void>): void {
  test(title, async (t) => {
    t.timeout(110_000);
    if (missing !== undefined) {
      skip(t, missing);
      return;
    }
    await run(t, createNamespaces(t));
  });
}

const found = (peer: Peer, other: Peer): PeerLine | undefined =>
  peer.lines.find(({ type, peerId }) => type === 'found' && peerId === other.peerId);

/** Both find each other, and how long after the later one was ready that took, in milliseconds. */
async function findEachOther(t: ExecutionContext, first: Peer, second: Peer): Promise<void> {
  await eventually(() => found(first, second) && found(second, first), { deadlineMs: 30_000, what: 'both are found' });
  const ready = second.lines.find(({ type }) => type === 'ready')?.atMs ?? 0;
  t.log(`the second found the first ${Math.round((found(second, first)?.atMs ?? 0) - ready)} ms after it was ready`);
}

async function connected(peer: Peer, other: Peer): Promise<PeerLine> {
  return eventually(() => peer.lines.find(({ type, peerId }) => type === 'connected' && peerId === other.peerId), {
    deadlineMs: 30_000,
    what: 'both are connected',
  });
}

networkTest('nodes find each other on a LAN without a default route', async (t, namespaces) => {
  const lan = namespaces.lan();
  const [left, right] = [namespaces.box(), namespaces.box()];
  lan.attach(left, 'eth0', ['10.77.0.1/24']);
  lan.attach(right, 'eth0', ['10.77.0.2/24']);
  const first = await startPeer(t, { discovery: true, fabricId: FABRIC }, left);
  t.true(first.addresses[0]?.startsWith('/ip4/10.77.0.1/tcp/'));
  const second = await startPeer(t, { discovery: true, connect: true }, right);
  await findEachOther(t, first, second);
  t.like(found(second, first), {
    fabricId: FABRIC,
    addresses: first.addresses.filter((each) => !each.includes('127.0.0.1') && !each.includes('::1/')),
  });
  t.is(found(first, second)?.fabricId, undefined);
  t.like(await connected(second, first), { direction: 'outbound', address: first.addresses[0] });
});

networkTest(
  'a node on two networks is found on both, and nodes of different networks are not found',
  async (t, namespaces) => {
    const [lanA, lanB] = [namespaces.lan(), namespaces.lan()];
    const [middle, left, right] = [namespaces.box(), namespaces.box(), namespaces.box()];
    lanA.attach(middle, 'eth0', ['10.77.1.1/24']);
    lanB.attach(middle, 'eth1', ['10.77.2.1/24']);
    lanA.attach(left, 'eth0', ['10.77.1.2/24']);
    lanB.attach(right, 'eth0', ['10.77.2.2/24']);
    const both = await startPeer(t, { discovery: true }, middle);
    const onA = await startPeer(t, { discovery: true, connect: true }, left);
    const onB = await startPeer(t, { discovery: true, connect: true }, right);
    await findEachOther(t, both, onA);
    await findEachOther(t, both, onB);
    t.true((await connected(onA, both)).address?.startsWith('/ip4/10.77.1.1/'));
    t.true((await connected(onB, both)).address?.startsWith('/ip4/10.77.2.1/'));
    t.is(found(onA, onB), undefined);
    t.is(found(onB, onA), undefined);
  },
);

networkTest('nodes find and reach each other over IPv6 alone', async (t, namespaces) => {
  const lan = namespaces.lan();
  const [left, right] = [namespaces.box(), namespaces.box()];
  lan.attach(left, 'eth0', ['fd77::1/64']);
  lan.attach(right, 'eth0', ['fd77::2/64']);
  const first = await startPeer(t, { discovery: true }, left);
  t.true(first.addresses[0]?.startsWith('/ip6/fd77::1/tcp/'), `${first.addresses}`);
  const second = await startPeer(t, { discovery: true, connect: true }, right);
  await findEachOther(t, first, second);
  t.is((await connected(second, first)).address, first.addresses[0]);
});

networkTest('nodes on a box without any network find each other', async (t, namespaces) => {
  const box = namespaces.box();
  const first = await startPeer(t, { discovery: true }, box);
  const second = await startPeer(t, { discovery: true, connect: true }, box);
  await findEachOther(t, first, second);
  t.true((await connected(second, first)).address?.startsWith('/ip4/127.0.0.1/'));
});

networkTest('a node whose network comes later, or comes back, is found then', async (t, namespaces) => {
  const lan = namespaces.lan();
  const [left, right] = [namespaces.box(), namespaces.box()];
  lan.attach(left, 'eth0', ['10.77.3.1/24']);
  const first = await startPeer(t, { discovery: true }, left);
  const second = await startPeer(t, { discovery: true, connect: true }, right);
  t.is(found(second, first), undefined);
  lan.attach(right, 'eth0', ['10.77.3.2/24']);
  await findEachOther(t, first, second);
  await connected(second, first);
  namespaces.ip(right, 'link', 'set', 'eth0', 'down');
  await eventually(() => second.lines.some(({ type }) => type === 'disconnected'), { deadlineMs: 30_000 });
  namespaces.ip(right, 'addr', 'flush', 'dev', 'eth0');
  namespaces.ip(right, 'addr', 'add', '10.77.3.3/24', 'dev', 'eth0');
  namespaces.ip(right, 'link', 'set', 'eth0', 'up');
  const news = await eventually(
    () =>
      first.lines.findLast(({ type, addresses }) => type === 'found' && addresses?.[0]?.startsWith('/ip4/10.77.3.3/')),
    { deadlineMs: 30_000, what: 'the new address is found' },
  );
  t.is(news.peerId, second.peerId);
});

networkTest('a node that stops says goodbye', async (t, namespaces) => {
  const box = namespaces.box();
  const first = await startPeer(t, { discovery: true }, box);
  const second = await startPeer(t, { discovery: true }, box);
  await findEachOther(t, first, second);
  await second.end();
  t.is(second.lines.at(-1)?.type, 'stopped');
  const third = await startPeer(t, { discovery: true }, box);
  await findEachOther(t, first, third);
  t.is(found(third, second), undefined);
});

test('what a node says is read back as it was said', (t) => {
  const announcement = {
    peerId: PEER,
    fabricId: FABRIC,
    addresses: ['/ip4/192.0.2.7/tcp/7433', '/ip6/fd77::1/tcp/7433', '/ip4/127.0.0.1/tcp/7433'],
  };
  const { answers, additionals } = recordsOf(announcement);
  t.deepEqual(readRecords([...answers, ...additionals], true), [{ kind: 'announcement', announcement }]);
  t.deepEqual(readRecords([...answers, ...additionals], false), [
    { kind: 'announcement', announcement: { ...announcement, addresses: announcement.addresses.slice(0, 2) } },
  ]);
  const goodbye = recordsOf({ ...announcement, fabricId: undefined }, true);
  t.deepEqual(readRecords([...goodbye.answers, ...goodbye.additionals], true), [{ kind: 'goodbye', peerId: PEER }]);
});

test('junk on the network gives nothing', (t) => {
  const record = (data: unknown, name = `${PEER}.${SERVICE}`) => [{ name, type: 'TXT', ttl: 120, data }];
  const good = ['v=1', 'a=/ip4/192.0.2.7/tcp/7433'];
  t.is(readRecords(record(good), false)[0]?.kind, 'announcement');
  const junk: [string, ReturnType<typeof record>][] = [
    ['no version', record(good.slice(1))],
    ['another version', record(['v=2', ...good.slice(1)])],
    ['no address', record(['v=1'])],
    ['only a loopback address of another box', record(['v=1', 'a=/ip4/127.0.0.1/tcp/7433'])],
    ['an address that is none', record([...good, 'a=/ip4/192.0.2.777/tcp/1'])],
    ['an address with more in it', record([...good, 'a=/ip4/192.0.2.7/tcp/7433/p2p-circuit'])],
    ['a name to resolve', record([...good, 'a=/dns4/example.org/tcp/7433'])],
    ['a port beyond 65535', record([...good, 'a=/ip4/192.0.2.7/tcp/65536'])],
    ['a fabric id that is none', record([...good, 'f=../../etc/passwd'])],
    ['too many addresses', record(['v=1', ...Array.from({ length: 11 }, (_, n) => `a=/ip4/192.0.2.${n}/tcp/1`)])],
    ['too many strings', record([...good, ...Array.from({ length: 100 }, () => 'x=y')])],
    ['no peer id', record(good, `printer.${SERVICE}`)],
    ['a peer id of other letters', record(good, `${PEER.slice(0, -1)}0.${SERVICE}`)],
    ['numbers', record([1, 2, 3])],
    ['nothing', record(undefined)],
  ];
  for (const [what, records] of junk) t.deepEqual(readRecords(records, false), [{ kind: 'junk' }], what);
  t.deepEqual(readRecords(Array.from({ length: 100 }, () => record(good)).flat(), false), [{ kind: 'junk' }]);
  t.deepEqual(readRecords(record(good, 'printer._ipp._tcp.local'), false), []);
  for (let n = 0; n < 200; n++) {
    const noise = readRecords(record([randomBytes(n), ...good]), false)[0];
    t.true(noise?.kind === 'junk' || noise?.kind === 'announcement');
  }
});

test('addresses are hosts with a port and nothing else', (t) => {
  for (const address of ['/ip4/10.0.0.1/tcp/1', '/ip6/2001:db8::1/tcp/65535', '/ip4/127.0.0.1/tcp/7433']) {
    t.truthy(parseAddress(address), address);
  }
  for (const address of [
    '',
    '/ip4/0.0.0.0/tcp/1',
    '/ip4/224.0.0.251/tcp/1',
    '/ip4/255.255.255.255/tcp/1',
    '/ip6/::/tcp/1',
    '/ip6/ff02::fb/tcp/1',
    '/ip4/10.0.0.1/tcp/0',
    '/ip4/10.0.0.1/udp/1',
    '/ip4/10.0.0.1/tcp/1/',
    `/ip6/${'0:'.repeat(60)}/tcp/1`,
    '/unix/tmp',
  ]) {
    t.is(parseAddress(address), undefined, address);
  }
});

test('the table of found peers is bounded, forgets after a while, and knows news from repetition', (t) => {
  const table = createFoundTable();
  const entry = { peerId: PEER, fabricId: undefined, addresses: ['/ip4/10.0.0.1/tcp/1', '/ip4/10.0.0.2/tcp/1'] };
  const host = '10.0.0.1';
  t.true(table.hear(entry, 0, host));
  t.false(table.hear({ ...entry, addresses: [...entry.addresses].reverse() }, 1, host));
  t.true(table.hear({ ...entry, fabricId: FABRIC }, 2, host));
  t.true(table.hear({ ...entry, addresses: [] }, 3, host));
  t.is(table.list(3 + foundExpiryMs - 1).length, 1);
  t.is(table.list(3 + foundExpiryMs).length, 0);
  t.true(table.hear(entry, 4 + foundExpiryMs, host));
  for (let n = 0; n < foundPeersMax + 10; n++) table.hear({ ...entry, peerId: `other-${n}` }, 5 + foundExpiryMs, host);
  t.is(table.list(6 + foundExpiryMs).length, foundPeersMax);
  t.false(table.list(6 + foundExpiryMs).some(({ peerId }) => peerId === PEER));
});

test('a host that says names without number pushes out its own, and nobody else’s', (t) => {
  const table = createFoundTable();
  const entry = { peerId: PEER, fabricId: undefined, addresses: ['/ip4/10.0.0.1/tcp/1'] };
  t.true(table.hear(entry, 0, '10.0.0.1'));
  for (let n = 0; n < 20_000; n++) table.hear({ ...entry, peerId: `made-up-${n}` }, 1, '10.0.0.66');
  t.is(table.list(2).length, foundPeersMax);
  t.true(table.list(2).some(({ peerId }) => peerId === PEER));
  t.false(table.hear(entry, 2, '10.0.0.1'), 'it was known all the time');
});
