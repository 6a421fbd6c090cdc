// What a failed operation of LevelDB means: did the box refuse it for now (no space, no descriptors), or are the files damaged. Called by
// level-gate.ts. LevelDB tells causes in its messages alone. Pure but for `checkRoom`, which writes and removes one small file.

import { randomUUID } from 'node:crypto';
import { open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { storeProbeBytes, storeReopenBytesFree } from './limits.ts';

interface Fault {
  /** As strerror(3) says it, which is what LevelDB prints. */
  pattern: RegExp;
  code: string;
  words: string;
  action: (folder: string) => string;
}

const makeRoom = (folder: string): string => `Make room on the volume of ${folder} (df -h, df -i, quota).`;

/** Refusals of the box that may pass without the store being the worse for it. */
const faults: readonly Fault[] = [
  { pattern: /no space left on device/i, code: 'ENOSPC', words: 'no space is left on its volume', action: makeRoom },
  { pattern: /quota exceeded/i, code: 'EDQUOT', words: 'the quota of its user is used up', action: makeRoom },
  {
    pattern: /read-only file ?system/i,
    code: 'EROFS',
    words: 'its volume is read-only',
    action: (folder) =>
      `Mount the volume of ${folder} for writing; one that went read-only by itself often has a failing disk (dmesg).`,
  },
  {
    pattern: /input\/output error|i\/o error/i,
    code: 'EIO',
    words: 'its disk fails',
    action: (folder) => `Check the disk of ${folder}: the kernel log says which sector or device failed (dmesg).`,
  },
  {
    pattern: /too many open files/i,
    code: 'EMFILE',
    words: 'no file can be opened any more',
    action: () => 'Raise the limit on open files of the daemon (LimitNOFILE of its unit, fs.file-max of the box).',
  },
];

/** By the words of the system or a Node error code; undefined for what is no passing refusal of the box. */
export function faultOf(error: unknown): Pick<Fault, 'code' | 'words' | 'action'> | undefined {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return faults.find((fault) => fault.code === code || fault.pattern.test(String(message ?? error)));
}

/** Rejects with why the store's folder cannot take what opening it again writes: its journal as a table, and more. */
export async function checkRoom(folder: string): Promise<void> {
  const journals = (await readdir(folder)).filter((name) => name.endsWith('.log'));
  const sizes = await Promise.all(journals.map(async (name) => (await stat(join(folder, name))).size));
  const { bavail, bsize } = await statfs(folder);
  const needed = storeReopenBytesFree + sizes.reduce((sum, size) => sum + size, 0);
  if (bavail * bsize < needed) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  // LevelDB leaves names that it does not know alone.
  const probe = join(folder, `probe-${randomUUID()}`);
  try {
    const file = await open(probe, 'wx', 0o600);
    try {
      await file.writeFile(Buffer.alloc(storeProbeBytes, 1));
      await file.sync();
    } finally {
      await file.close();
    }
  } finally {
    await rm(probe, { force: true });
  }
}
