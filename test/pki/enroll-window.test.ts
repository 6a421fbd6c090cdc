// The open window: who is let in without proof, and who is not.

import test from 'ava';
import type { ApprovalRequest } from '../../pki/approval-client.ts';
import type { WindowRequest } from '../../pki/enroll-window.ts';
import { createSite, read, requestOf, type Site, write } from './approval-fixture.ts';

const minuteMs = 60_000;
const wish: WindowRequest = { forMs: 10 * minuteMs, cidrs: ['192.0.2.0/24'], max: 2, labels: {}, router: 'edge' };

async function register(site: Site, more: Partial<ApprovalRequest> = {}, address?: string) {
  const box = await site.newBox();
  const registered = site.register(box, { trustLan: true, ...more }, address);
  for (let turn = 0; turn < 500 && !site.pending.has(box.peerId); turn += 1) await site.fabric.clock.settle();
  return { box, ...registered };
}

const settle = async (site: Site) => {
  for (let turn = 0; turn < 20; turn += 1) await site.fabric.clock.settle();
};

test('with a window closed a box that trusts the LAN waits; once it opens the box is admitted', async (t) => {
  const site = await createSite();
  const { joined, box } = await register(site);
  await settle(site);
  t.true(site.pending.has(box.peerId));
  site.window.open({ ...wish, labels: { site: 'north' }, router: 'interior' });
  t.like(await joined, { node: 'box2', fabricId: site.fabric.id, router: 'interior' });
  t.like(site.requests[0], { by: 'window', labels: { site: 'north', room: '4' } });
  await settle(site);
  t.deepEqual(site.windowNodes, ['box2']);
  t.deepEqual(site.window.state()?.admitted, ['box2']);
});

test('a box that was not told to trust the LAN is not even invited, and one that declines goes on waiting', async (t) => {
  const site = await createSite();
  site.window.open(wish);
  const strict = await register(site, { trustLan: false });
  const doubting = await register(site, { mayTrust: async () => false });
  await settle(site);
  t.deepEqual(site.requests, []);
  t.true(site.pending.has(strict.box.peerId) && site.pending.has(doubting.box.peerId));
  await site.approve(doubting.box.code());
  t.is((await doubting.joined).node, 'box2');
});

test('a box outside the address ranges is not invited', async (t) => {
  const site = await createSite();
  site.window.open(wish);
  const outside = await register(site, {}, '198.51.100.7');
  await settle(site);
  t.true(site.pending.has(outside.box.peerId));
  t.deepEqual(site.requests, []);
});

test('it admits no more than it may, also of a crowd that comes at once, and closes then', async (t) => {
  const site = await createSite();
  const boxes = await Promise.all(Array.from({ length: 6 }, () => register(site)));
  site.window.open(wish);
  await settle(site);
  t.is(site.requests.length, 2);
  t.is(site.window.state(), undefined);
  t.regex(site.closed[0]?.reason ?? '', /admitted 2/);
  t.is(site.pending.list().length, 4);
  const settled = await Promise.race([Promise.allSettled(boxes.map(({ joined }) => joined)), settle(site)]);
  t.is(settled, undefined, 'the others wait');
});

test('a place that was not used is given to the next box', async (t) => {
  const site = await createSite();
  site.window.open({ ...wish, max: 1 });
  const silent = await site.claim({ handle: 'ZZ', trustLan: true });
  t.is((await read(silent.stream))?.type, 'invite');
  silent.stream.abort(new Error('gone'));
  await site.untilPending(0);
  await settle(site);
  const { joined } = await register(site);
  t.is((await joined).node, 'box2');
});

test('it closes by itself, and an answer that comes later admits nobody', async (t) => {
  const site = await createSite();
  site.window.open({ ...wish, forMs: 10_000 });
  const late = await site.claim({ handle: 'ZZ', trustLan: true });
  t.is((await read(late.stream))?.type, 'invite');
  await site.fabric.clock.advance(10_000);
  t.is(site.window.state(), undefined);
  t.is(site.closed[0]?.reason, 'its time is over');
  const request = requestOf(site.fabric.keys.create('P-256'));
  await write(late.stream, { type: 'accept', request }).catch(() => undefined);
  const afterwards = await register(site);
  await settle(site);
  t.true(site.pending.has(afterwards.box.peerId));
  t.deepEqual(site.requests, []);
});

test('an operator can close it, and a second one is not opened beside it', async (t) => {
  const site = await createSite();
  site.window.open(wish);
  t.throws(() => site.window.open(wish), { name: 'WindowRefusedError', message: /open already/ });
  t.is(site.window.close()?.max, 2);
  t.is(site.window.close(), undefined);
  const { box } = await register(site);
  await settle(site);
  t.true(site.pending.has(box.peerId));
  for (const wrong of [
    { forMs: 1 },
    { forMs: 1e12 },
    { max: 0 },
    { max: 1.5 },
    { max: 5000 },
    { cidrs: [] },
    { cidrs: ['lan'] },
  ]) {
    t.throws(() => site.window.open({ ...wish, ...wrong }), { name: 'WindowRefusedError' });
  }
  t.is(site.window.state(), undefined);
});

test('a controller that invites a box which did not offer itself is declined', async (t) => {
  const site = await createSite();
  const { box, joined } = await register(site, { trustLan: false, mayTrust: async () => true });
  const [entry] = site.pending.entries();
  const options = { timeoutMs: 1_000, signal: new AbortController().signal };
  t.is((await entry?.ask({ type: 'invite' }, ['accept', 'decline'], options))?.type, 'decline');
  await site.approve(box.code());
  t.is((await joined).node, 'box2');
});
