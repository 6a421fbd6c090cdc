// A small volume of a test's own in a mount namespace that only this test has, so that it can be full, read-only, or fail: a tmpfs, or ext4
// in a file. Nothing is mounted on the box itself, and nothing is left: the volume ends with the process that holds the namespace.

import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
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
  /** The kernel refuses `ro` while anything is open for writing. */
  remount(mode: 'ro' | 'rw'): void;
  /** Read-only for whatever is opened from now on, by a mount over it; what is open for writing stays so. */
  cover(): void;
  uncover(): void;
}

/** A volume on a file system that can break, as one does on a failing disk. */
export interface FailingDisk extends Omit<SmallDisk, 'remount' | 'cover' | 'uncover'> {
  /**
   * The file system finds an error: from now on it is read-only for everybody, also through what is open, until it is mended. What was
   * written before has reached the disk; of the last seconds that could be said no more than after a power cut.
   */
  fail(): void;
  /** As after a repair: what was synced is there, and can be written. What holds the broken one goes on holding that. */
  mend(): void;
}

export function failingDiskMissing(): string | undefined {
  const missing = smallDiskMissing();
  if (missing !== undefined) return missing;
  if (!existsSync('/dev/loop-control')) return 'there are no loop devices here';
  // It was not made: the kernel has no ext4.
  if (!existsSync('/sys/fs/ext4')) return 'the kernel has no ext4';
  return undefined;
}

interface Held {
  folder: string;
  inside: string;
  enter: string[];
  /** Runs a command inside, and answers what it printed. */
  run(...words: string[]): string;
  fill(): void;
  makeRoom(): void;
}

/** A process that holds a mount namespace, with a volume that `mount` made at its first argument. */
async function hold(t: ExecutionContext, mount: string, ...words: string[]): Promise<Held> {
  const inside = mkdtempSync(join(tmpdir(), 'selvedge-disk-'));
  const script = `${mount} && echo mounted && read -r end`;
  const holder = spawn('unshare', ['-m', 'sh', '-c', script, 'sh', inside, ...words], { stdio: 'pipe' });
  const gone = new Promise<void>((resolve) => holder.once('close', () => resolve()));
  t.teardown(async () => {
    holder.stdin.end('\n');
    await gone;
    rmdirSync(inside);
  });
  let said = '';
  holder.stderr.on('data', (bytes) => {
    said += bytes;
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve());
    holder.once('close', () => reject(new Error(`the volume was not mounted: ${said}`)));
  });
  const enter = ['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, '--'];
  const folder = `/proc/${holder.pid}/root${inside}`;
  const filler = join(folder, `filler-${randomBytes(4).toString('hex')}`);
  return {
    folder,
    inside,
    enter,
    run(...command) {
      const [file = '', ...rest] = [...enter, ...command];
      return execFileSync(file, rest, { encoding: 'utf8' });
    },
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
  };
}

export async function createSmallDisk(t: ExecutionContext, { bytes }: { bytes: number }): Promise<SmallDisk> {
  const held = await hold(t, 'mount -t tmpfs -o size="$2",mode=700 tmpfs "$1"', String(bytes));
  const { inside, run } = held;
  return {
    ...held,
    remount: (mode) => void run('mount', '-o', `remount,${mode}`, inside),
    cover() {
      run('mount', '--bind', inside, inside);
      run('mount', '-o', 'remount,bind,ro', inside);
    },
    uncover: () => void run('umount', inside),
  };
}

export async function createFailingDisk(t: ExecutionContext, { bytes }: { bytes: number }): Promise<FailingDisk> {
  const images = mkdtempSync(join(tmpdir(), 'selvedge-image-'));
  let image = join(images, '0');
  writeFileSync(image, '');
  truncateSync(image, bytes);
  execFileSync('mkfs.ext4', ['-q', '-m', '0', image]);
  const held = await hold(t, 'mount -o loop,errors=remount-ro "$2" "$1" && chmod 700 "$1"', image);
  const { inside, run } = held;
  t.teardown(() => rmSync(images, { recursive: true, force: true }));
  let mended = 0;
  return {
    ...held,
    fail() {
      run('sync', '--file-system', inside);
      const device = run('findmnt', '--noheadings', '--output', 'SOURCE', '--mountpoint', inside).trim();
      writeFileSync(`/sys/fs/ext4/${device.slice('/dev/'.length)}/trigger_fs_error`, '1');
    },
    mend() {
      const next = join(images, String(++mended));
      // What is open on the broken one keeps it: a copy of the image has another device.
      run('umount', '--lazy', inside);
      copyFileSync(image, next);
      image = next;
      run('mount', '-o', 'loop,errors=remount-ro', image, inside);
    },
  };
}
