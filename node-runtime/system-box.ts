// The box that this daemon runs on: statfs, access and /proc. Called by the composition root. It changes nothing.

import { constants } from 'node:fs';
import { access, readdir, readFile, statfs } from 'node:fs/promises';
import type { Box } from './box.ts';

/** The soft limit in `/proc/<pid>/limits`; undefined when it has no such line. */
export function openFilesMax(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

export function createSystemBox(dataFolder: string): Box {
  return {
    dataFolder,
    async space() {
      const { bavail, blocks, bsize } = await statfs(dataFolder);
      return { bytesFree: bavail * bsize, bytes: blocks * bsize };
    },
    checkWritable: () => access(dataFolder, constants.W_OK),
    async descriptors() {
      // One of them is the folder that is being read.
      const open = (await readdir('/proc/self/fd')).length - 1;
      return { open, max: openFilesMax(await readFile('/proc/self/limits', 'utf8')) ?? Number.POSITIVE_INFINITY };
    },
  };
}
