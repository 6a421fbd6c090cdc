// The Disk of the simulation: files in memory, with power cuts. Called by scenarios and tests; test/conformance/disk.ts holds
// it against file-disk.ts. Whatever resolved has been fsynced, so `crash` never loses it.

import type { Disk } from '../node-runtime/disk.ts';
import { diskLine, diskPath } from '../node-runtime/disk-path.ts';
import { DiskError } from '../node-runtime/errors.ts';
import { createKeyedQueue } from '../node-runtime/keyed-queue.ts';
import { DISK_FILE_BYTES_MAX } from '../node-runtime/limits.ts';

/** What is on the disk at one moment; later writes do not change it. */
export type DiskSnapshot = ReadonlyMap<string, Uint8Array>;

export interface SimDisk extends Disk {
  /** A power cut: operations that have not resolved fail and are not on the disk; everything else is. */
  crash(): void;
  snapshot(): DiskSnapshot;
  /** Puts an earlier content back, as a restored backup or an exchanged card does. */
  restore(snapshot: DiskSnapshot): void;
}

export function createSimDisk(): SimDisk {
  let files = new Map<string, Uint8Array>();
  let power = 0;
  const queue = createKeyedQueue();

  async function guarded<T>(operation: string, path: string, run: (key: string) => T, rootAllowed = false): Promise<T> {
    const key = diskPath(path, rootAllowed).join('/');
    const poweredBy = power;
    return queue.run(key, async () => {
      // The moment of the fsync: a crash before it finds nothing on the disk.
      await Promise.resolve();
      if (power !== poweredBy) throw failure(operation, path, 'EIO', 'the power was cut');
      return run(key);
    });
  }

  function put(operation: string, key: string, content: Uint8Array): void {
    if (content.byteLength > DISK_FILE_BYTES_MAX) throw failure(operation, key, 'EFBIG', 'the file would be too large');
    const segments = key.split('/');
    for (let depth = 1; depth < segments.length; depth++) {
      if (files.has(segments.slice(0, depth).join('/')))
        throw failure(operation, key, 'ENOTDIR', 'a file is in the way');
    }
    if (isFolder(key)) throw failure(operation, key, 'EISDIR', 'it is a folder');
    files.set(key, content);
  }

  const isFolder = (key: string) => [...files.keys()].some((name) => name.startsWith(`${key}/`));

  return {
    read: (path) =>
      guarded('read', path, (key) => {
        if (isFolder(key)) throw failure('read', path, 'EISDIR', 'it is a folder');
        return files.get(key)?.slice();
      }),
    write: (path, content) => {
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content.slice();
      return guarded('write', path, (key) => put('write', key, bytes));
    },
    append: async (path, line) => {
      const added = new TextEncoder().encode(diskLine(path, line));
      await guarded('append', path, (key) => {
        const before = files.get(key) ?? new Uint8Array();
        const torn = before.byteLength > 0 && before.at(-1) !== 0x0a;
        put('append', key, Uint8Array.from([...before, ...(torn ? [0x0a] : []), ...added]));
      });
    },
    list: (path) =>
      guarded(
        'list',
        path,
        (key) => {
          const prefix = key === '' ? '' : `${key}/`;
          const names = [...files.keys()].filter((name) => name.startsWith(prefix));
          return [...new Set(names.map((name) => name.slice(prefix.length).split('/')[0] as string))].sort();
        },
        true,
      ),
    remove: (path) =>
      guarded('remove', path, (key) => {
        for (const name of [...files.keys()]) if (name === key || name.startsWith(`${key}/`)) files.delete(name);
      }),
    crash() {
      power++;
    },
    snapshot: () => new Map([...files].map(([name, content]) => [name, content.slice()])),
    restore(snapshot) {
      files = new Map([...snapshot].map(([name, content]) => [name, content.slice()]));
    },
  };
}

function failure(operation: string, path: string, code: string, message: string): DiskError {
  return new DiskError(operation, path, Object.assign(new Error(message), { code }));
}
