// Where the plain text of secrets lies on this box: in memory where it has a tmpfs (/run or /dev/shm), else in the instance's own folder,
// which is closed to others. A link in the instance's folder says where, so that the next daemon finds it. Called by the engines.
// It mounts nothing: what a daemon mounts, its successor need not see.

import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readlink, realpath, rename, rm, rmdir, statfs, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** statfs(2): TMPFS_MAGIC and RAMFS_MAGIC. */
const memoryTypes = new Set([0x01021994, 0x858458f6]);

export interface SecretFolders {
  /** The folder that `link` leads to; undefined when there is none. */
  find(link: string): Promise<string | undefined>;
  /** The same, made where it is not there yet: mode 0700, the daemon's user. */
  make(instance: string, link: string): Promise<string>;
  remove(link: string): Promise<void>;
  /** Removes folders of instances that this engine no longer has. */
  keepOnly(instances: ReadonlySet<string>): Promise<void>;
}

/** A folder of this user's alone in a file system that is memory; undefined where there is none. */
export async function findMemoryFolder(candidates = memoryCandidates()): Promise<string | undefined> {
  const user = process.getuid?.() ?? 0;
  for (const { folder, name } of candidates) {
    try {
      if (!memoryTypes.has((await statfs(folder)).type)) continue;
      const own = join(folder, name);
      await mkdir(own, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      });
      const facts = await lstat(own);
      // In /dev/shm anybody may have made it.
      if (facts.isDirectory() && facts.uid === user && (facts.mode & 0o077) === 0) return own;
    } catch {
      // The next one.
    }
  }
  return undefined;
}

export interface MemoryCandidate {
  folder: string;
  /** Of the folder in it that is ours. */
  name: string;
}

function memoryCandidates(): MemoryCandidate[] {
  const user = process.getuid?.() ?? 0;
  const shared = { folder: '/dev/shm', name: `selvedge-${user}` };
  if (user === 0) return [{ folder: '/run', name: 'selvedge' }, shared];
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return runtime === undefined || runtime === '' ? [shared] : [{ folder: runtime, name: 'selvedge' }, shared];
}

export function createSecretFolders({
  root,
  candidates,
}: {
  /** Of the engine's instances; two daemons on one box have different ones. */
  root: string;
  /** Tests only. */
  candidates?: MemoryCandidate[] | undefined;
}): SecretFolders {
  const key = async (): Promise<string> =>
    createHash('sha256')
      .update(await realpath(root))
      .digest('hex')
      .slice(0, 16);

  const find = async (link: string): Promise<string | undefined> => {
    const target = (await readlink(link).catch(() => undefined)) ?? link;
    const facts = await lstat(target).catch(() => undefined);
    return facts?.isDirectory() && facts.uid === (process.getuid?.() ?? 0) ? target : undefined;
  };

  /** Empty folders around it go too. */
  async function removeFolder(folder: string): Promise<void> {
    await rm(folder, { recursive: true, force: true });
    await rmdir(dirname(folder)).catch(() => undefined);
    await rmdir(dirname(dirname(folder))).catch(() => undefined);
  }

  return {
    find,
    async make(instance, link) {
      const found = await find(link);
      if (found !== undefined) return found;
      const memory = await findMemoryFolder(candidates);
      await rm(link, { recursive: true, force: true });
      if (memory === undefined) {
        await mkdir(link, { recursive: true, mode: 0o700 });
        return link;
      }
      const folder = join(memory, await key(), instance);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const temporary = `${link}.next`;
      await rm(temporary, { force: true });
      await symlink(folder, temporary);
      await rename(temporary, link);
      return folder;
    },
    async remove(link) {
      const target = await readlink(link).catch(() => undefined);
      if (target !== undefined) await removeFolder(target);
      await rm(link, { recursive: true, force: true });
    },
    async keepOnly(instances) {
      const memory = await findMemoryFolder(candidates);
      if (memory === undefined) return;
      const folder = join(memory, await key());
      for (const instance of await readdir(folder).catch(() => [])) {
        if (!instances.has(instance)) await removeFolder(join(folder, instance));
      }
      await rmdir(memory).catch(() => undefined);
    },
  };
}
