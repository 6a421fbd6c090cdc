// A small volume of a test's own: a tmpfs in a mount namespace that only this test has, so that it can be full or read-only. Nothing is
// mounted on the box itself, and nothing is left: the volume ends with the process that holds the namespace.

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

export function smallDiskMissing(): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'mount namespaces do not work here';
  }
}

export interface SmallDisk {
  /** As this process sees it. */
  readonly folder: string;
  /** The same inside the namespace. */
  readonly inside: string;
  /** What comes before a command that is to run inside. */
  readonly enter: string[];
  /** Writes until nothing fits any more. */
  fill(): void;
  /** Removes what `fill` wrote. */
  makeRoom(): void;
  remount(mode: 'ro' | 'rw'): void;
}

export async function createSmallDisk(t: ExecutionContext, { bytes }: { bytes: number }): Promise<SmallDisk> {
  const inside = mkdtempSync(join(tmpdir(), 'selvedge-disk-'));
  const script = 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$2" && echo mounted && read -r end';
  const holder = spawn('unshare', ['-m', 'sh', '-c', script, 'sh', String(bytes), inside], { stdio: 'pipe' });
  const gone = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  t.teardown(async () => {
    holder.stdin.end('\n');
    await gone;
    rmdirSync(inside);
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve());
    holder.once('close', () => reject(new Error('the volume was not mounted')));
  });
  const enter = ['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, '--'];
  const folder = `/proc/${holder.pid}/root${inside}`;
  const filler = join(folder, `filler-${randomBytes(4).toString('hex')}`);
  return {
    folder,
    inside,
    enter,
    fill() {
      const file = openSync(filler, 'a');
      try {
        // By whole blocks first, then what is left of the last.
        for (const size of [1024 * 1024, 4096, 1]) {
          try {
            while (writeSync(file, Buffer.alloc(size, 7)) === size);
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
          }
        }
      } finally {
        closeSync(file);
      }
    },
    makeRoom: () => rmSync(filler, { force: true }),
    remount(mode) {
      const [file = '', ...words] = enter;
      execFileSync(file, [...words, 'mount', '-o', `remount,${mode}`, inside]);
    },
  };
}
