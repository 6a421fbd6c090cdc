// An open window is seen on every node that is in reach, for as long as it is open: also when its controller dies, and when two
// orders follow each other at once. The product's own composition on simulated ports.

import test from 'ava';
import { createSimFabric, type SimFabric } from './sim-fabric.ts';

const request = { forMs: 600_000, cidrs: ['192.0.2.0/24'], max: 5, labels: {}, router: 'edge' } as const;
const open = (fabric: SimFabric, changes: { forMs?: number } = {}) =>
  fabric.controller().admissions.openWindow({ ...request, cidrs: [...request.cidrs], ...changes });

test('a worker shows the window of its controller until it is closed, or over', async (t) => {
  const fabric = await createSimFabric(t, 'window');
  const worker = await fabric.join('box2');
  const seen = async () => (await worker.node().status()).notices?.join() ?? '';
  t.is(await seen(), '');
  await fabric.during(open(fabric));
  await fabric.until('it is seen', async () => /open at box1 until .*5 boxes from 192\.0\.2\.0\/24/.test(await seen()));
  t.regex((await fabric.founder.node().status()).notices?.join() ?? '', /0 of 5 admitted/);
  t.is((await fabric.founder.node().status()).notices?.length, 1, 'its own is told once');
  fabric.controller().admissions.closeWindow();
  await fabric.until('it is seen no more', async () => (await seen()) === '');

  // Closed before others have heard that it was opened.
  for (let turn = 0; turn < 3; turn += 1) {
    const opening = open(fabric);
    fabric.controller().admissions.closeWindow();
    await fabric.during(opening);
  }
  await fabric.clock.advance(5_000);
  t.is(await seen(), '');

  await fabric.during(open(fabric, { forMs: 20_000 }));
  await fabric.until('it is seen again', async () => (await seen()) !== '');
  await fabric.clock.advance(20_000);
  t.is(await seen(), '');
});

test('a window ends with its controller: back again, it tells so', async (t) => {
  const fabric = await createSimFabric(t, 'window-crash');
  const worker = await fabric.join('box2');
  const seen = async () => (await worker.node().status()).notices?.length ?? 0;
  await fabric.during(open(fabric));
  await fabric.until('it is seen', async () => (await seen()) === 1);
  fabric.founder.crash();
  await fabric.clock.advance(10_000);
  await fabric.founder.start();
  await fabric.until('box1 is back', () => fabric.founder.node().member() !== undefined);
  t.false(fabric.controller().admissions.window().open);
  await fabric.until('it is seen no more', async () => (await seen()) === 0);
});

test('a controller that ends in order tells it before', async (t) => {
  const fabric = await createSimFabric(t, 'window-stop');
  const worker = await fabric.join('box2');
  await fabric.during(open(fabric));
  await fabric.until('it is seen', async () => (await worker.node().status()).notices !== undefined);
  await fabric.founder.stop();
  await fabric.founder.start();
  await fabric.until('it is seen no more', async () => (await worker.node().status()).notices === undefined);
  t.deepEqual(fabric.controller().admissions.notices(), []);
  t.true((await fabric.controller().ledger.list()).some(({ type }) => type === 'window-closed'));
});

test('a box that joins after a window is over hears nothing of it, and has no problem with it', async (t) => {
  const fabric = await createSimFabric(t, 'window-late');
  await fabric.during(open(fabric, { forMs: 10_000 }));
  await fabric.clock.advance(20_000);
  const late = await fabric.join('box2');
  await fabric.until('it is linked', async () => (await fabric.linkedTo(late)).includes('box1'));
  await fabric.clock.advance(10_000);
  t.deepEqual(
    fabric.said('box2').filter((line) => /refused|ignored/.test(line)),
    [],
  );
});
