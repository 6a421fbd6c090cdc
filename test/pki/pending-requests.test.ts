// The list of boxes that wait: who finds room in it, who is pushed out, who is sent away.

import test from 'ava';
import { hostOfMultiaddr, readAddressRanges, subnetOf } from '../../pki/address-ranges.ts';
import { createSite, read, type Site } from './approval-fixture.ts';
import { hourMs } from './fabric-fixture.ts';

async function honest(site: Site, address = '192.0.2.9') {
  const box = await site.newBox();
  const registered = site.register(box, {}, address);
  for (let turn = 0; turn < 500 && !site.pending.has(box.peerId); turn += 1) await site.fabric.clock.settle();
  return { box, ...registered };
}

test('a flood from one address pushes out its own requests, and the honest box gets in', async (t) => {
  const site = await createSite();
  const { box, joined } = await honest(site);
  const handle = box.code().slice(0, 2);
  for (let index = 0; index < 100; index += 1) await site.claim({ handle, address: '192.0.2.66' });
  t.true(site.pending.has(box.peerId));
  t.is(site.pending.list().length, 17);
  t.is((await site.approveInTime(box.code())).peerId, box.peerId);
  t.is((await joined).node, 'box2');
});

test('a flood from all addresses of a subnet leaves room for other subnets, and ends within bounds', async (t) => {
  const site = await createSite();
  const { box, joined } = await honest(site, '198.51.100.9');
  for (let index = 0; index < 200; index += 1) await site.claim({ handle: 'ZZ', address: `192.0.2.${index}` });
  t.is(site.pending.list().length, 49);
  for (let index = 0; index < 200; index += 1) await site.claim({ handle: 'ZZ', address: `203.0.113.${index}` });
  t.is(site.pending.list().length, 64);
  t.true(site.pending.has(box.peerId));
  t.is((await site.approveInTime(box.code())).peerId, box.peerId);
  t.is((await joined).node, 'box2');
  t.deepEqual(
    site.requests.map(({ peerId }) => peerId),
    [box.peerId],
  );
});

test('a box that was pushed out comes back while the operator’s approval still runs', async (t) => {
  const site = await createSite();
  const box = await site.newBox();
  const approving = site.approve(box.code());
  await site.fabric.clock.advance(2_000);
  const { joined } = site.register(box);
  await site.fabric.clock.advance(1_000);
  t.is((await approving).peerId, box.peerId);
  t.is((await joined).node, 'box2');
});

test('an address that registers without end is told to wait', async (t) => {
  const site = await createSite();
  for (let index = 0; index < 120; index += 1) await site.claim({ handle: 'K7', address: '192.0.2.66' });
  await t.throwsAsync(site.claim({ handle: 'K7', address: '192.0.2.66' }), { message: /answered busy/ });
  await t.notThrowsAsync(site.claim({ handle: 'K7', address: '192.0.2.67' }));
});

test('a peer that registers anew takes its own place', async (t) => {
  const site = await createSite();
  const { box, pair } = await honest(site);
  const { joined } = site.register(box);
  t.is(await read(pair.near), undefined);
  await site.untilPending(1);
  await site.approve(box.code());
  t.is((await joined).node, 'box2');
});

test('a box that goes away is no longer listed', async (t) => {
  const site = await createSite();
  const { pair } = await honest(site);
  await pair.near.close();
  await site.untilPending(0);
  const other = await honest(site);
  other.pair.near.abort(new Error('gone'));
  await site.untilPending(0);
  t.deepEqual(site.refusals, [], 'and that is no event');
});

test('a box that an operator denied is sent away for an hour', async (t) => {
  const site = await createSite();
  const { box, joined } = await honest(site);
  const other = await site.claim({ handle: 'ZZ' });
  const denied = await site.pending.deny(({ handle }) => handle === box.code().slice(0, 2));
  t.deepEqual(
    denied.map(({ peerId }) => peerId),
    [box.peerId],
  );
  await t.throwsAsync(joined, { name: 'EnrollmentDeniedError' });
  t.true(site.pending.has(other.peerId));
  await t.throwsAsync(site.register(box).joined, { name: 'EnrollmentDeniedError' });
  await site.fabric.clock.advance(hourMs);
  const again = await honest(site);
  t.true(site.pending.has(again.box.peerId));
  const { joined: welcome } = site.register(box);
  for (let turn = 0; turn < 500 && !site.pending.has(box.peerId); turn += 1) await site.fabric.clock.settle();
  await site.approve(box.code());
  t.is((await welcome).identity.peerId, box.peerId);
});

test('address ranges and subnets are those of the address, however it is written', (t) => {
  const ranges = readAddressRanges(['192.0.2.0/24', '2001:db8::/32', '203.0.113.7']);
  for (const inside of ['192.0.2.255', '::ffff:192.0.2.1', '2001:db8:1::5', '203.0.113.7']) {
    t.true(ranges.contains(inside), inside);
  }
  for (const outside of ['192.0.3.0', '2001:db9::1', '203.0.113.8', 'unknown', '', '::ffff:192.0.3.1']) {
    t.false(ranges.contains(outside), outside);
  }
  for (const wrong of ['192.0.2.0/33', '192.0.2/24', '2001:db8::/129', 'lan', '', '192.0.2.0/24/8', '192.0.2.0/-1']) {
    t.throws(() => readAddressRanges([wrong]), { name: 'WindowRefusedError' }, wrong);
  }
  t.is(subnetOf('192.0.2.7'), subnetOf('192.0.2.200'));
  t.is(subnetOf('::ffff:192.0.2.7'), subnetOf('192.0.2.200'));
  t.not(subnetOf('192.0.2.7'), subnetOf('192.0.3.7'));
  t.is(subnetOf('2001:db8:1:2::7'), subnetOf('2001:db8:1:2:ffff::1'));
  t.not(subnetOf('2001:db8:1:2::7'), subnetOf('2001:db8:1:3::7'));
  t.is(subnetOf('2001:db8::7'), subnetOf('2001:db8:0:0:1::1'));
  t.is(hostOfMultiaddr('/ip4/192.0.2.7/tcp/7433'), '192.0.2.7');
  t.is(hostOfMultiaddr('/ip6/fe80::1%eth0/tcp/1'), 'fe80::1');
  t.is(hostOfMultiaddr('/dns/box/tcp/1'), undefined);
});
