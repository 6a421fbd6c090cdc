// Every file of a container's folder, damaged in every way: nothing that the engine does with the folder fails for it, what is read is
// what was written or nothing, and what is written again is whole.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { openDockerFolder } from '../../node-runtime/docker-folder.ts';
import type { Launch } from '../../node-runtime/engine.ts';

const files: Launch['files'] = [
  { path: 'configs/words/deep/a.txt', content: Buffer.from('some words that can be cut in half'), mode: 0o400 },
  { path: 'identity/key.pem', content: Buffer.from('a key that can be cut in half'), mode: 0o400 },
];
const said = [
  { at: 1, stream: 'stdout' as const, text: 'one' },
  { at: 2, stream: 'stderr' as const, text: 'two' },
];
const asked = { startedAt: '2026-01-01T00:00:00Z', signals: ['SIGTERM'] };

const damages: Record<string, (path: string) => Promise<void>> = {
  'cut in half': async (path) => await truncate(path, Math.floor((await stat(path)).size / 2)),
  emptied: (path) => truncate(path, 0),
  'a folder in its place': async (path) => {
    await rm(path, { recursive: true });
    await mkdir(join(path, 'inside'), { recursive: true });
  },
  'made of something else': (path) => writeFile(path, 'something else'),
  gone: (path) => rm(path, { recursive: true }),
};

async function fill(folder: ReturnType<typeof openDockerFolder>): Promise<void> {
  await folder.resetFiles(files);
  await folder.writeAsked(asked);
  await folder.writeSaid(said);
}

async function content(root: string): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(
    await Promise.all(paths.map(async (path) => [path, await readFile(path, 'utf8')] as const)),
  );
}

test('a damaged file of a container’s folder is read as none, and written whole again', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'selvedge-containers-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const folder = openDockerFolder(root, 'app.web.0');
  await fill(folder);
  const whole = await content(root);
  t.is(Object.keys(whole).length, 4);
  for (const path of Object.keys(whole)) {
    for (const [how, damage] of Object.entries(damages)) {
      await damage(path);
      const about = `${path.slice(root.length)} ${how}`;
      t.true([JSON.stringify(asked), undefined].includes(JSON.stringify(await folder.readAsked())), about);
      const lines = await folder.readSaid();
      t.deepEqual(lines, said.slice(0, lines.length), about);
      // As a running container gets them renewed, and as a new one gets them.
      await folder.layFiles(files);
      await fill(folder);
      t.deepEqual(await content(root), whole, about);
    }
  }
});

test('a file in the place of a folder is no obstacle either', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'selvedge-containers-'));
  t.teardown(() => rm(root, { recursive: true, force: true }));
  const folder = openDockerFolder(root, 'app.web.0');
  await fill(folder);
  const whole = await content(root);
  for (const path of ['', 'files', 'files/configs', 'files/configs/words/deep']) {
    await rm(join(root, 'app.web.0', path), { recursive: true });
    await writeFile(join(root, 'app.web.0', path), 'no folder');
    t.is(await (path === '' ? folder.readAsked() : undefined), undefined);
    await folder.layFiles(files);
    await fill(folder);
    t.deepEqual(await content(root), whole, path);
  }
});
