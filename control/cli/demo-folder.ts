// The demo's folder, and the processes that belong to it. A process belongs to it when its arguments or its working folder name
// that folder, whose name is random: nobody else's process can be meant. Called by demo.ts and demo-teardown.ts.

import { mkdir, mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { UsageError } from './errors.ts';
import { plainReason } from './file-reasons.ts';
import { socketPathBytesMax } from './limits.ts';

export interface DemoFolder {
  path: string;
  /** `demo-<random>`. */
  fabricName: string;
  remove(): Promise<void>;
}

const longestSocket = join('selvedge-demo-xxxxxx', 'control', 'selvedge.sock');
const removeRetries = 5;

/** A fresh folder, mode 0700: in the temporary folder, or inside `given`, which is made when there is none. */
export async function makeDemoFolder(given: string | undefined): Promise<DemoFolder> {
  const parent = given ?? tmpdir();
  const tooLong = Buffer.byteLength(join(parent, longestSocket)) > socketPathBytesMax;
  if (tooLong && given !== undefined) {
    throw new UsageError(`the path of ${given} is too long for sockets below it`, {
      action: 'Choose a shorter one (--data).',
    });
  }
  try {
    if (given !== undefined) await mkdir(given, { recursive: true, mode: 0o700 });
    const path = await mkdtemp(join(tooLong ? '/tmp' : parent, 'selvedge-demo-'));
    const remove = async (): Promise<void> =>
      await rm(path, { recursive: true, force: true, maxRetries: removeRetries });
    const random = basename(path).slice('selvedge-demo-'.length);
    return { path, fabricName: `demo-${random.toLowerCase()}`, remove };
  } catch (error) {
    throw new UsageError(`cannot make a folder in ${parent}: ${plainReason(error)}`, {
      action: 'Choose another one with --data.',
      cause: error,
    });
  }
}

/** The processes that belong to the folder, without this one. Empty where there is no /proc. */
export async function processesOf(folder: string): Promise<number[]> {
  const names = await readdir('/proc').catch(() => []);
  const own = String(process.pid);
  const pids = names.filter((name) => /^\d+$/.test(name) && name !== own);
  const belong = await Promise.all(pids.map(async (pid) => await belongs(pid, folder)));
  return pids.filter((_, index) => belong[index]).map(Number);
}

async function belongs(pid: string, folder: string): Promise<boolean> {
  const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => '');
  if (`${workingFolder}/`.startsWith(`${folder}/`)) return true;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  // A program's argument, and not the text of some shell's or test's script that only mentions it.
  return commandLine.split('\0').some((argument) => argument.startsWith(`${folder}/`) || argument === folder);
}
