// Can the store be opened. A running daemon holds it, which is well. Otherwise it is opened through links in a temporary folder,
// so that LevelDB, which writes when it opens, changes nothing of the data folder.

import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPouchStore } from '../../control/pouch-store.ts';
import type { Clock } from '../clock.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

const id = 'store';

/** Of a LevelDB: tables, logs and manifests, which it only reads once they are there. Not LOCK, and not its own diary. */
const linked = /^(\d+\.(ldb|sst|log)|MANIFEST-\d+|CURRENT)$/;

/** The pid of whoever locked the file, from /proc/locks (proc(5)); undefined when nobody has. */
export function lockHolder(locks: string, inode: number): number | undefined {
  for (const line of locks.split('\n')) {
    const match = /^\d+: POSIX\s+\S+\s+WRITE (\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line);
    if (match !== null && Number(match[2]) === inode) return Number(match[1]);
  }
  return undefined;
}

export async function holderOf(folder: string): Promise<number | undefined> {
  try {
    const { ino } = await stat(join(folder, 'LOCK'));
    return lockHolder(await readFile('/proc/locks', 'utf8'), ino);
  } catch {
    return undefined;
  }
}

async function openCopy(folder: string, names: readonly string[], clock: Clock): Promise<void> {
  const copy = await mkdtemp(join(tmpdir(), 'selvedge-doctor-'));
  try {
    const store = join(copy, 'store');
    await mkdir(store);
    for (const name of names) if (linked.test(name)) await symlink(join(folder, name), join(store, name));
    const opened = await createPouchStore({ folder: store, clock });
    try {
      await (await opened.open('bulletin')).list('');
    } finally {
      await opened.close();
    }
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

export async function checkStore({ dataFolder, daemon, clock }: DoctorInput): Promise<Finding> {
  const folder = join(dataFolder, 'store');
  if (daemon.kind === 'answers') return ok(id, 'the running daemon has it open');
  const holder = await holderOf(folder);
  if (holder !== undefined) {
    const action = 'When it is a selvedge that starts, wait; when it hangs, end it: what it runs goes on.';
    return warn(id, `process ${holder} has it open, and no daemon answers`, action);
  }
  try {
    const names = await readdir(folder);
    await openCopy(folder, names, clock);
    return ok(id, 'can be opened');
  } catch (error) {
    const { code, message, action } = error as NodeJS.ErrnoException & { action?: string };
    if (code === 'ENOENT') return ok(id, 'there is none yet');
    return fail(
      id,
      message.replace(/\/\S*selvedge-doctor-\S+\/store/g, folder),
      (action ?? 'Look at the folder.').replace(/\/\S*selvedge-doctor-\S+\/store/g, folder),
    );
  }
}
