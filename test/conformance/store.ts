// What every store must do. Called with a factory by the tests of pouch-store.ts and simulations/sim-store.ts.

import type { ExecutionContext, TestFn } from 'ava';
import { ConflictError, DocumentRefusedError, ReplicationError, StoreClosedError } from '../../control/errors.ts';
import { replicationBatchMax } from '../../control/limits.ts';
import { oneShotChanges } from '../../control/one-shot-changes.ts';
import { replicate } from '../../control/replicate.ts';
import type { Change, Database, ReplicationPeer, Store } from '../../control/store.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

/** A new empty store; what it takes is released when the test ends. */
export type MakeStore = (t: ExecutionContext) => Promise<Store>;

export function storeConformance(test: TestFn, adapter: string, makeStore: MakeStore): void {
  const pair = async (t: ExecutionContext): Promise<[Database, Database]> => {
    const store = await makeStore(t);
    return [await store.open('left'), await store.open('right')];
  };

  test(`${adapter}: a document is written, read, changed and removed`, async (t) => {
    const [database] = await pair(t);
    t.is(await database.get('desired/plan'), undefined);
    const first = await database.put({ _id: 'desired/plan', jws: 'one', nested: { list: [1, null, 'ü'] } });
    t.deepEqual(await database.get('desired/plan'), {
      _id: 'desired/plan',
      _rev: first,
      jws: 'one',
      nested: { list: [1, null, 'ü'] },
    });
    const second = await database.put({ _id: 'desired/plan', _rev: first, jws: 'two' });
    t.true(second.startsWith('2-'));
    t.deepEqual(await database.get('desired/plan'), { _id: 'desired/plan', _rev: second, jws: 'two' });
    await database.remove('desired/plan');
    await database.remove('desired/plan');
    t.is(await database.get('desired/plan'), undefined);
    const [tombstone, ...others] = await database.leaves('desired/plan');
    t.like(tombstone, { _id: 'desired/plan', _deleted: true });
    t.deepEqual(others, []);
    t.true((await database.put({ _id: 'desired/plan', jws: 'again' })).startsWith('4-'));
    t.is((await database.leaves('desired/plan')).length, 1);
  });

  test(`${adapter}: a write on top of what is no leaf is a conflict`, async (t) => {
    const [database] = await pair(t);
    const first = await database.put({ _id: 'a', n: 1 });
    await t.throwsAsync(database.put({ _id: 'a', n: 2 }), { instanceOf: ConflictError });
    await t.throwsAsync(database.put({ _id: 'b', _rev: first, n: 2 }), { instanceOf: ConflictError });
    await database.put({ _id: 'a', _rev: first, n: 2 });
    await t.throwsAsync(database.put({ _id: 'a', _rev: first, n: 3 }), { instanceOf: ConflictError });
    await t.throwsAsync(database.put({ _id: 'a', _rev: first, n: 2 }), { instanceOf: ConflictError });
    t.like(await database.get('a'), { n: 2 });
  });

  test(`${adapter}: what cannot be a document is refused and changes nothing`, async (t) => {
    const [database] = await pair(t);
    for (const document of [
      { _id: '' },
      { _id: '_design/x' },
      { _id: 'é' },
      { _id: 'a', _attachments: {} },
      { _id: 'a', _secret: 1 },
    ])
      await t.throwsAsync(database.put(document), { instanceOf: DocumentRefusedError });
    t.deepEqual(await database.list(''), []);
  });

  test(`${adapter}: list gives undeleted documents under a prefix in order of id`, async (t) => {
    const [database] = await pair(t);
    for (const id of ['b/2', 'a/1', 'b/10', 'b/1', 'c', 'b', 'b/3']) await database.put({ _id: id });
    await database.remove('b/3');
    const ids = async (prefix: string): Promise<string[]> => (await database.list(prefix)).map(({ _id }) => _id);
    t.deepEqual(await ids('b/'), ['b/1', 'b/10', 'b/2']);
    t.deepEqual(await ids(''), ['a/1', 'b', 'b/1', 'b/10', 'b/2', 'c']);
    t.deepEqual(await ids('d'), []);
  });

  test(`${adapter}: databases of one store share nothing`, async (t) => {
    const [left, right] = await pair(t);
    await left.put({ _id: 'a', of: 'left' });
    t.deepEqual(await right.list(''), []);
    t.not(await left.peer.id(), await right.peer.id());
  });

  test(`${adapter}: update repeats after a conflict until it lands on the newest`, async (t) => {
    const [database] = await pair(t);
    const count = (): Promise<void> =>
      database.update('counter', (current) => ({ _id: 'counter', n: Number(current?.['n'] ?? 0) + 1 }));
    await Promise.all([count(), count(), count(), count(), count()]);
    t.is((await database.get('counter'))?.['n'], 5);
    await database.update('counter', () => undefined);
    t.true((await database.get('counter'))?._rev?.startsWith('5-'));
    t.is((await database.leaves('counter')).length, 1);
  });

  test(`${adapter}: listeners are told of each write in order, until they unsubscribe`, async (t) => {
    const [left, right] = await pair(t);
    const seen: Change[] = [];
    const unsubscribe = right.subscribe((change) => seen.push(change));
    await right.put({ _id: 'a' });
    await right.put({ _id: 'b' });
    await right.remove('a');
    await left.put({ _id: 'c' });
    await left.put({ _id: 'd' });
    await replicate(left.peer, right.peer);
    t.deepEqual(seen.slice(0, 3), [
      { id: 'a', deleted: false },
      { id: 'b', deleted: false },
      { id: 'a', deleted: true },
    ]);
    // What came in one batch of replication was written in the order in which the batch had it.
    t.deepEqual(
      seen
        .slice(3)
        .map(({ id }) => id)
        .sort(),
      ['c', 'd'],
    );
    t.is(seen.length, 5);
    unsubscribe();
    unsubscribe();
    await right.put({ _id: 'e' });
    t.is(seen.length, 5);
  });

  test(`${adapter}: replication carries both ways, and a conflict is seen among the leaves of both`, async (t) => {
    const [left, right] = await pair(t);
    const root = await left.put({ _id: 'a', text: 'root' });
    t.deepEqual(await replicate(left.peer, right.peer), { documentsRead: 1, documentsWritten: 1, writeFailures: 0 });
    await left.put({ _id: 'a', _rev: root, text: 'left' });
    await right.put({ _id: 'a', _rev: root, text: 'right' });
    await replicate(left.peer, right.peer);
    await replicate(right.peer, left.peer);
    const leaves = await left.leaves('a');
    t.deepEqual(leaves, await right.leaves('a'));
    t.deepEqual(leaves.map(({ text }) => text).sort(), ['left', 'right']);
    t.deepEqual(leaves[0], await left.get('a'));
    await left.remove('a', leaves[1]?._rev ?? '');
    t.deepEqual(await left.get('a'), leaves[0]);
    t.deepEqual(
      (await left.leaves('a')).map(({ _deleted = false }) => _deleted),
      [false, true],
    );
  });

  test(`${adapter}: a document deleted here and edited there comes back, and its tombstone stays among the leaves`, async (t) => {
    const [left, right] = await pair(t);
    await left.put({ _id: 'a', n: 1 });
    await replicate(left.peer, right.peer);
    await left.remove('a');
    await right.update('a', () => ({ _id: 'a', n: 2 }));
    await replicate(right.peer, left.peer);
    t.like(await left.get('a'), { n: 2 });
    const leaves = await left.leaves('a');
    t.deepEqual(
      leaves.map(({ _deleted = false }) => _deleted),
      [false, true],
    );
  });

  test(`${adapter}: a second run reads nothing, a third only what is new`, async (t) => {
    const [left, right] = await pair(t);
    for (let n = 0; n < 3 * replicationBatchMax + 1; n++) await left.put({ _id: `d/${n}`, n });
    t.is((await replicate(left.peer, right.peer)).documentsWritten, 3 * replicationBatchMax + 1);
    const calls: string[] = [];
    t.is((await replicate(spied(left.peer, calls), right.peer)).documentsRead, 0);
    t.false(calls.includes('bulkGet'));
    await left.put({ _id: 'd/0', _rev: (await left.get('d/0'))?._rev ?? '', n: 'new' });
    t.deepEqual(await replicate(left.peer, right.peer), { documentsRead: 1, documentsWritten: 1, writeFailures: 0 });
    t.deepEqual(await right.list(''), await left.list(''));
  });

  test(`${adapter}: replication cut at any call says so, and the next runs finish it`, async (t) => {
    for (const target of ['source', 'target'] as const) {
      const [left, right] = await pair(t);
      for (let n = 0; n < 2 * replicationBatchMax; n++) await left.put({ _id: `d/${n}`, n });
      for (let call = 1; call < 60; call++) {
        const [source, sink] =
          target === 'source' ? [failing(left.peer, call), right.peer] : [left.peer, failing(right.peer, call)];
        const done = await replicate(source, sink).then(
          () => true,
          (error) => {
            t.true(error instanceof ReplicationError && error.retryable);
            t.regex(String(error), /the link broke/);
            return false;
          },
        );
        if (done) break;
      }
      t.deepEqual(await right.list(''), await left.list(''));
    }
  });

  test(`${adapter}: replication ends when its signal aborts, and can be run again`, async (t) => {
    const [left, right] = await pair(t);
    for (let n = 0; n < 2 * replicationBatchMax; n++) await left.put({ _id: `d/${n}`, n });
    await t.throwsAsync(replicate(left.peer, right.peer, AbortSignal.abort(new Error('not now'))), {
      message: 'not now',
    });
    const controller = new AbortController();
    const peer: ReplicationPeer = {
      ...left.peer,
      bulkGet: (options) => {
        controller.abort(new Error('enough'));
        return left.peer.bulkGet(options);
      },
    };
    await t.throwsAsync(replicate(peer, right.peer, controller.signal), { message: 'enough' });
    await replicate(left.peer, right.peer);
    t.deepEqual(await right.list(''), await left.list(''));
  });

  test(`${adapter}: what no database holds can be asked for without harm`, async (t) => {
    const [database] = await pair(t);
    await database.put({ _id: 'a' });
    const docs = [
      { id: 'a', rev: '7-00000000000000000000000000000000' },
      { id: 'b', rev: '1-00000000000000000000000000000000' },
    ];
    const { results } = (await database.peer.bulkGet({ docs, revs: true, latest: true })) as {
      results: { docs: unknown[] }[];
    };
    t.deepEqual(
      results.flatMap((result) => result.docs),
      [],
    );
  });

  test(`${adapter}: a removed database is empty when it is opened again, and a closed store refuses`, async (t) => {
    const store = await makeStore(t);
    const database = await store.open('left');
    const other = await store.open('other');
    t.is(await store.open('left'), database);
    await database.put({ _id: 'a' });
    await other.put({ _id: 'a' });
    const identity = await database.peer.id();
    await store.destroy('left');
    await t.throwsAsync(database.get('a'), { instanceOf: StoreClosedError });
    const again = await store.open('left');
    t.deepEqual(await again.list(''), []);
    t.not(await again.peer.id(), identity);
    t.is((await other.list('')).length, 1);
    await store.close();
    await store.close();
    await t.throwsAsync(store.open('left'), { instanceOf: StoreClosedError });
    await t.throwsAsync(other.get('a'), { instanceOf: StoreClosedError });
    await t.throwsAsync(other.put({ _id: 'b' }), { instanceOf: StoreClosedError });
  });
}

const historyIds = ['a', 'b', 'c'];

/** One random history on three replicas; the same seed gives the same edits and replications. Returns what each replica ends with. */
export async function randomHistory(store: Store, seed: number, steps: number): Promise<unknown[]> {
  const random = createSimRandom(seed);
  const pick = (below: number): number => Math.floor(random.next() * below);
  const replicas = await Promise.all(['one', 'two', 'three'].map((name) => store.open(`history-${seed}-${name}`)));
  const replica = (): Database => replicas[pick(replicas.length)] as Database;
  for (let step = 0; step < steps; step++) {
    const database = replica();
    const id = historyIds[pick(historyIds.length)] as string;
    const kind = random.next();
    if (kind < 0.5) {
      const value = pick(4);
      await database.update(id, () => ({ _id: id, value }));
    } else if (kind < 0.6) {
      await database.remove(id);
    } else if (kind < 0.7) {
      const leaves = await database.leaves(id);
      const leaf = leaves[pick(Math.max(leaves.length, 1))];
      if (leaf?._rev !== undefined) await database.remove(id, leaf._rev);
    } else if (kind < 0.75) {
      const leaves = await database.leaves(id);
      const leaf = leaves[pick(Math.max(leaves.length, 1))];
      // On a losing leaf or a tombstone a write may be refused: the same in every store.
      if (leaf?._rev !== undefined) await database.put({ _id: id, _rev: leaf._rev, on: 'leaf' }).catch(() => {});
    } else {
      const other = replica();
      if (other !== database) await replicate(database.peer, other.peer);
    }
  }
  return Promise.all(
    replicas.map(async (database) => ({
      winners: await database.list(''),
      leaves: await Promise.all(historyIds.map((id) => database.leaves(id))),
    })),
  );
}

function spied(peer: ReplicationPeer, calls: string[]): ReplicationPeer {
  return new Proxy(peer, {
    get(target, name: keyof ReplicationPeer) {
      calls.push(name);
      return target[name];
    },
  });
}

/** A peer whose link breaks at the given call and stays broken. */
function failing(peer: ReplicationPeer, call: number): ReplicationPeer {
  let calls = 0;
  const broken = (): boolean => ++calls >= call;
  const method =
    <A extends unknown[]>(run: (...values: A) => Promise<unknown>) =>
    async (...values: A): Promise<never> => {
      if (broken()) throw new Error('the link broke');
      return (await run(...values)) as never;
    };
  return {
    ...peer,
    id: method(peer.id),
    bulkGet: method(peer.bulkGet),
    revsDiff: method(peer.revsDiff),
    bulkDocs: method(peer.bulkDocs),
    get: method(peer.get),
    put: method(peer.put),
    changes: (options) =>
      broken() ? oneShotChanges(() => Promise.reject(new Error('the link broke'))) : peer.changes(options),
  };
}
