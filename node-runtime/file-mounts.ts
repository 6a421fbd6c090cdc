// Configs and secrets as files of an instance. All files of one switch together, as the field does it (Kubernetes' AtomicWriter):
//
//   <root>/<name>/..data -> ..Xa81Qz      renamed into place: that is the switch
//   <root>/<name>/..Xa81Qz/rooms/north.csv
//   <root>/<name>/rooms -> ..data/rooms   what a workload opens
//
// Called by the engines. What is the same already is left as it is, and what a workload wrote there itself is not touched.

import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from './clock.ts';
import type { FileMount } from './engine.ts';

export interface MountAccess {
  folderMode: number;
  fileMode: number;
  /** User whose the files are; the daemon's where nothing is said. Where that cannot be, they are readable for all inside. */
  owner?: number;
}

const current = '..data';
const next = '..next';

/** Who has followed the link when it switches, finds the version before it for so long. */
const readersMs = 100;

/** Brings `root` to these mounts: nothing is made where there are none. Resolves once the versions before them are gone. */
export async function layMounts(
  root: string,
  mounts: readonly Pick<FileMount, 'name' | 'files'>[],
  { access, clock }: { access: MountAccess; clock: Pick<Clock, 'sleep'> },
): Promise<void> {
  if (mounts.length > 0) await makeFolder(root, access);
  let switched = false;
  const old: string[] = [];
  for (const { name, files } of mounts) {
    const laid = await layMount(join(root, name), files, access);
    switched ||= laid.switched;
    old.push(...laid.old);
  }
  const names = new Set(mounts.map(({ name }) => name));
  for (const name of await entries(root)) {
    if (names.has(name) || (await linkOf(join(root, name, current))) === undefined) continue;
    old.push(join(root, name));
  }
  if (switched) await clock.sleep(readersMs);
  for (const path of old) await rm(path, { recursive: true, force: true });
}

async function layMount(
  folder: string,
  files: FileMount['files'],
  access: MountAccess,
): Promise<{ switched: boolean; old: string[] }> {
  await makeFolder(folder, access);
  const before = await linkOf(join(folder, current));
  let version = before ?? '';
  if (before === undefined || !(await holds(join(folder, before), files, access))) {
    version = await writeVersion(folder, files, access);
    await link(folder, version, current);
  }
  const tops = new Set(files.map(({ path }) => path.split('/')[0] as string));
  for (const top of tops) {
    const target = `${current}/${top}`;
    if ((await linkOf(join(folder, top))) !== target) await link(folder, target, top);
  }
  const old: string[] = [];
  for (const name of await entries(folder)) {
    const ours = name.startsWith('..') || (await linkOf(join(folder, name)))?.startsWith(`${current}/`);
    if (ours && name !== current && name !== version && !tops.has(name)) old.push(join(folder, name));
  }
  return { switched: before !== undefined && before !== version, old };
}

async function writeVersion(folder: string, files: FileMount['files'], access: MountAccess): Promise<string> {
  const version = await mkdtemp(`${folder}/..`);
  try {
    await chmod(version, access.folderMode);
    for (const { path, content } of files) {
      const whole = join(version, path);
      for (let inside = version; inside !== dirname(whole); ) {
        inside = join(inside, whole.slice(inside.length + 1).split('/')[0] as string);
        await makeFolder(inside, access);
      }
      const file = await open(whole, 'wx', access.fileMode);
      try {
        await file.writeFile(content);
        await file.chmod(access.fileMode);
      } finally {
        await file.close();
      }
      await give(whole, access);
    }
  } catch (error) {
    await rm(version, { recursive: true, force: true });
    throw error;
  }
  return basename(version);
}

async function give(file: string, { owner, fileMode }: MountAccess): Promise<void> {
  if (owner === undefined) return;
  try {
    await chown(file, owner, -1);
  } catch {
    // The folder around it is closed to everybody else on this box.
    await chmod(file, fileMode | 0o444);
  }
}

async function link(folder: string, target: string, name: string): Promise<void> {
  const [temporary, path] = [join(folder, next), join(folder, name)];
  await rm(temporary, { recursive: true, force: true });
  await symlink(target, temporary);
  // A folder of an older layout cannot be renamed over.
  if ((await lstat(path).catch(() => undefined))?.isDirectory()) await rm(path, { recursive: true, force: true });
  await rename(temporary, path);
}

async function makeFolder(folder: string, { folderMode }: MountAccess): Promise<void> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  await chmod(folder, folderMode);
}

const linkOf = (path: string): Promise<string | undefined> => readlink(path).catch(() => undefined);

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

/** Whether the folder has these files, and no others, for whom they are. */
async function holds(folder: string, files: FileMount['files'], { owner }: MountAccess): Promise<boolean> {
  const whose = process.getuid?.() === 0 ? owner : undefined;
  try {
    const there = await readdir(folder, { recursive: true, withFileTypes: true });
    if (there.filter((entry) => !entry.isDirectory()).length !== files.length) return false;
    for (const { path, content } of files) {
      if (!(await readFile(join(folder, path))).equals(content)) return false;
      if (whose !== undefined && (await lstat(join(folder, path))).uid !== whose) return false;
    }
    return true;
  } catch {
    return false;
  }
}
