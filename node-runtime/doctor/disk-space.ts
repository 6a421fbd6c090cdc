// Is there space for the store, logs and workloads, in bytes and in inodes.

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diskBytesFreeFail, diskBytesFreeWarn, inodesFreePartWarn } from '../limits.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

const id = 'disk-space';

export function judgeSpace(space: { bytesFree: number; inodesFree: number; inodes: number }): Finding {
  const { bytesFree, inodesFree, inodes } = space;
  const free = `${(bytesFree / 1e9).toFixed(1)} GB free`;
  const action =
    'Free space on the volume of the data folder (df -h, df -i), or move the data folder to another (--data).';
  if (bytesFree < diskBytesFreeFail) return fail(id, `${free}: too little to store a plan`, action);
  if (bytesFree < diskBytesFreeWarn) return warn(id, `${free}: logs and images may not fit`, action);
  // File systems without a table of inodes say 0.
  if (inodes > 0 && inodesFree < inodes * inodesFreePartWarn) return warn(id, `${inodesFree} inodes free`, action);
  return ok(id, free);
}

export async function checkDiskSpace({ dataFolder }: DoctorInput): Promise<Finding> {
  for (let folder = dataFolder; ; folder = dirname(folder)) {
    try {
      const { bavail, bsize, ffree, files } = await statfs(folder);
      return judgeSpace({ bytesFree: bavail * bsize, inodesFree: ffree, inodes: files });
    } catch (error) {
      // Not made yet: the volume is that of the folder above.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || folder === dirname(folder)) {
        return warn(
          id,
          `it cannot be found out: ${(error as Error).message}`,
          'Look at the volume of the data folder.',
        );
      }
    }
  }
}
