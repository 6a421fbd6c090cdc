// The listing of a data folder in which hostile workloads have written.

import { execFile } from 'node:child_process';
import { chmod, mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { folderListing } from '../../control/cli/folder-listing.ts';
import { temporaryFolder } from './cli-harness.ts';

const run = promisify(execFile);

test('attack: endless depth, many files, pipes and links of a workload leave the rest of the listing whole', async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(join(root, 'volumes/many'), { recursive: true });
  // Deeper than a path can be long: one tree at the end of another.
  const name = 'd'.repeat(200);
  const path = Array.from({ length: 12 }, () => name).join('/');
  await mkdir(join(root, 'volumes/deep', path), { recursive: true });
  await mkdir(join(root, 'volumes/other', path), { recursive: true });
  await rename(join(root, 'volumes/other'), join(root, 'volumes/deep', path, 'other'));
  // Node.js cannot remove it either.
  t.teardown(() => run('rm', ['-rf', root]));
  await Promise.all(Array.from({ length: 50 }, (_, at) => writeFile(join(root, 'volumes/many', `f${at}`), '')));
  await symlink('/', join(root, 'volumes/root'));
  await run('mkfifo', [join(root, 'volumes/pipe')]);
  await writeFile(join(root, 'membership.json'), '{}', { mode: 0o600 });
  await chmod(join(root, 'membership.json'), 0o600);
  const found = await folderListing(root, { filesMax: 1_000, folderFilesMax: 20 });
  const of = (path: string) => found.files.find((one) => one.path === path);
  t.like(of('membership.json'), { kind: 'file', mode: '600', bytes: 2 });
  t.like(of('volumes/root'), { kind: 'other' });
  t.like(of('volumes/pipe'), { kind: 'other' });
  t.is(found.files.filter(({ path }) => path.startsWith('volumes/many/')).length, 20);
  t.true(found.more);
  t.true(found.files.some(({ path }) => path.startsWith(`volumes/deep/${name}/`)));
  t.true(found.files.every(({ path }) => path.length <= 500));
  t.is((await folderListing(root, { filesMax: 3, folderFilesMax: 20 })).files.length, 3);
  const none = await folderListing(join(root, 'nosuch'), { filesMax: 3, folderFilesMax: 3 });
  t.deepEqual(none, { files: [], more: false, unread: [{ path: '', reason: 'ENOENT' }] });
});
