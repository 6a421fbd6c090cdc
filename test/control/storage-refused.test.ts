// The store on a volume that is full for a while: nothing that it acknowledged is lost, what it refuses says why, and it
// mends itself when there is room again. On a real small volume.

import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { StorageRefusedError } from '../../control/errors.ts';
import { faultOf } from '../../control/level-faults.ts';
import { createPouchStore } from '../../control/pouch-store.ts';
import { replicate } from '../../control/replicate.ts';
import type { Database, Store } from '../../control/store.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createSmallDisk, type SmallDisk, smallDiskMissing } from '../small-disk.ts';

const clock = createSystemClock();
const missing = smallDiskMissing();

async function make(
  t: ExecutionContext,
  bytes = 8 * 1024 * 1024,
): Promise<{ disk: SmallDisk; store: Store; folder: string }> {
  const disk = await createSmallDisk(t, { bytes });
  const folder = join(disk.folder, 'store');
  const store = await createPouchStore({ folder, clock });
  t.teardown(() => store.close());
  return { disk, store, folder };
}

const words = 'words '.repeat(200);

/** Writes so many documents at once; those that were acknowledged. */
async function write(
  database: Database,
  from: number,
  count: number,
  text = words,
): Promise<{ done: string[]; errors: unknown[] }> {
  const errors: unknown[] = [];
  const done = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const _id = `document/${from + index}`;
      try {
        await database.put({ _id, text });
        return [_id];
      } catch (error) {
        errors.push(error);
        return [];
      }
    }),
  );
  return { done: done.flat(), errors };
}

/** What the next process finds after a kill -9 now. */
async function foundAfterKill(t: ExecutionContext, folder: string, ids: readonly string[]): Promise<string[]> {
  const copy = await mkdtemp(join(tmpdir(), 'selvedge-killed-'));
  t.teardown(() => rm(copy, { recursive: true, force: true }));
  await cp(folder, copy, { recursive: true });
  const store = await createPouchStore({ folder: copy, clock });
  const database = await store.open('fabric');
  const found: string[] = [];
  for (const id of ids) if ((await database.get(id)) !== undefined) found.push(id);
  await store.close();
  return found;
}

test('a store on a full volume refuses writes with what to do, loses nothing, and takes them again by itself', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { disk, store, folder } = await make(t);
  const database = await store.open('fabric');
  const before = await write(database, 0, 30);
  t.is(before.done.length, 30);

  disk.fill();
  const during = await write(database, 100, 50);
  t.true(during.errors.length > 40, `${during.errors.length} were refused`);
  for (const error of during.errors) {
    if (!(error instanceof StorageRefusedError)) throw error;
    t.is(error.id, 'storage-refused');
    t.true(error.retryable);
    t.regex(error.message, /no space is left/);
    t.regex(error.action, /Make room on the volume of .*store/);
  }
  t.like(await database.get('document/3'), { text: words }, 'what is there can be read');
  t.is((await database.list('document/')).length, 30 + during.done.length);
  const fresh = await store.open('mailbox/new');
  await t.throwsAsync(
    fresh.put({ _id: 'a' }),
    { instanceOf: StorageRefusedError },
    'a database that was made meanwhile',
  );

  disk.makeRoom();
  const after = await write(database, 200, 60);
  t.deepEqual(after.errors, [], 'a write finds out by itself that there is room');
  await fresh.put({ _id: 'b' });
  t.deepEqual(
    (await fresh.list('')).map(({ _id }) => _id),
    ['b'],
  );
  const acknowledged = [...before.done, ...during.done, ...after.done];
  t.deepEqual(await foundAfterKill(t, folder, acknowledged), acknowledged);
  t.is((await database.list('document/')).length, acknowledged.length);
});

test('a store whose volume is made read-only refuses as soon as it needs another file, and goes on by itself', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { disk, store, folder } = await make(t, 64 * 1024 * 1024);
  const database = await store.open('fabric');
  const { done: before } = await write(database, 0, 10);
  disk.cover();
  // The journal that is open takes some 4 MiB.
  const long = randomBytes(50_000).toString('hex');
  const during = await write(database, 100, 120, long);
  t.true(during.errors.length > 0);
  for (const error of during.errors) {
    if (!(error instanceof StorageRefusedError)) throw error;
    t.regex(error.message, /its volume is read-only/);
    t.regex(error.action, /Mount the volume of .*store for writing/);
  }
  t.like(await database.get('document/3'), { text: words }, 'what is there can be read');
  disk.uncover();
  const after = await write(database, 300, 20);
  t.deepEqual(after.errors, [], 'a write finds out by itself that it can be written');
  const acknowledged = [...before, ...during.done, ...after.done];
  t.deepEqual(await foundAfterKill(t, folder, acknowledged), acknowledged);
});

test('what LevelDB and the system say of a refusal is told apart from damage', (t) => {
  const said: [string, string | undefined][] = [
    ['IO error: /data/store/000003.log: No space left on device', 'ENOSPC'],
    ['IO error: /data/store/000003.log: Disk quota exceeded', 'EDQUOT'],
    ['IO error: /data/store/000003.log: Read-only file system', 'EROFS'],
    ['IO error: /data/store/000003.log: Input/output error', 'EIO'],
    ['IO error: /data/store/000005.ldb: Too many open files', 'EMFILE'],
    ['IO error: /data/store/000005.ldb: No such file or directory', undefined],
    ['Corruption: block checksum mismatch', undefined],
  ];
  for (const [message, code] of said) t.is(faultOf(new Error(message))?.code, code, message);
  t.is(faultOf(Object.assign(new Error('write failed'), { code: 'EROFS' }))?.code, 'EROFS');
});

test('replication into a full store is interrupted, not skipped: it goes on where it was', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { disk, store } = await make(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-source-'));
  const other = await createPouchStore({ folder: join(folder, 'store'), clock });
  t.teardown(async () => {
    await other.close();
    await rm(folder, { recursive: true, force: true });
  });
  const [source, target] = [await other.open('source'), await store.open('target')];
  await write(source, 0, 100);
  disk.fill();
  await t.throwsAsync(replicate(source.peer, target.peer));
  disk.makeRoom();
  await eventually(
    async () => {
      await replicate(source.peer, target.peer);
      return (await target.list('document/')).length === 100;
    },
    { deadlineMs: 20_000, what: 'all documents to arrive' },
  );
  t.pass();
});
