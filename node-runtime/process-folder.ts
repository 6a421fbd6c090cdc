// The folder of one process instance: where things lie, and reading and writing them. Called by the process engine's parts.
// It decides nothing, and starts and ends nobody.
//
//   <folder>/<instance>/            mode 0700; the workload's working directory unless its spec names another
//     stdout.log stderr.log         what it printed, with .1 for what was rotated away
//     configs/<name>/…              see file-mounts.ts
//     secrets                       link to a folder in memory, or a folder: see secret-folders.ts
//     identity/… and the like       files of the launch
//     run/launch.json               what was launched; written before the start
//     run/shim run/workload         who they are; written by the shim
//     run/exit                      how it ended; renamed into place by the shim
//     run/hosts run/resolvers/…     its /etc/hosts and /etc/resolv.conf
//     run/notice                    what the shim's shell said
//
// The records have a folder of their own because it is watched: output and the workload's own files must not wake anybody.

import { chmod, mkdir, open, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Exit, Launch } from './engine.ts';
import { DiskError } from './errors.ts';
import { LAUNCH_RECORD_BYTES_MAX } from './limits.ts';
import type { OwnNetwork } from './process-network.ts';
import { readEnd } from './process-shim.ts';
import { type ProcessIdentity, parseIdentity } from './process-table.ts';
import type { RunAs } from './process-user.ts';

/** launch.json */
export interface LaunchRecord {
  /** Different for each launch; in the workload's environment too. */
  launchId: string;
  instance: string;
  specHash: string;
  startedAt: number;
  boot: string;
  env: Record<string, string>;
  /** Paths of the files that came with it. */
  files: string[];
  /** Folders of its control groups; absent without limits. */
  groups?: string[];
  /** Absent when it runs as the daemon does. */
  runAs?: RunAs;
  /** Absent when it shares the network of the box. */
  network?: OwnNetwork;
}

/** Files that are laid side by side: the four threads of Node.js's pool do not get more done at once. */
const filesAtOnce = 8;

/** Whom a workload's files belong to, when that is not the daemon's user. */
export type Owner = Pick<RunAs, 'user' | 'group'>;

export interface InstanceFolder {
  readonly folder: string;
  readonly run: string;
  readonly hosts: string;
  readonly resolvers: string;
  readonly stdout: string;
  readonly stderr: string;
  readLaunch(): Promise<LaunchRecord | undefined>;
  writeLaunch(record: LaunchRecord): Promise<void>;
  readIdentity(who: 'shim' | 'workload'): Promise<ProcessIdentity | undefined>;
  /** What the shim wrote, or what `writeLost` did: then `lost` is true, and processes of the session may be left. */
  readExit(): Promise<(Exit & { lost: boolean }) | undefined>;
  /** The end of an instance whose shim could not write it: `at` is its last sign of life. */
  writeLost(): Promise<void>;
  /** The first line of what the shim's shell complained about. */
  readNotice(): Promise<string>;
  /** Makes the folder, and run/ empty: what is known of an earlier launch is forgotten. */
  reset(owner?: Owner): Promise<void>;
  /** Readable for all: the workload may become another user, and the folder around it is closed anyway. */
  writeHosts(text: string): Promise<void>;
  /** As readable as that, in a folder of its own. */
  writeResolvers(name: string, text: string): Promise<void>;
  /** In the same file, for a workload that has it mounted; nothing when it was launched without one. */
  overwriteHosts(text: string): Promise<void>;
  /** Whether it was launched with names of its own. */
  hasHosts(): Promise<boolean>;
  /** The files are their owner's; the folders that they are in stay root's, so that nobody can put a link in our way. */
  layFiles(files: Launch['files'], owner?: Owner): Promise<void>;
  removeFiles(paths: string[]): Promise<void>;
}

export function openInstanceFolder(root: string, instance: string): InstanceFolder {
  const folder = join(root, instance);
  const run = join(folder, 'run');
  const inRun = (name: string) => join(run, name);
  let temporaries = 0;

  /** Renamed into place, so that a reader never sees half of it. */
  async function replace(path: string, content: Uint8Array | string, mode: number, owner?: Owner): Promise<void> {
    const temporary = join(dirname(path), `.selvedge-${temporaries++}.tmp`);
    try {
      // The names are few, so that what killed daemons left is replaced. Not taken over: it may have another mode.
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', mode);
      try {
        await file.writeFile(content);
        // The mode given to open is cut by the umask.
        await file.chmod(mode);
        if (owner !== undefined) await file.chown(owner.user, owner.group);
      } finally {
        await file.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Each on the way, for a workload that is not their owner. */
  async function openFolders(paths: Iterable<string>): Promise<void> {
    const all = new Set<string>();
    for (const path of paths) for (let one = path; one !== '.'; one = dirname(one)) all.add(one);
    await Promise.all([...all].map((one) => chmod(join(folder, one), 0o755)));
  }

  return {
    folder,
    run,
    hosts: inRun('hosts'),
    resolvers: inRun('resolvers'),
    stdout: join(folder, 'stdout.log'),
    stderr: join(folder, 'stderr.log'),

    async readLaunch() {
      const text = await readText(inRun('launch.json'), LAUNCH_RECORD_BYTES_MAX);
      return text === undefined ? undefined : parseLaunch(text, instance);
    },
    writeLaunch: (record) => replace(inRun('launch.json'), JSON.stringify(record), 0o600),

    async readIdentity(who) {
      const text = await readText(inRun(who), 1_024);
      return text === undefined ? undefined : parseIdentity(text);
    },

    async readExit() {
      const found = await readStamped(inRun('exit'));
      if (found === undefined) return undefined;
      const { text, at } = found;
      const match = /^status=(\d{1,3})\ntold=(yes|no)\nend\n$/.exec(text);
      if (match === null) return { status: undefined, signal: undefined, at, lost: true };
      return { ...readEnd(Number(match[1]), match[2] === 'yes'), at, lost: false };
    },

    async writeLost() {
      const signs = ['run/launch.json', 'run/workload', 'stdout.log', 'stderr.log'];
      const times = await Promise.all(signs.map((name) => modifiedAt(join(folder, name))));
      const temporary = inRun('exit.lost');
      await writeFile(temporary, 'lost\n', { mode: 0o600 });
      await setModified(temporary, Math.max(...times));
      await rename(temporary, inRun('exit'));
    },

    async readNotice() {
      return ((await readText(inRun('notice'), 64 * 1024)) ?? '').split('\n')[0]?.slice(0, 200) ?? '';
    },

    async reset(owner) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      // The folder around it is closed to all, and shown to nobody but this instance.
      await chmod(folder, owner === undefined ? 0o700 : 0o755);
      await rm(run, { recursive: true, force: true });
      await mkdir(run, { recursive: true, mode: 0o700 });
    },

    writeHosts: (text) => replace(inRun('hosts'), text, 0o644),

    async writeResolvers(name, text) {
      await mkdir(inRun('resolvers'), { recursive: true });
      await chmod(inRun('resolvers'), 0o755);
      await replace(join(inRun('resolvers'), name), text, 0o644);
    },

    hasHosts: async () => (await readText(inRun('hosts'), 64 * 1024)) !== undefined,

    async overwriteHosts(text) {
      // The mount holds this very file: another one under its name would never be seen.
      if (!(await this.hasHosts())) return;
      await writeFile(inRun('hosts'), text, { flag: 'r+' });
      await truncate(inRun('hosts'), Buffer.byteLength(text));
    },

    async layFiles(files, owner) {
      const folders = new Set(files.map(({ path }) => dirname(path)));
      await Promise.all([...folders].map((one) => mkdir(join(folder, one), { recursive: true, mode: 0o700 })));
      if (owner !== undefined) await openFolders(folders);
      for (let first = 0; first < files.length; first += filesAtOnce) {
        const some = files.slice(first, first + filesAtOnce);
        await Promise.all(
          some.map(({ path, content, mode }) => replace(join(folder, path), content, mode & 0o777, owner)),
        );
      }
    },

    async removeFiles(paths) {
      for (const path of paths) await rm(join(folder, path), { force: true });
    },
  };
}

async function readText(path: string, bytesMax: number): Promise<string | undefined> {
  try {
    const bytes = await readFile(path);
    return bytes.byteLength > bytesMax ? '' : bytes.toString('utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A folder where a record belongs is none; the next launch clears it away.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined;
    throw new DiskError('read', path, error);
  }
}

/** Content and time of last change of one and the same file: by the time of a second look it may be another. */
async function readStamped(path: string): Promise<{ text: string; at: number } | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const stats = await file.stat();
      const { mtimeMs } = stats;
      if (stats.isDirectory()) return { text: '', at: Math.round(mtimeMs) };
      return { text: await file.readFile('utf8'), at: Math.round(mtimeMs) };
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DiskError('read', path, error);
  }
}

function parseLaunch(text: string, instance: string): LaunchRecord | undefined {
  try {
    const value = JSON.parse(text) as Partial<LaunchRecord>;
    const whole =
      value.instance === instance &&
      typeof value.launchId === 'string' &&
      typeof value.specHash === 'string' &&
      typeof value.startedAt === 'number' &&
      typeof value.boot === 'string' &&
      isTextRecord(value.env) &&
      Array.isArray(value.files) &&
      value.files.every((path) => typeof path === 'string') &&
      (value.groups ?? []).every((path) => typeof path === 'string') &&
      (value.runAs === undefined || isRunAs(value.runAs)) &&
      (value.network === undefined || isTextRecord(value.network));
    return whole ? (value as LaunchRecord) : undefined;
  } catch {
    return undefined;
  }
}

function isRunAs({ user, group, groups, home, folders, secrets }: Partial<RunAs>): boolean {
  return (
    [user, group].every(Number.isSafeInteger) &&
    typeof home === 'string' &&
    (groups?.every(Number.isSafeInteger) ?? false) &&
    (folders?.every((path) => typeof path === 'string') ?? false) &&
    (secrets === undefined || typeof secrets === 'string')
  );
}

function isTextRecord(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}

async function modifiedAt(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return 0;
  }
}

async function setModified(path: string, atMs: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.utimes(atMs / 1_000, atMs / 1_000);
  } finally {
    await file.close();
  }
}
