// What the engine of child processes needs before it can do anything: what this box allows (found out anew at each start), and what an
// earlier daemon left. Called by process-engine.ts alone. It launches and ends no instance.

import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Cgroups, detectCgroups } from './cgroups.ts';
import type { EngineOwner } from './engine.ts';
import { DiskError, EngineUnavailableError } from './errors.ts';
import type { ProcessEngineDependencies } from './process-engine.ts';
import { createProcessLauncher, type ProcessLauncher, type ProcessLauncherDependencies } from './process-launch.ts';
import type { ProcessLogs } from './process-logs.ts';
import { detectNames, type Names } from './process-names.ts';
import { detectNetworks, type NetworkTools, type OwnNetwork } from './process-network.ts';
import { createProcessNetworks, type ProcessNetworks } from './process-networks.ts';
import type { ShimTools } from './process-shim.ts';
import { readStanding } from './process-standing.ts';
import { createProcessTable, type ProcessTable } from './process-table.ts';
import { findCommand, findShimTools } from './process-tools.ts';
import { createProcessUsers, type ProcessUsers } from './process-user.ts';
import { createProcessWaits, type ProcessWaits } from './process-wait.ts';
import type { SecretFolders } from './secret-folders.ts';

export interface Started {
  table: ProcessTable;
  tools: ShimTools;
  names: Names;
  cgroups: Cgroups;
  users: ProcessUsers;
  /** Undefined where programs share the network of the box, for `networksReason`. */
  networks: (ProcessNetworks & NetworkTools) | undefined;
  networksReason: string;
  launcher: ProcessLauncher;
  waits: ProcessWaits;
  stopping: AbortController;
  maintenance: Promise<void>;
}

export interface ProcessStartDependencies
  extends Omit<ProcessEngineDependencies, 'folder' | 'volumesFolder' | 'nodeExecutableFolder' | 'logger'>,
    Pick<ProcessLauncherDependencies, 'volumesFolder' | 'nodeExecutableFolder' | 'open' | 'mountsOf'> {
  /** Absolute. */
  root: string;
  logs: ProcessLogs;
  folders: SecretFolders;
  /** Names of all that have a folder. */
  instancesOnDisk(): Promise<string[]>;
}

type Opened = Pick<ProcessStartDependencies, 'open' | 'clock'>;

/** The networks of what runs in one of its own. */
export async function networksOnDisk(
  instances: readonly string[],
  table: ProcessTable,
  { open, clock }: Opened,
): Promise<Map<string, OwnNetwork>> {
  const found = new Map<string, OwnNetwork>();
  for (const instance of instances) {
    const standing = await readStanding(open(instance), table, clock);
    if (standing.kind === 'running' && standing.launch.network !== undefined)
      found.set(instance, standing.launch.network);
  }
  return found;
}

async function findNetworks(
  { networks, root, clock }: ProcessStartDependencies,
  tools: ShimTools,
  owner: EngineOwner,
): Promise<Pick<Started, 'networks' | 'networksReason'>> {
  const none = (networksReason: string) => ({ networks: undefined, networksReason });
  if (networks === undefined) return none('it was not asked for');
  const found = await detectNetworks(root, tools, findCommand);
  if ('reason' in found) return none(found.reason);
  const made = createProcessNetworks({ ...networks, tools: found, clock, owner, folder: root });
  return { networks: { ...found, ...made }, networksReason: '' };
}

async function openRoot(root: string): Promise<void> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await access(root, constants.W_OK);
  } catch (error) {
    throw new DiskError('write to', root, error);
  }
}

export async function startProcesses(dependencies: ProcessStartDependencies, owner: EngineOwner): Promise<Started> {
  const { root, clock, logs, folders, open, trial = {}, instancesOnDisk } = dependencies;
  const { volumesFolder, nodeExecutableFolder, mountsOf } = dependencies;
  const table = await createProcessTable(trial.boot).catch((error: unknown) => {
    throw new EngineUnavailableError('there is no Linux /proc here', { cause: error });
  });
  await openRoot(root);
  const tools = await findShimTools(root, trial.shell);
  const [names, networking] = await Promise.all([
    detectNames(root, tools, findCommand),
    findNetworks(dependencies, tools, owner),
  ]);
  const { networks } = networking;
  const cgroups = await detectCgroups(root, trial.proc);
  const users = await createProcessUsers({
    ...{ tools, find: findCommand, folder: root, standard: dependencies.standardUser },
    hidden: resolve(dependencies.hiddenFolder ?? root),
    self: trial.self ?? { user: process.geteuid?.() ?? 0, group: process.getegid?.() ?? 0 },
  });
  const stopping = new AbortController();
  const known = await instancesOnDisk();
  for (const instance of known) await logs.of(instance).check();
  await folders.keepOnly(new Set(known));
  await networks?.start(await networksOnDisk(known, table, dependencies));
  const waits = createProcessWaits({ clock, table, open, stopping: stopping.signal });
  const launcher = createProcessLauncher({
    ...{ clock, table, tools, names, cgroups, users, networks, open, mountsOf, waits, logOf: logs.of },
    ...{ volumesFolder, nodeExecutableFolder },
  });
  const maintenance = logs.maintain(stopping.signal);
  return { table, tools, names, cgroups, users, ...networking, launcher, waits, stopping, maintenance };
}
