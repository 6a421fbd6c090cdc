// Where plain text of secrets would lie on this box: in memory or on its disk.

import { rmdir } from 'node:fs/promises';
import { findMemoryFolder } from '../secret-folders.ts';
import { type Finding, ok, warn } from './finding.ts';

const id = 'secrets';

export function judgeSecrets(folder: string | undefined): Finding {
  if (folder !== undefined) return ok(id, `secrets of workloads lie in memory, below ${folder}`);
  return warn(
    id,
    'secrets of workloads lie on the disk, in closed folders of the data folder: this user has no tmpfs',
    'Mount a tmpfs on /run or /dev/shm; an ordinary user also has one where XDG_RUNTIME_DIR is set.',
  );
}

export async function checkSecrets(): Promise<Finding> {
  const folder = await findMemoryFolder();
  // Made by the look; one that is in use stays.
  if (folder !== undefined) await rmdir(folder).catch(() => undefined);
  return judgeSecrets(folder);
}
