// The simulated store: the conformance body, its snapshots, and that it is the same in each run.

import test from 'ava';
import { createSimStore } from '../../simulations/sim-store.ts';
import { randomHistory, storeConformance } from '../conformance/store.ts';

storeConformance(test, 'simulated store', async () => createSimStore());

test('simulated store: a snapshot puts documents, checkpoints and revisions back', async (t) => {
  const store = createSimStore();
  const database = await store.open('mailbox');
  await database.put({ _id: 'a', n: 1 });
  const snapshot = store.snapshot();
  await database.update('a', () => ({ _id: 'a', n: 2 }));
  await (await store.open('later')).put({ _id: 'b' });
  await store.close();
  store.restore(snapshot);
  t.like(await database.get('a'), { n: 1 });
  t.deepEqual(await (await store.open('later')).list(''), []);
  await database.update('a', () => ({ _id: 'a', n: 3 }));
  store.restore(snapshot);
  t.like(await database.get('a'), { n: 1 });
});

test('simulated store: a seed gives the same documents each time, another seed others', async (t) => {
  const first = await randomHistory(createSimStore(), 7, 80);
  t.deepEqual(await randomHistory(createSimStore(), 7, 80), first);
  t.notDeepEqual(await randomHistory(createSimStore(), 8, 80), first);
});
