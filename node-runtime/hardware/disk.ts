// The file system that holds the data folder, and the drives of the box, from `/sys/block`. What is free changes all the time and is not
// said: `selvedge doctor` looks at that. Called by read-hardware.ts.

import { statfs } from 'node:fs/promises';
import type { Drive } from '../../control/hardware.ts';
import { drivesMax } from '../../control/limits.ts';
import type { BoxFiles } from './box-files.ts';
import { lookedAtMax } from './limits.ts';

export async function readDisk(dataFolder: string): Promise<{ bytes: number } | undefined> {
  try {
    const { blocks, bsize } = await statfs(dataFolder);
    return { bytes: blocks * bsize };
  } catch {
    return undefined;
  }
}

/** Files and memory that look like drives. */
const notDrives = /^(loop|ram|zram|dm-|md|nbd|fd|sr)\d*/;

export async function readDrives(box: BoxFiles): Promise<Drive[]> {
  const drives: Drive[] = [];
  const names = (await box.names('/sys/block')).filter((name) => !notDrives.test(name) && /^[\w-]{1,32}$/.test(name));
  for (const name of names.slice(0, lookedAtMax)) {
    const at = `/sys/block/${name}`;
    // In units of 512 bytes, whatever the drive's own are.
    const bytes = Number((await box.text(`${at}/size`)) ?? 0) * 512;
    if (!Number.isSafeInteger(bytes) || bytes <= 0) continue;
    const model = await box.text(`${at}/device/model`);
    drives.push({
      name,
      bytes,
      removable: (await box.text(`${at}/removable`)) === '1',
      rotating: (await box.text(`${at}/queue/rotational`)) === '1',
      ...(model !== undefined && { model }),
    });
  }
  return drives.slice(0, drivesMax);
}
