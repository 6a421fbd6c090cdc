// The node registry: names belong to keys, and labels to whom they belong.

import test from 'ava';
import { createLedger } from '../../control/ledger.ts';
import { type AdmitRequest, createNodeRegistry } from '../../control/nodes.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

async function fixture() {
  const fabric = await createSimStore().open('fabric');
  const clock = createSimClock();
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  return { fabric, ledger, registry: createNodeRegistry({ fabric, clock, ledger }) };
}

function request(peerId: string, changes: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    peerId,
    defaultName: 'Shop_PC.local',
    router: 'edge',
    controller: false,
    labels: { site: 'north' },
    engines: ['process'],
    authorityPublicKey: 'a2V5',
    admittedBy: 'token',
    arch: 'x64',
    os: 'linux',
    ...changes,
  };
}

test('a name is made from the host name, with a suffix when it is taken', async (t) => {
  const { registry, ledger } = await fixture();
  const records = await Promise.all(['p1', 'p2', 'p3'].map((peer) => registry.admitNode(request(peer))));
  t.deepEqual(
    records.map(({ name }) => name),
    ['shop-pc-local', 'shop-pc-local-2', 'shop-pc-local-3'],
  );
  t.deepEqual(records[1]?.labels, {
    site: 'north',
    'selvedge/router': 'edge',
    'selvedge/node': 'shop-pc-local-2',
    'selvedge/arch': 'x64',
    'selvedge/os': 'linux',
  });
  t.deepEqual(
    (await ledger.list()).map(({ type }) => type),
    ['node-admitted', 'node-admitted', 'node-admitted'],
  );
});

test('the same key gets its own record back, with its newest authority key, whatever name it asks for', async (t) => {
  const { registry, fabric, ledger } = await fixture();
  const first = await registry.admitNode(request('p1'));
  const again = await registry.admitNode(request('p1', { name: 'other', authorityPublicKey: 'bmV3', labels: {} }));
  t.is(again.name, first.name);
  t.deepEqual(again.labels, first.labels);
  t.is((await fabric.get(`node/${first.name}`))?.authorityPublicKey, 'bmV3');
  t.is((await fabric.list('node/')).length, 1);
  t.is((await ledger.list()).length, 1);
});

test('a chosen name that is taken is refused and changes nothing', async (t) => {
  const { registry, fabric } = await fixture();
  await registry.admitNode(request('p1', { name: 'box' }));
  const both = await Promise.allSettled([
    registry.admitNode(request('p2', { name: 'box' })),
    registry.admitNode(request('p3', { name: 'box' })),
  ]);
  for (const result of both) t.is(result.status === 'rejected' && result.reason.id, 'name-taken');
  t.is((await fabric.get('node/box'))?.peerId, 'p1');
});

test('two keys that choose one name at the same time: one gets it', async (t) => {
  const { registry } = await fixture();
  const results = await Promise.allSettled(
    ['p1', 'p2'].map((peer) => registry.admitNode(request(peer, { name: 'box' }))),
  );
  t.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
});

test('refuses names and labels that are not acceptable, and labels of its own', async (t) => {
  const { registry, fabric } = await fixture();
  const bad: Partial<AdmitRequest>[] = [
    { name: 'No Name' },
    { labels: { 'selvedge/router': 'interior' } },
    { labels: { 'a b': 'c' } },
    { labels: { a: 'b\nc' } },
    { labels: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, 'v'])) },
  ];
  for (const changes of bad) {
    const error = await t.throwsAsync(registry.admitNode(request('p1', changes)), { name: 'NodeRefusedError' });
    t.true(((error as { action?: string }).action ?? '').length > 0);
  }
  t.is((await fabric.list('node/')).length, 0);
});

test('a host name without a usable character still gives a name', async (t) => {
  const { registry } = await fixture();
  t.is((await registry.admitNode(request('p1', { defaultName: '日本' }))).name, 'node');
  const long = await registry.admitNode(request('p2', { defaultName: `${'x'.repeat(55)}-${'y'.repeat(300)}` }));
  t.is(long.name, 'x'.repeat(55));
});
