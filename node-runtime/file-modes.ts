// Who may read what this process writes. LevelDB takes no mode for its files, which hold delivered secrets: the daemon's umask closes all
// that it makes, and what it starts gets back the umask that the daemon was started with. Called by the daemon and by whoever spawns.

import { chmod, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const closed = 0o077;
let inherited: number | undefined;

/** From now on new files are for this user alone. Of a process, so it is never undone; again: nothing happens. */
export function closeNewFiles(): void {
  // A worker cannot, and shares what the main thread has set.
  if (isMainThread) inherited ??= process.umask(closed);
}

/** Runs a spawn, which forks before it returns. */
export function withInheritedMask<T>(spawn: () => T): T {
  if (inherited === undefined) return spawn();
  process.umask(inherited);
  try {
    return spawn();
  } finally {
    process.umask(closed);
  }
}

/** Files that an earlier version made readable for others. */
export async function closeOldFiles(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  await chmod(folder, 0o700).catch(() => undefined);
  await Promise.all(names.map((name) => chmod(join(folder, name), 0o600).catch(() => undefined)));
}
