// The real Disk: the conformance body, and what only a file system has (modes, leftovers of a crash, refusals).

import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { DiskError } from '../../node-runtime/errors.ts';
import { createFileDisk } from '../../node-runtime/file-disk.ts';
import { testDisk } from '../conformance/disk.ts';

const run = promisify(execFile);

async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'selvedge-disk-'));
}

testDisk(test, 'file disk', async () => {
  const folder = await temporaryFolder();
  const data = join(folder, 'data');
  return {
    disk: createFileDisk(data),
    powerCycle: async () => createFileDisk(data),
    close: () => rm(folder, { recursive: true, force: true }),
  };
});

test('files have mode 0600 and folders 0700, also over what a crash left', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const data = join(folder, 'data');
  await mkdir(join(data, 'keys'), { recursive: true, mode: 0o700 });
  await writeFile(join(data, 'keys', '.node.key.tmp'), 'left by a crash', { mode: 0o644 });

  const disk = createFileDisk(data);
  await disk.write('keys/node.key', 'secret');
  await disk.append('ledger/deep/log', 'line');

  for (const path of ['keys/node.key', 'ledger/deep/log'])
    t.is((await stat(join(data, path))).mode & 0o777, 0o600, path);
  for (const path of ['ledger', 'ledger/deep']) t.is((await stat(join(data, path))).mode & 0o777, 0o700, path);
  t.deepEqual(await readdir(join(data, 'keys')), ['node.key']);
});

test('a temporary file that a crash left is not listed', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, '.plan.tmp'), 'half');
  t.deepEqual(await createFileDisk(folder).list(''), []);
});

test('who owns a folder removes what a killed process left in it, and not what it is writing itself', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await mkdir(join(folder, 'logs'));
  for (const name of ['.1-a.jsonl.tmp', '.2-b.jsonl.tmp', '.other', 'kept'])
    await writeFile(join(folder, 'logs', name), '');
  t.deepEqual(await createFileDisk(folder).list('logs'), ['.other', 'kept']);
  t.is((await readdir(join(folder, 'logs'))).length, 4);
  const disk = createFileDisk(folder, { owned: true });
  const writes = Array.from({ length: 20 }, (_, index) => disk.write(`logs/new-${index}`, 'x'.repeat(100_000)));
  const lists = Array.from({ length: 20 }, () => disk.list('logs'));
  await Promise.all([...writes, ...lists]);
  t.deepEqual((await readdir(join(folder, 'logs'))).length, 22);
});

test('a write that the file system refuses leaves the old content, and says what to do', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const disk = createFileDisk(folder);
  await disk.write('keys/node.key', 'old');
  // Root ignores modes, so what refuses here is a name: the temporary name of this one is longer than 255 bytes.
  const error = await t.throwsAsync(disk.write(`keys/${'n'.repeat(252)}`, 'x'), { instanceOf: DiskError });
  t.regex(error.message, /keys/);
  t.deepEqual(await readdir(join(folder, 'keys')), ['node.key']);

  await rm(join(folder, 'keys'), { recursive: true });
  await symlink('/proc/self/does-not-exist', join(folder, 'keys'));
  await t.throwsAsync(disk.write('keys/node.key', 'new'), { instanceOf: DiskError });
});

test('an ordinary user without rights gets an error that names the owner as the cure', async (t) => {
  const folder = await temporaryFolder();
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o500);
  // Root is refused nothing by file modes, so the child becomes somebody else once it has loaded the code.
  const script = `
    import { createFileDisk } from ${JSON.stringify(new URL('../../node-runtime/file-disk.ts', import.meta.url).href)};
    if (process.getuid() === 0) process.setuid(65534);
    const error = await createFileDisk(${JSON.stringify(folder)}).write('a', 'x').then(() => undefined, (error) => error);
    console.log(error?.name, error?.action);
  `;
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
  t.regex(stdout, /^DiskError .*chown/);
});
