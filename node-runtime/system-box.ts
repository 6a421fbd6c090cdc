// The box that this daemon runs on: statfs, access and /proc. Called by the composition root. It changes nothing but a few descriptors
// that it holds back: when none is left they are let go, so that a status can still be asked for and a file still be opened.

import { closeSync, constants, openSync } from 'node:fs';
import { access, readdir, readFile, stat, statfs } from 'node:fs/promises';
import type { Box } from './box.ts';
import { descriptorsHeldBack } from './limits.ts';

/** A limit in `/proc/<pid>/limits`; undefined when it has no such line. */
export function openFilesMax(limits: string, kind: 'soft' | 'hard' = 'soft'): number | undefined {
  const [, soft, hard] = /^Max open files\s+(\S+)\s+(\S+)/m.exec(limits) ?? [];
  const value = kind === 'soft' ? soft : hard;
  if (value === undefined) return undefined;
  return value === 'unlimited' ? Number.POSITIVE_INFINITY : Number(value);
}

async function counted(): Promise<{ open: number; max: number }> {
  // One of them is the folder that is being read.
  const open = (await readdir('/proc/self/fd')).length - 1;
  return { open, max: openFilesMax(await readFile('/proc/self/limits', 'utf8')) ?? Number.POSITIVE_INFINITY };
}

/**
 * Whether ext4 refuses all writes since it found an error: from Linux 6.13 on the volume does not count as read-only then, and says so among
 * the options of its file system alone (proc_pid_mountinfo(5): behind the dash).
 */
export function isEmergencyReadOnly(mountinfo: string, device: number): boolean {
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  return mountinfo.split('\n').some((line) => {
    const [mount = '', fileSystem = ''] = line.split(' - ');
    if (mount.split(' ')[2] !== `${major}:${minor}`) return false;
    return fileSystem.split(' ').at(-1)?.split(',').includes('emergency_ro') === true;
  });
}

export function createSystemBox(dataFolder: string): Box {
  const held: number[] = [];

  function holdBack(): void {
    try {
      while (held.length < descriptorsHeldBack) held.push(openSync('/dev/null', 'r'));
    } catch {
      // Tried again at the next look.
    }
  }

  // Now, for low numbers: those are good for something also when the limit is set below what is open later.
  holdBack();

  return {
    dataFolder,
    async space() {
      const { bavail, blocks, bsize } = await statfs(dataFolder);
      return { bytesFree: bavail * bsize, bytes: blocks * bsize };
    },
    async checkWritable() {
      await access(dataFolder, constants.W_OK);
      const [{ dev }, mounts] = await Promise.all([stat(dataFolder), readFile('/proc/self/mountinfo', 'utf8')]);
      if (!isEmergencyReadOnly(mounts, dev)) return;
      throw Object.assign(new Error('EROFS: its file system found an error'), { code: 'EROFS' });
    },
    async descriptors() {
      let found: { open: number; max: number };
      try {
        found = await counted();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EMFILE' || held.length === 0) throw error;
        for (const descriptor of held.splice(0)) closeSync(descriptor);
        found = await counted();
      }
      // Those that were let go count as used: they are missing.
      const open = found.open - held.length + descriptorsHeldBack;
      if (open + descriptorsHeldBack < found.max) holdBack();
      return { open, max: found.max };
    },
  };
}
