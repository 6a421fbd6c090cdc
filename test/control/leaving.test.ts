// The order of stopping across nodes: who stays in its node's plan, for whom and how long; and what a planner writes of it.

import test from 'ava';
import type { Leaving, PlacementRecord } from '../../control/fabric.ts';
import {
  findLeavers,
  type Leavers,
  settleLeavers,
  stayingByNode,
  stayingReasons,
  withLeaving,
} from '../../control/leaving.ts';
import { leavingMarginMs } from '../../control/limits.ts';
import { place } from '../../control/placement.ts';
import { createPlannerFixture } from './planner-fixture.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

const stopTimeoutMs = 10_000;
const longest = stopTimeoutMs + leavingMarginMs;

/** `stock` on box1, what depends on it elsewhere; all of them leave. */
const leaver = (node: string, dependsOn: string[] = [], endingSince?: number): Leaving => ({
  ...{ node, dependsOn, stopTimeoutMs },
  ...(endingSince !== undefined && { endingSince }),
});
const name = (microserviceName: string, index = 0): string => `default.shop.${microserviceName}.${index}`;
const leaversOf = (entries: Record<string, Leaving>, declared: PlacementRecord['instances'] = {}): Leavers => ({
  id: 'placement/default/shop',
  declared,
  leaving: Object.fromEntries(Object.entries(entries).map(([key, one]) => [name(key), one])),
});
const staying = (leaving: Record<string, Leaving>): string[] =>
  [...stayingByNode([{ leaving }])]
    .flatMap(([node, names]) => names.map((one) => `${node} ${one.split('.')[2]}`))
    .sort();
const everywhere = (): boolean => true;
const allBut =
  (...gone: string[]) =>
  (_node: string, instance: string): boolean =>
    !gone.includes(instance);

test('a chain over nodes ends from its last dependant on', (t) => {
  const chain = leaversOf({
    stock: leaver('box1'),
    till: leaver('box2', ['stock']),
    sign: leaver('box3', ['till']),
  });
  const first = settleLeavers(chain, everywhere, 100);
  t.deepEqual(staying(first.leaving), ['box1 stock', 'box2 till']);
  t.is(first.leaving[name('sign')]?.endingSince, 100);
  t.is(first.nextAt, 100 + longest);
  const second = settleLeavers(first, allBut(name('sign')), 200);
  t.deepEqual(staying(second.leaving), ['box1 stock']);
  t.is(second.leaving[name('till')]?.endingSince, 200);
  const third = settleLeavers(second, allBut(name('sign'), name('till')), 300);
  t.deepEqual(third.leaving, {});
  t.is(third.nextAt, Number.POSITIVE_INFINITY);
});

test('what only its own node orders is left to it, unless what depends on it there stays', (t) => {
  const own = leaversOf({ stock: leaver('box1'), till: leaver('box1', ['stock']) });
  t.deepEqual(settleLeavers(own, everywhere, 0).leaving, {});
  const through = leaversOf({
    stock: leaver('box1'),
    till: leaver('box1', ['stock']),
    sign: leaver('box2', ['till']),
  });
  t.deepEqual(staying(settleLeavers(through, everywhere, 0).leaving), ['box1 stock', 'box1 till']);
});

test('nobody is waited for longer than its time to stop and a margin, whatever the clock does', (t) => {
  const told = leaversOf({ stock: leaver('box1'), till: leaver('box2', ['stock'], 1_000) });
  const before = settleLeavers(told, everywhere, 1_000 + longest - 1);
  t.deepEqual(staying(before.leaving), ['box1 stock']);
  t.deepEqual(before.late, []);
  const after = settleLeavers(told, everywhere, 1_000 + longest);
  t.deepEqual(after.leaving, {});
  t.deepEqual(after.late, [{ instance: name('till'), node: 'box2' }]);
  const setBack = settleLeavers(told, everywhere, 10);
  t.is(setBack.leaving[name('till')]?.endingSince, 10);
  t.is(setBack.nextAt, 10 + longest);
});

test('a circle holds nobody', (t) => {
  const circle = leaversOf({ one: leaver('box1', ['two']), two: leaver('box2', ['one']) });
  t.deepEqual(staying(circle.leaving), []);
  const settled = settleLeavers(circle, everywhere, 5);
  t.deepEqual(staying(settled.leaving), []);
});

test('the reason names who is waited for, and bounds them', (t) => {
  const leaving: Record<string, Leaving> = { [name('stock')]: leaver('box1') };
  leaving[name('till', 0)] = leaver('box2', ['stock'], 1);
  const reason = (): string | undefined => stayingReasons([{ leaving }]).get(`box1 ${name('stock')}`);
  t.is(reason(), 'stays until default.shop.till.0 on box2 has ended');
  for (const index of [1, 2, 3, 4]) leaving[name('till', index)] = leaver('box3', ['stock'], 1);
  t.is(
    reason(),
    'stays until default.shop.till.0 on box2 and default.shop.till.1 on box3 and default.shop.till.2 on box3 and 2 more have ended',
  );
});

const shop = applicationRecord('shop', [
  microservice('stock', { placement: { node: 'box1' } }),
  microservice('till', { placement: { node: 'box2' }, dependsOn: ['stock'] }),
]);
const nodes = [nodeRecord('box1'), nodeRecord('box2')];

test('only what is declared nowhere any more leaves, by the order that was declared', (t) => {
  const stored = place({ applications: [shop], nodes, previous: [] });
  t.deepEqual(stored[0]?.order, { till: { dependsOn: ['stock'], stopTimeoutMs } });
  t.deepEqual(findLeavers(stored, stored), []);
  const [deleted] = findLeavers([], stored);
  t.deepEqual(Object.keys(deleted?.leaving ?? {}).sort(), [name('stock'), name('till')]);
  // Another application of the same microservices is not meant.
  const other = place({
    applications: [{ ...shop, _id: 'application/default/other', name: 'other' }],
    nodes,
    previous: [],
  });
  t.deepEqual(
    findLeavers(other, [...stored, ...other]).map(({ id }) => id),
    ['placement/default/shop'],
  );
  // Its node is gone: it is declared still.
  const moved = place({ applications: [shop], nodes: nodes.slice(1), previous: stored });
  t.deepEqual(findLeavers(moved, stored), []);
});

test('what ends while what it depends on is declared still is known when that goes, too', (t) => {
  const stored = place({ applications: [shop], nodes, previous: [] });
  const without = applicationRecord('shop', shop.microservices.slice(0, 1));
  const wanted = place({ applications: [without], nodes, previous: stored });
  const settled = findLeavers(wanted, stored).map((one) => settleLeavers(one, everywhere, 7));
  const records = withLeaving(wanted, settled);
  t.like(records[0]?.leaving, { [name('till')]: { endingSince: 7, node: 'box2' } });
  const deleted = findLeavers([], records).map((one) => settleLeavers(one, everywhere, 8));
  t.deepEqual(staying(deleted[0]?.leaving ?? {}), ['box1 stock']);
  const [rest] = withLeaving([], deleted);
  t.like(rest, { _id: 'placement/default/shop', instances: {}, unplaced: {} });
});

const names = (plan: { instances: { name: string }[] } | undefined): string[] =>
  plan?.instances.map((one) => one.name) ?? [];

/** A planner of two nodes that run `shop` and have said so; `ends` is the word of a node that an instance has ended. */
async function runningShop() {
  const fixture = await createPlannerFixture();
  await fixture.write(...nodes, shop);
  const booted = await fixture.boot();
  for (const [node, instance] of [
    ['box1', name('stock')],
    ['box2', name('till')],
  ] as const) {
    await (await fixture.mailbox(node)).put({ _id: `observed/instance/${instance}`, instance, state: 'running' });
  }
  const plans = async (): Promise<string[][]> => [
    names(await fixture.planOf('box1')),
    names(await fixture.planOf('box2')),
  ];
  const ends = async (node: string, instance: string): Promise<void> =>
    (await fixture.mailbox(node)).remove(`observed/instance/${instance}`);
  const settle = async (planner: { idle(): Promise<void> }): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await fixture.clock.advance(1);
    await planner.idle();
  };
  return { ...fixture, ...booted, plans, ends, settle };
}

test('what is depended on stays in its plan until the other node says that the last dependant has ended', async (t) => {
  const { fabric, planner, plans, ends, settle, mailbox } = await runningShop();
  const revision = (await (await mailbox('box1')).get('desired/plan'))?._rev;
  await fabric.remove('application/default/shop');
  await planner.idle();
  t.deepEqual(await plans(), [[name('stock')], []]);
  t.is((await (await mailbox('box1')).get('desired/plan'))?._rev, revision, 'nothing is new for its node');
  await ends('box2', name('till'));
  await settle(planner);
  t.deepEqual(await plans(), [[], []]);
  t.is(await fabric.get('placement/default/shop'), undefined);
  await planner.stop();
});

test('a microservice that a new version has no longer stays as well, and what has not been heard of holds nothing up', async (t) => {
  const { write, planner, plans, ends, settle } = await runningShop();
  const other = microservice('other', { placement: { node: 'box1' } });
  await write(applicationRecord('shop', [other]));
  await planner.idle();
  t.deepEqual(await plans(), [[name('other'), name('stock')], []]);
  await ends('box2', name('till'));
  await settle(planner);
  t.deepEqual(await plans(), [[name('other')], []]);
  await planner.stop();
  const silent = await createPlannerFixture();
  await silent.write(...nodes, shop);
  const booted = await silent.boot();
  await silent.fabric.remove('application/default/shop');
  await booted.planner.idle();
  t.deepEqual(names(await silent.planOf('box1')), []);
  await booted.planner.stop();
});

test('a controller that starts again goes on waiting, and no longer than the bound', async (t) => {
  const { fabric, planner, lease, plans, boot, clock, events } = await runningShop();
  await fabric.remove('application/default/shop');
  await planner.idle();
  await planner.stop();
  await lease.stop();
  await clock.advance(20_000);
  const next = await boot();
  // It grants itself nothing for a while.
  await clock.advance(15_000);
  await next.planner.idle();
  t.deepEqual(await plans(), [[name('stock')], []]);
  await clock.advance(longest);
  await next.planner.idle();
  t.deepEqual(await plans(), [[], []]);
  t.like(
    events.find(({ type }) => type === 'end-not-awaited'),
    { subject: name('till') },
  );
  await next.planner.stop();
});

test('what is applied again while it stays goes on where it is', async (t) => {
  const { fabric, write, planner, plans } = await runningShop();
  const anywhere = applicationRecord('shop', [microservice('stock')]);
  await fabric.remove('application/default/shop');
  await planner.idle();
  // More room elsewhere does not make it move.
  await write(nodeRecord('box0'));
  await write(anywhere);
  await planner.idle();
  t.deepEqual(await plans(), [[name('stock')], []]);
  const placement = (await fabric.get('placement/default/shop')) as unknown as PlacementRecord;
  t.deepEqual(placement.instances, { [name('stock')]: { node: 'box1' } });
  await planner.stop();
});

test('a mailbox that cannot be opened is waited for within the bound, and stops nobody else', async (t) => {
  const { fabric, planner, lease, plans, boot, clock, mailbox } = await runningShop();
  await planner.stop();
  await lease.stop();
  await clock.advance(20_000);
  const broken = (node: string) => (node === 'box2' ? Promise.reject(new Error('unreadable')) : mailbox(node));
  const next = await boot({ mailbox: broken });
  await clock.advance(15_000);
  await fabric.remove('application/default/shop');
  await next.planner.idle();
  t.deepEqual((await plans())[0], [name('stock')]);
  await clock.advance(longest);
  await next.planner.idle();
  t.deepEqual((await plans())[0], []);
  await next.planner.stop();
});

test('a node that is taken out is not waited for', async (t) => {
  const { fabric, write, planner, plans } = await runningShop();
  await fabric.remove('application/default/shop');
  await planner.idle();
  await write(nodeRecord('box2', { revoked: { at: 1, reason: '' } }));
  await planner.idle();
  t.deepEqual((await plans())[0], []);
  await planner.stop();
});
