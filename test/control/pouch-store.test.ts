// The store on PouchDB: the conformance body, equality with the simulated store under random histories, and its folder.

import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { StoreDamagedError, StoreLockedError, StoreUnavailableError } from '../../control/errors.ts';
import { createPouchStore } from '../../control/pouch-store.ts';
import { replicate } from '../../control/replicate.ts';
import type { Store } from '../../control/store.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { randomHistory, storeConformance } from '../conformance/store.ts';

async function temporaryFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-store-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'store');
}

async function makeStore(t: ExecutionContext): Promise<Store> {
  const folder = await temporaryFolder(t);
  const store = await createPouchStore({ folder, clock: createSystemClock() });
  t.teardown(() => store.close());
  return store;
}

storeConformance(test, 'pouch store', makeStore);

test('pouch store: random histories end in the same leaves and winners as in the simulated store', async (t) => {
  const real = await makeStore(t);
  let conflicts = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const simulated = await randomHistory(createSimStore(), seed, 60);
    t.deepEqual(await randomHistory(real, seed, 60), simulated, `seed ${seed}`);
    conflicts += (simulated as { leaves: unknown[][] }[])
      .flatMap(({ leaves }) => leaves)
      .filter((leaves) => leaves.length > 1).length;
  }
  // Otherwise the histories would prove little.
  t.true(conflicts > 20, `${conflicts} documents ended with several leaves`);
});

test('pouch store: long histories are cut alike in both stores', async (t) => {
  const stores = [await makeStore(t), createSimStore()];
  const results = await Promise.all(
    stores.map(async (store) => {
      const [left, right] = [await store.open('left'), await store.open('right')];
      const edit = async (database: typeof left, times: number, text: string): Promise<void> => {
        for (let n = 0; n < times; n++) await database.update('a', () => ({ _id: 'a', text, n }));
      };
      await edit(left, 60, 'start');
      await replicate(left.peer, right.peer);
      await edit(left, 30, 'left');
      await edit(right, 70, 'right');
      await replicate(left.peer, right.peer);
      await replicate(right.peer, left.peer);
      return [await left.leaves('a'), await right.leaves('a')];
    }),
  );
  t.deepEqual(results[0], results[1]);
});

test('pouch store: documents survive closing, and one LevelDB holds all databases', async (t) => {
  const folder = await temporaryFolder(t);
  const first = await createPouchStore({ folder, clock: createSystemClock() });
  const identity = await (await first.open('mailbox/a')).peer.id();
  await (await first.open('mailbox/a')).put({ _id: 'x', n: 1 });
  await (await first.open('bulletin')).put({ _id: 'x', n: 2 });
  await first.close();
  const second = await createPouchStore({ folder, clock: createSystemClock() });
  t.teardown(() => second.close());
  t.like(await (await second.open('mailbox/a')).get('x'), { n: 1 });
  t.like(await (await second.open('bulletin')).get('x'), { n: 2 });
  t.is(await (await second.open('mailbox/a')).peer.id(), identity);
  t.true((await readdir(folder)).includes('CURRENT'));
});

test('pouch store: a folder that is open already is refused with what to do', async (t) => {
  const folder = await temporaryFolder(t);
  const first = await createPouchStore({ folder, clock: createSystemClock() });
  const error = await t.throwsAsync(createPouchStore({ folder, clock: createSystemClock() }), {
    instanceOf: StoreLockedError,
  });
  t.true(error.message.includes(folder));
  await first.close();
  await (await createPouchStore({ folder, clock: createSystemClock() })).close();
});

test('pouch store: a damaged folder is refused with its name and what to do', async (t) => {
  for (const file of ['CURRENT', 'MANIFEST']) {
    const folder = await temporaryFolder(t);
    const store = await createPouchStore({ folder, clock: createSystemClock() });
    await (await store.open('a')).put({ _id: 'x' });
    await store.close();
    for (const name of await readdir(folder))
      if (name.startsWith(file)) await writeFile(join(folder, name), 'not what it was');
    const error = await t.throwsAsync(createPouchStore({ folder, clock: createSystemClock() }), {
      instanceOf: StoreDamagedError,
    });
    t.true(error.message.includes(folder) && error.action.includes(folder));
    t.false(error.retryable);
  }
});

test('pouch store: a folder that cannot be made is refused with the reason', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(folder, 'a file');
  await t.throwsAsync(createPouchStore({ folder, clock: createSystemClock() }), { instanceOf: StoreUnavailableError });
});
