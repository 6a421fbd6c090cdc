import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Disk } from '../../node-runtime/disk.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { createTokenBook, type TokenRequest } from '../../pki/token-book.ts';
import { labelsSchema } from '../../pki/token-files.ts';
import { formatToken, parseToken } from '../../pki/tokens.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { dayMs, hourMs, strongRandom } from './fabric-fixture.ts';
import { createMemoryDisk } from './memory-disk.ts';

const fabricId = 'a'.repeat(52);
const single: TokenRequest = { uses: 1, ttlMs: hourMs, labels: { site: 'north' }, router: 'edge' };
const keyOf = (name: string) => new TextEncoder().encode(name);
const pathOf = ({ id }: { id: string }) => `tokens/${id}`;

const setUp = async (disk: Disk = createMemoryDisk()) => {
  const clock = createSimClock();
  const open = () => createTokenBook({ disk, clock, random: strongRandom, fabricId });
  return { clock, open, book: await open() };
};
const secretOf = ({ token }: { token: string }) => parseToken(token).secret;
const admitted = { admitted: true };
const refused = (reason: string) => ({ admitted: false, reason }) as const;

test('a token says what it grants, and its text is read back', async (t) => {
  const { book, clock } = await setUp();
  const created = await book.create({ ...single, uses: 3, router: 'interior' });
  t.regex(created.token, /^sv1_a{52}_[a-z2-7]{32}$/);
  t.like(created, { uses: 3, labels: { site: 'north' }, router: 'interior', expiresAt: clock.now() + hourMs });
  t.deepEqual(parseToken(` ${created.token}\n`), { fabricId, secret: secretOf(created) });
  t.like(await book.consume(secretOf(created), keyOf('box2')), {
    ...admitted,
    record: { id: created.id, router: 'interior', labels: { site: 'north' } },
  });
});

test('text that is no token is refused with what is wrong, and without showing it', (t) => {
  const secret = 'b'.repeat(32);
  for (const [text, message] of [
    ['', /begins with sv1_/],
    ['sv2_x_y', /begins with sv1_/],
    [`sv1_${fabricId}`, /three parts/],
    [`sv1_${fabricId.slice(1)}_${secret}`, /52 characters, not 51/],
    [`sv1_${'1'.repeat(52)}_${secret}`, /fabric id of the token is mistyped/],
    [`sv1_${fabricId}_${secret.slice(1)}`, /32 characters, not 31/],
    [`sv1_${fabricId}_${secret.toUpperCase()}`, /a-z and 2-7/],
  ] as const) {
    const error = t.throws(() => parseToken(text), { name: 'TokenFormatError', message });
    t.false(error?.message.includes(secret.slice(0, 10)));
  }
  t.is(formatToken(parseToken(formatToken({ fabricId, secret }))), formatToken({ fabricId, secret }));
});

test('a request outside the limits is refused', async (t) => {
  const { book } = await setUp();
  for (const wrong of [
    { uses: 0 },
    { uses: 1001 },
    { uses: 1.5 },
    { ttlMs: 59_999 },
    { ttlMs: 7 * dayMs + 1 },
    { ttlMs: Number.NaN },
    { labels: { x: 'y'.repeat(1000) } },
  ]) {
    await t.throwsAsync(book.create({ ...single, ...wrong }), { name: 'TokenRefusedError' }, JSON.stringify(wrong));
  }
});

test('two keys at once on a single-use token admit exactly one', async (t) => {
  const { book } = await setUp();
  const secret = secretOf(await book.create(single));
  const answers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => book.consume(secret, keyOf(name))));
  t.is(answers.filter((answer) => answer.admitted).length, 1);
  t.is(answers.filter((answer) => !answer.admitted && answer.reason === 'used').length, 3);
});

test('a token of three uses admits three keys, each as often as it asks', async (t) => {
  const { book } = await setUp();
  const secret = secretOf(await book.create({ ...single, uses: 3 }));
  for (const name of ['a', 'a', 'b', 'a', 'c', 'b']) t.like(await book.consume(secret, keyOf(name)), admitted);
  t.like(await book.consume(secret, keyOf('d')), refused('used'));
  t.is(book.list()[0]?.used, 3);
});

test('the same key is admitted again until the token expires, other keys are not', async (t) => {
  const { book, clock } = await setUp();
  const secret = secretOf(await book.create(single));
  t.like(await book.consume(secret, keyOf('a')), admitted);
  await clock.advance(hourMs - 1);
  t.like(await book.consume(secret, keyOf('a')), admitted);
  t.like(await book.consume(secret, keyOf('b')), refused('used'));
  await clock.advance(1);
  t.like(await book.consume(secret, keyOf('a')), refused('expired'));
  t.like(await book.consume('z'.repeat(32), keyOf('a')), refused('unknown'));
});

test('nobody is told of a use before it is on disk', async (t) => {
  const disk = createMemoryDisk();
  const { book } = await setUp(disk);
  const token = await book.create(single);
  const secret = secretOf(token);
  const unused = disk.files.get(pathOf(token));
  const gate = Promise.withResolvers<void>();
  disk.before = () => gate.promise;
  let told = 0;
  const first = book.consume(secret, keyOf('a')).finally(() => (told += 1));
  const again = book.consume(secret, keyOf('a')).finally(() => (told += 1));
  t.like(await book.consume(secret, keyOf('b')), refused('used'));
  t.is(told, 0);
  t.is(disk.files.get(pathOf(token)), unused);
  gate.resolve();
  t.like(await first, admitted);
  t.like(await again, admitted);
  t.is(disk.files.get(pathOf(token))?.match(/"keySha256"/g)?.length, 1);
  t.is(disk.calls.length, 2);
});

test('a disk that fails admits nobody and loses no use', async (t) => {
  const disk = createMemoryDisk();
  const { book, open } = await setUp(disk);
  const secret = secretOf(await book.create(single));
  disk.before = () => {
    throw new Error('no space');
  };
  await t.throwsAsync(book.consume(secret, keyOf('a')), { message: 'no space' });
  t.like(await book.consume(secret, keyOf('b')), refused('used'));
  await t.throwsAsync(book.create(single), { message: 'no space' });
  t.is(book.list().length, 1);
  disk.before = () => undefined;
  t.like(await book.consume(secret, keyOf('a')), admitted);
  const reopened = await open();
  t.like(await reopened.consume(secret, keyOf('a')), admitted);
  t.like(await reopened.consume(secret, keyOf('b')), refused('used'));
});

test('the files hold no secret', async (t) => {
  const disk = createMemoryDisk();
  const { book } = await setUp(disk);
  const token = await book.create(single);
  await book.consume(secretOf(token), keyOf('a'));
  t.regex(disk.files.get(pathOf(token)) ?? '', /"secretSha256".*"used":\[\{/);
  t.false(disk.files.get(pathOf(token))?.includes(secretOf(token)));
});

test('on a real disk, tokens and uses are there after a restart', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-tokens-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const { book, open } = await setUp(createFileDisk(folder));
  const several = secretOf(await book.create({ ...single, uses: 3 }));
  const fresh = secretOf(await book.create(single));
  await Promise.all(['a', 'b'].map((name) => book.consume(several, keyOf(name))));
  const second = await open();
  for (const name of ['a', 'b', 'c', 'a']) t.like(await second.consume(several, keyOf(name)), admitted);
  t.like(await second.consume(fresh, keyOf('b')), admitted);
  const third = await open();
  t.like(await third.consume(several, keyOf('d')), refused('used'));
  t.like(await third.consume(fresh, keyOf('c')), refused('used'));
});

test('a file that is cut anywhere, or changed anywhere, is an error that names it, and never an unused token', async (t) => {
  const disk = createMemoryDisk();
  const { book, open } = await setUp(disk);
  const token = await book.create({ ...single, uses: 2 });
  for (const name of ['a', 'b']) await book.consume(secretOf(token), keyOf(name));
  const whole = disk.files.get(pathOf(token)) ?? '';
  for (let end = 0; end < whole.length; end += 1) {
    disk.files.set(pathOf(token), whole.slice(0, end));
    await t.throwsAsync(open(), { name: 'TokenFileError', message: new RegExp(`tokens/${token.id} .*checksum`) });
    const other = whole[end] === '0' ? '1' : '0';
    disk.files.set(pathOf(token), `${whole.slice(0, end)}${other}${whole.slice(end + 1)}`);
    await t.throwsAsync(open(), { name: 'TokenFileError' });
  }
  disk.files.delete(pathOf(token));
  disk.files.set('tokens/other', whole);
  await t.throwsAsync(open(), { name: 'TokenFileError', message: /holds another token/ });
  disk.files.delete('tokens/other');
  t.like(await (await open()).consume(secretOf(token), keyOf('c')), refused('unknown'));
});

test('what has expired is dropped at the next start', async (t) => {
  const disk = createMemoryDisk();
  const { book, clock, open } = await setUp(disk);
  await book.consume(secretOf(await book.create(single)), keyOf('a'));
  const longer = await book.create({ ...single, ttlMs: 3 * hourMs });
  await clock.advance(2 * hourMs);
  const reopened = await open();
  t.deepEqual(
    reopened.list().map(({ id }) => id),
    [longer.id],
  );
  t.deepEqual([...disk.files.keys()], [pathOf(longer)]);
});

test('outstanding tokens are bounded, and expired ones make room', async (t) => {
  const { book, clock } = await setUp();
  for (let index = 0; index < 1000; index += 1) await book.create(single);
  await t.throwsAsync(book.create(single), { name: 'TokenRefusedError', message: /1000 tokens/ });
  await clock.advance(hourMs);
  await t.notThrowsAsync(book.create(single));
  t.is(book.list().length, 1);
});

test('the uses of all outstanding tokens are bounded', async (t) => {
  const { book } = await setUp();
  for (let index = 0; index < 20; index += 1) await book.create({ ...single, uses: 1000 });
  await t.throwsAsync(book.create(single), { name: 'TokenRefusedError', message: /20000 uses/ });
});

test('attack: of labels without number one thing is said to be wrong', (t) => {
  const labels = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`label-${index}`, index]));
  t.deepEqual(
    labelsSchema.safeParse(labels).error?.issues.map(({ message }) => message),
    ['at most 64 labels'],
  );
  for (const wrong of [undefined, null, [], 'site=north', { site: 1 }]) t.false(labelsSchema.safeParse(wrong).success);
  t.deepEqual(labelsSchema.parse({ site: 'north' }), { site: 'north' });
});

test('the files of a controller that never restarts stay bounded', async (t) => {
  const disk = createMemoryDisk();
  const { book, clock } = await setUp(disk);
  for (let index = 0; index < 2500; index += 1) {
    await book.create({ ...single, ttlMs: 60_000 });
    if (index % 100 === 0) await clock.advance(60_000);
  }
  t.true(disk.files.size <= 200, `${disk.files.size} files`);
});
