// The Disk of a real box: one folder whose files survive a power cut. Called by whoever keeps keys, obeyed plans, tokens or
// the lease. It never leaves a half-written file under its own name, and never touches anything outside its folder.

import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Disk } from './disk.ts';
import { diskLine, diskPath, isTemporaryName, temporaryName } from './disk-path.ts';
import { DiskError } from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { DISK_FILE_BYTES_MAX } from './limits.ts';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/**
 * A disk over `folder`, which is made (mode 0700) at the first write. Operations on one path happen in call order.
 * `owned`: no other process writes here, so temporary files that a listing meets are those of a killed one, and are removed.
 * Rejects with DiskPathError for a path that is not acceptable, and DiskError for whatever the file system refuses.
 */
export function createFileDisk(folder: string, { owned = false }: { owned?: boolean } = {}): Disk {
  const root = resolve(folder);
  const queue = createKeyedQueue();
  /** Files whose last line is known to be whole. */
  const whole = new Set<string>();
  /** Temporary files of writes that are under way. */
  const writing = new Set<string>();

  async function guarded<T>(
    operation: string,
    path: string,
    run: (full: string) => Promise<T>,
    rootAllowed = false,
  ): Promise<T> {
    const full = join(root, ...diskPath(path, rootAllowed));
    return queue.run(full, async () => {
      try {
        return await run(full);
      } catch (error) {
        throw error instanceof DiskError ? error : new DiskError(operation, full, error);
      }
    });
  }

  return {
    read: (path) =>
      guarded('read', path, async (full) => {
        try {
          const { size } = await stat(full);
          if (size > DISK_FILE_BYTES_MAX) throw tooLarge('read', full);
          return new Uint8Array(await readFile(full));
        } catch (error) {
          if (isAbsent(error)) return undefined;
          throw error;
        }
      }),

    write: (path, content) =>
      guarded('write', path, async (full) => {
        const bytes = typeof content === 'string' ? Buffer.from(content) : content;
        if (bytes.byteLength > DISK_FILE_BYTES_MAX) throw tooLarge('write', full);
        const parent = dirname(full);
        const temporary = join(parent, temporaryName(full.slice(parent.length + 1)));
        writing.add(temporary);
        try {
          const file = await createTemporary(temporary);
          try {
            await file.writeFile(bytes);
            await file.sync();
          } finally {
            await file.close();
          }
          await rename(temporary, full);
        } finally {
          writing.delete(temporary);
        }
        await syncFolder(parent);
        whole.delete(full);
      }),

    append: async (path, line) => {
      const text = diskLine(path, line);
      await guarded('append', path, async (full) => {
        const parent = dirname(full);
        await makeFolder(parent);
        const file = await open(full, constants.O_RDWR | constants.O_APPEND | constants.O_CREAT, FILE_MODE);
        try {
          const { size } = await file.stat();
          if (size + Buffer.byteLength(text) > DISK_FILE_BYTES_MAX) throw tooLarge('append', full);
          // A power cut can leave half a line: without this newline the next good line would be lost in it.
          const torn = size > 0 && !whole.has(full) && !(await endsWithNewline(file, size));
          await file.writeFile(torn ? `\n${text}` : text);
          await file.sync();
          if (size === 0) await syncFolder(parent);
          whole.add(full);
        } catch (error) {
          whole.delete(full);
          throw error;
        } finally {
          await file.close();
        }
      });
    },

    list: (path) =>
      guarded(
        'list',
        path,
        async (full) => {
          try {
            const names = (await readdir(full)).sort();
            const left = names.filter((name) => isTemporaryName(name) && !writing.has(join(full, name)));
            // One that cannot be removed takes a little room and is in nobody's way.
            if (owned)
              await Promise.all(left.map((name) => rm(join(full, name), { force: true }).catch(() => undefined)));
            return names.filter((name) => !isTemporaryName(name));
          } catch (error) {
            if (isAbsent(error)) return [];
            throw error;
          }
        },
        true,
      ),

    remove: (path) =>
      guarded('remove', path, async (full) => {
        try {
          await rm(full, { recursive: true, force: true });
          await syncFolder(dirname(full));
        } catch (error) {
          if (!isAbsent(error)) throw error;
        }
        for (const known of whole) if (known === full || known.startsWith(`${full}/`)) whole.delete(known);
      }),
  };
}

/** Opens a new file. What is usual is tried first: the folder is there, and nothing was left by a crash. */
async function createTemporary(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  for (let tries = 0; ; tries++) {
    try {
      return await open(path, 'wx', FILE_MODE);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (tries >= 2 || (code !== 'ENOENT' && code !== 'EEXIST')) throw error;
      if (code === 'ENOENT') await makeFolder(dirname(path));
      // Not taken over: one that a crash left may have another mode.
      else await rm(path, { force: true });
    }
  }
}

function isAbsent(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function tooLarge(operation: string, path: string): DiskError {
  const cause = Object.assign(new Error(`it would be larger than ${DISK_FILE_BYTES_MAX} bytes`), { code: 'EFBIG' });
  return new DiskError(operation, path, cause);
}

async function endsWithNewline(file: Awaited<ReturnType<typeof open>>, size: number): Promise<boolean> {
  const last = Buffer.alloc(1);
  await file.read(last, 0, 1, size - 1);
  return last[0] === 0x0a;
}

/** Makes the folder and its missing parents, and syncs the parents of what was made: a new name is in its parent. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: FOLDER_MODE }).catch(async (error: unknown) => {
    // Node says ENOENT where nothing can be made, on a read-only volume: one folder alone is told the reason.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await mkdir(folder, { mode: FOLDER_MODE });
    return folder;
  });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
