// Limits on what a process workload may use: a control group of its own, version 2 or 1, for each launch. Called by the process engine's
// parts and the doctor. It puts nobody into a group (the limits script of process-shim.ts does), and changes no group that it did not make.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Resources } from '../control/plan.ts';
import { memoryBytes } from '../control/quantity.ts';
import { NODE_RESERVED_BYTES } from './limits.ts';

export const controllers = ['memory', 'cpu', 'pids'] as const;
export type Controller = (typeof controllers)[number];

/** How the kernel wants a limit said. */
type Version = 1 | 2;

interface Parent {
  version: Version;
  folder: string;
}

export interface Cgroups {
  /** Where the groups of this engine are made; a controller that is missing here cannot be used. */
  parents: ReadonlyMap<Controller, Parent>;
  /** Why not all can be used; empty when they can. */
  reason: string;
}

/** Processor time is dealt out in periods of this, the kernel's own default. */
const periodUs = 100_000;
const message = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? (error as Error).message;

/**
 * Finds out by making a group for this engine. Version 2 lets no group hold both processes and limited groups, so there the groups are
 * children of the top one, as Docker makes its own; with version 1 they are below the daemon's.
 */
export async function detectCgroups(engineFolder: string, proc = '/proc/self'): Promise<Cgroups> {
  const parents = new Map<Controller, Parent>();
  const reasons = new Set<string>();
  const name = `selvedge-${createHash('sha256').update(engineFolder).digest('hex').slice(0, 12)}`;
  const mounts = (await readFile(join(proc, 'mounts'), 'utf8').catch(() => ''))
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2');
  for (const controller of controllers) {
    const first = mounts.find(
      ([, , type, options = '']) => type === 'cgroup' && options.split(',').includes(controller),
    );
    const [, top = '', type] = first ?? mounts.find(([, , kind]) => kind === 'cgroup2') ?? [];
    if (type === undefined) {
      reasons.add('no control groups are mounted');
      continue;
    }
    try {
      const version = type === 'cgroup2' ? 2 : 1;
      const above = version === 2 ? top : await ownFolder(proc, controller, top);
      if (version === 2) await passOn(above, controller);
      const folder = join(above, name);
      await mkdir(folder, { recursive: true });
      if (version === 2) await passOn(folder, controller);
      parents.set(controller, { version, folder });
    } catch (error) {
      reasons.add(`control groups cannot be made here (${message(error)})`);
    }
  }
  return { parents, reason: [...reasons].join('; ') };
}

/** Takes away what detection made; groups of workloads that run on keep it. */
export async function closeCgroups(cgroups: Cgroups | undefined): Promise<void> {
  const folders = [...(cgroups?.parents.values() ?? [])].map(({ folder }) => folder);
  await removeGroups([...new Set(folders)]);
}

/** The daemon's own group of a controller of version 1; in a container the mount may begin there already. */
async function ownFolder(proc: string, controller: Controller, top: string): Promise<string> {
  for (const line of (await readFile(join(proc, 'cgroup'), 'utf8')).split('\n')) {
    const [, names = '', ...path] = line.split(':');
    if (!names.split(',').includes(controller)) continue;
    const folder = join(top, path.join(':'));
    return await readdir(folder).then(
      () => folder,
      () => top,
    );
  }
  return top;
}

/** Lets the children of a version 2 group have limits of this kind. */
async function passOn(folder: string, controller: Controller): Promise<void> {
  const control = join(folder, 'cgroup.subtree_control');
  const has = (await readFile(control, 'utf8').catch(() => '')).split(/\s+/);
  if (!has.includes(controller)) await writeFile(control, `+${controller}`);
}

const limitOf = { memory: 'memory', cpu: 'cpus', pids: 'pids' } as const;

/** The limits that a launch asks for and that no group can hold here. */
export function withoutGroup(cgroups: Cgroups, resources: Resources = {}): Controller[] {
  return controllers.filter((one) => resources[limitOf[one]] !== undefined && !cgroups.parents.has(one));
}

function writesOf(controller: Controller, version: Version, resources: Resources): [file: string, value: string][] {
  if (controller === 'pids') return [['pids.max', `${resources.pids}`]];
  if (controller === 'cpu') {
    const quota = `${Math.round((resources.cpus ?? 0) * periodUs)}`;
    if (version === 2) return [['cpu.max', `${quota} ${periodUs}`]];
    return [
      ['cpu.cfs_period_us', `${periodUs}`],
      ['cpu.cfs_quota_us', quota],
    ];
  }
  const bytes = `${memoryBytes(resources.memory ?? '')}`;
  // With swap: a limit that swap stretches is none.
  if (version === 2)
    return [
      ['memory.swap.max', '0'],
      ['memory.max', bytes],
    ];
  return [
    ['memory.limit_in_bytes', bytes],
    ['memory.memsw.limit_in_bytes', bytes],
  ];
}

/** Not there where the kernel does not account swap. */
const optionalFiles = new Set(['memory.swap.max', 'memory.memsw.limit_in_bytes']);

/** Makes the groups of one launch and answers their folders; a failure leaves none. */
export async function makeGroups(cgroups: Cgroups, launchId: string, resources: Resources = {}): Promise<string[]> {
  const folders: string[] = [];
  try {
    for (const controller of controllers) {
      const parent = cgroups.parents.get(controller);
      if (parent === undefined || resources[limitOf[controller]] === undefined) continue;
      const folder = join(parent.folder, launchId);
      // Gone when the box has started anew, or somebody tidied up.
      await mkdir(folder, { recursive: true });
      await refuseWhenUsed(folder);
      if (!folders.includes(folder)) folders.push(folder);
      for (const [file, value] of writesOf(controller, parent.version, resources)) {
        await writeFile(join(folder, file), value, { flag: 'r+' }).catch((error: NodeJS.ErrnoException) => {
          if (!optionalFiles.has(file) || error.code !== 'ENOENT') throw error;
        });
      }
    }
    return folders;
  } catch (error) {
    await removeGroups(folders);
    throw error;
  }
}

/** Ours is empty until its launch: one with processes is a stranger's that has the name, and stays as it is. */
async function refuseWhenUsed(folder: string): Promise<void> {
  const inside = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  if (inside.trim() !== '') throw new Error(`the control group ${folder} has processes of somebody else`);
}

/** One that still holds a process stays, and costs a few kilobytes of the kernel until the box starts anew. */
export async function removeGroups(folders: readonly string[]): Promise<void> {
  for (const folder of folders) await rmdir(folder).catch(() => undefined);
}

/** Whether the kernel has ended a process of these groups at their memory limit. */
export async function ranOutOfMemory(folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    for (const file of ['memory.events', 'memory.oom_control']) {
      const text = await readFile(join(folder, file), 'utf8').catch(() => '');
      if (/^oom_kill [1-9]/m.test(text)) return true;
    }
  }
  return false;
}

/**
 * Where no group holds memory, the kernel can at least bound what each process may write to (RLIMIT_DATA): the bytes. Of Node.js that
 * counts what V8 only reserves, without which it does not start.
 */
export function dataBytes(cgroups: Cgroups, { resources = {}, command = [] }: Limited): number | undefined {
  const bytes = withoutGroup(cgroups, resources).includes('memory') ? memoryBytes(resources.memory ?? '') : undefined;
  return bytes === undefined || !command.some(namesNode) ? bytes : bytes + NODE_RESERVED_BYTES;
}

/** A word of a command, or of a script in it. */
const namesNode = (word: string): boolean => /(^|[\s;&|/])node($|[\s;])/.test(word);

/** As much of a specification as limits depend on. */
export type Limited = { resources?: Resources | undefined; command?: readonly string[] | undefined };

/** What is not held, for an operator to read. `ownUser`: it does not run as the daemon does. */
export function describeNotHeld(cgroups: Cgroups, limited: Limited, ownUser: boolean): string | undefined {
  const { resources = {}, command = [] } = limited;
  const missing = withoutGroup(cgroups, resources);
  if (missing.length === 0) return undefined;
  const said = missing.map((one) => {
    if (one === 'memory' && command.some(namesNode))
      return `memory is held for each process alone, ${NODE_RESERVED_BYTES / 1024 ** 2}Mi above the limit (Node.js reserves as much)`;
    if (one === 'memory') return 'memory is held for each process alone';
    return one === 'pids' && ownUser ? 'pids is held for all processes of its user' : `${limitOf[one]} is not held`;
  });
  return `${said.join(', ')}: ${cgroups.reason}`;
}
