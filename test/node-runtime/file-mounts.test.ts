// Files of configs and secrets in a real folder: that all of one switch together, for a reader who never stops looking, and what is left alone.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { fileInArchive, userNumber } from '../../node-runtime/docker-user.ts';
import { layMounts } from '../../node-runtime/file-mounts.ts';
import { openInstanceMounts } from '../../node-runtime/instance-mounts.ts';
import { createSecretFolders, findMemoryFolder } from '../../node-runtime/secret-folders.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { skip } from '../skip.ts';

const clock = createSystemClock();
const access = { folderMode: 0o700, fileMode: 0o400 };

const lay = (root: string, mounts: Parameters<typeof layMounts>[1], owner?: number): Promise<void> =>
  layMounts(root, mounts, { access: { ...access, ...(owner !== undefined && { owner }) }, clock });

async function folderOf(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-mounts-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const mount = (name: string, files: Record<string, string>) => ({
  name,
  files: Object.entries(files).map(([path, text]) => ({ path, content: Buffer.from(text) })),
});

test('files come, change and go; nothing of an older version is left', async (t) => {
  const root = join(await folderOf(t), 'configs');
  await lay(root, []);
  await t.throwsAsync(stat(root), { code: 'ENOENT' });
  await lay(root, [mount('a', { 'one.txt': '1', 'rooms/north.csv': 'n' }), mount('b', { x: 'x' })]);
  t.is(await readFile(join(root, 'a/one.txt'), 'utf8'), '1');
  t.is(await readFile(join(root, 'a/rooms/north.csv'), 'utf8'), 'n');
  t.is((await stat(join(root, 'a/one.txt'))).mode & 0o777, 0o400);
  t.is((await stat(join(root, 'a'))).mode & 0o777, 0o700);
  const before = await readlink(join(root, 'a/..data'));
  await lay(root, [mount('a', { 'one.txt': '1', 'rooms/north.csv': 'n' }), mount('b', { x: 'x' })]);
  t.is(await readlink(join(root, 'a/..data')), before, 'what is the same is not written again');
  await lay(root, [mount('a', { 'one.txt': '2', 'rooms/south.csv': 's' })]);
  t.is(await readFile(join(root, 'a/one.txt'), 'utf8'), '2');
  t.deepEqual(await readdir(join(root, 'a/rooms')), ['south.csv']);
  t.deepEqual(await readdir(root), ['a']);
  t.is(
    (await readdir(join(root, 'a'))).filter((name) => name.startsWith('..')).length,
    2,
    'the switch, and one version',
  );
});

test('what an older version of the program laid there is taken over, and what a workload wrote is left', async (t) => {
  const root = join(await folderOf(t), 'configs');
  await mkdir(join(root, 'a/rooms'), { recursive: true });
  await mkdir(join(root, 'own'));
  await writeFile(join(root, 'own/notes'), 'mine');
  await writeFile(join(root, 'a/one.txt'), 'old');
  await writeFile(join(root, 'a/rooms/north.csv'), 'old');
  await writeFile(join(root, 'a/cache'), 'mine');
  await lay(root, [mount('a', { 'one.txt': 'new', 'rooms/north.csv': 'new' })]);
  t.is(await readFile(join(root, 'a/one.txt'), 'utf8'), 'new');
  t.is(await readFile(join(root, 'a/rooms/north.csv'), 'utf8'), 'new');
  t.is(await readFile(join(root, 'a/cache'), 'utf8'), 'mine');
  t.is(await readFile(join(root, 'own/notes'), 'utf8'), 'mine');
});

const reader = `
const { readFileSync, realpathSync } = require('node:fs');
let looks = 0;
process.on('SIGTERM', () => { console.log(looks); process.exit(0); });
(function look() {
  for (let round = 0; round < 50; round += 1) {
    // Both of one version: what a program does that reads several files.
    let folder;
    try {
      folder = realpathSync(process.argv[1] + '/..data');
      const [one, other] = [readFileSync(folder + '/one', 'utf8'), readFileSync(folder + '/other', 'utf8')];
      if (one !== other) { console.log('torn', one, other); process.exit(1); }
      looks += 1;
    } catch (error) {
      // The version went while it was read: looking again finds the newer one.
      if (error.code !== 'ENOENT') throw error;
    }
    const now = readFileSync(process.argv[1] + '/one', 'utf8');
    if (!/^version [0-9]+$/.test(now)) { console.log('half', now); process.exit(1); }
  }
  setImmediate(look);
})();`;

test('a reader that never stops looking sees no file missing or half, and all of one version', async (t) => {
  const root = await folderOf(t);
  const version = (number: number) => mount('a', { one: `version ${number}`, other: `version ${number}` });
  await lay(root, [version(0)]);
  const child = spawn(process.execPath, ['-e', reader, join(root, 'a')], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (bytes) => {
    said += bytes;
  });
  const ended = once(child, 'exit');
  for (let number = 1; number <= 60; number += 1) await lay(root, [version(number)]);
  child.kill('SIGTERM');
  const [status] = await ended;
  t.is(status, 0, said);
  t.true(Number(said) > 0, said);
});

test('what cannot be written leaves the version that is there', async (t) => {
  const root = await folderOf(t);
  await lay(root, [mount('a', { one: '1' })]);
  const impossible = mount('a', { one: '2', [`deep/${'x'.repeat(300)}`]: '2' });
  await t.throwsAsync(lay(root, [impossible]));
  t.is(await readFile(join(root, 'a/one'), 'utf8'), '1');
  t.is((await readdir(join(root, 'a'))).length, 3);
});

test('secrets lie in memory, closed to others, where the next daemon finds them; nothing is left when they go', async (t) => {
  const root = await folderOf(t);
  const memory = await findMemoryFolder();
  if (memory === undefined) return skip(t, 'this box has no tmpfs for the user');
  const folders = createSecretFolders({ root });
  const link = join(root, 'app/secrets');
  await mkdir(join(root, 'app'));
  const mounts = openInstanceMounts({
    instance: 'app',
    configs: join(root, 'app/configs'),
    secretsLink: link,
    folders,
    clock,
  });
  const laid = { kind: 'secrets' as const, ...mount('db', { password: 'hunter2' }) };
  await mounts.lay([laid], { configs: access, secrets: access });
  await mounts.writeVariables({ PASSWORD: 'hunter2' });
  const folder = await readlink(link);
  t.true(folder.startsWith(memory), folder);
  t.is((await lstat(memory)).mode & 0o777, 0o700);
  t.is((await lstat(folder)).mode & 0o777, 0o700);
  t.is(await readFile(join(link, 'db/password'), 'utf8'), 'hunter2');
  t.is((await stat(join(link, 'db/password'))).mode & 0o777, 0o400);
  const next = createSecretFolders({ root });
  t.is(await next.find(link), folder);
  t.deepEqual(await mounts.readVariables(), { PASSWORD: 'hunter2' });
  await next.keepOnly(new Set(['app']));
  t.is(await readFile(join(link, 'db/password'), 'utf8'), 'hunter2');
  await mounts.removeSecrets();
  t.deepEqual(await mounts.readVariables(), {});
  await t.throwsAsync(lstat(folder), { code: 'ENOENT' });
  await t.throwsAsync(lstat(link), { code: 'ENOENT' });
  // Of an instance whose folder somebody removed by hand.
  const again = await next.make('gone', join(root, 'app/secrets'));
  await rm(join(root, 'app'), { recursive: true });
  await next.keepOnly(new Set());
  await t.throwsAsync(lstat(again), { code: 'ENOENT' });
});

test('without memory they lie in the instance’s folder, as closed; a folder that others can open is not used', async (t) => {
  const root = await folderOf(t);
  await mkdir(join(root, 'app'));
  await mkdir(join(root, 'shm/selvedge'), { recursive: true, mode: 0o777 });
  const candidates = [{ folder: join(root, 'shm'), name: 'selvedge' }];
  t.is(await findMemoryFolder(candidates), undefined, 'no tmpfs');
  const folders = createSecretFolders({ root, candidates });
  const folder = await folders.make('app', join(root, 'app/secrets'));
  t.is(folder, join(root, 'app/secrets'));
  t.is((await lstat(folder)).mode & 0o777, 0o700);
  await folders.remove(folder);
  await t.throwsAsync(lstat(folder), { code: 'ENOENT' });
  const name = `selvedge-test-${process.pid}`;
  const open = join('/dev/shm', name);
  const made = await mkdir(open, { mode: 0o777 }).then(
    () => true,
    () => false,
  );
  if (!made) return skip(t, 'there is no /dev/shm');
  t.teardown(() => rm(open, { recursive: true, force: true }));
  await chmod(open, 0o777);
  t.is(await findMemoryFolder([{ folder: '/dev/shm', name }]), undefined, 'others may look in');
  if (process.getuid?.() !== 0) return;
  await chmod(open, 0o700);
  await chown(open, 65_534, 65_534);
  t.is(await findMemoryFolder([{ folder: '/dev/shm', name }]), undefined, 'it is somebody else’s');
});

test('files belong to whom they are for', async (t) => {
  if (process.getuid?.() !== 0) return skip(t, 'only root gives files away');
  const root = await folderOf(t);
  await lay(root, [mount('db', { password: 'x' })], 1234);
  t.is((await stat(join(root, 'db/password'))).uid, 1234);
  await lay(root, [mount('db', { password: 'x' })], 4321);
  t.is((await stat(join(root, 'db/password'))).uid, 4321);
});

test('whose a container’s secrets are follows from its user, and from its passwd file for a name', async (t) => {
  const passwd = async () => 'root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/:/bin/false\nbad:x:no:1::/:\n';
  const cases: [string, number | undefined][] = [
    ['', 0],
    ['root', 0],
    ['1000', 1000],
    ['1000:1000', 1000],
    ['web', 101],
    ['web:www', 101],
    ['nobody', undefined],
    ['bad', undefined],
  ];
  for (const [user, uid] of cases) t.is(await userNumber(user, passwd), uid, user);
  t.is(await userNumber('root', () => Promise.reject(new Error('no such file'))), 0);
  t.is(await userNumber('web', async () => undefined), undefined);
  const root = await folderOf(t);
  await writeFile(join(root, 'passwd'), 'web:x:7:7::/:/bin/sh\n');
  const tar = spawn('tar', ['-C', root, '-cf', join(root, 'a.tar'), 'passwd'], { stdio: 'ignore' });
  await once(tar, 'exit');
  const archive = await readFile(join(root, 'a.tar'));
  t.is(fileInArchive(archive)?.toString(), 'web:x:7:7::/:/bin/sh\n');
  t.is(fileInArchive(archive.subarray(0, 500)), undefined);
  t.is(fileInArchive(Buffer.alloc(600)), undefined, 'an archive’s end');
});
