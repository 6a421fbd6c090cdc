// Ending an instance: first politely, then for certain. Called by process-engine.ts.
// It signals nobody whose start time and boot it has not just compared (process-standing.ts).

import type { Clock } from './clock.ts';
import type { Exit } from './engine.ts';
import { InstanceUnkillableError } from './errors.ts';
import { KILL_ROUND_MS, KILL_WAIT_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import { instanceMembers, readStanding, type Standing } from './process-standing.ts';
import { type ProcessTable, sendSignal } from './process-table.ts';

export interface EndDependencies {
  clock: Clock;
  table: ProcessTable;
  folder: InstanceFolder;
  instance: string;
}

/**
 * SIGTERM to the shim's process group, which is the workload's and its children's unless they made their own (the shim only
 * notes it), and to the workload's own group. Nobody gets it twice: to many programs a second one means "at once".
 */
export function askToEnd(standing: Standing & { kind: 'running' }): void {
  const groups = new Set<number>();
  if (standing.shim !== undefined) groups.add(standing.shim.pid);
  if (standing.workload !== undefined) groups.add(standing.workload.group);
  for (const group of groups) sendSignal(-group, 'SIGTERM');
}

/** SIGKILL to all but the shim until the instance has ended and nothing of it is left; the shim still writes the exit. */
export async function killAll(dependencies: EndDependencies): Promise<Exit | undefined> {
  const { clock, table, folder, instance } = dependencies;
  for (let waitedMs = 0; ; ) {
    const standing = await readStanding(folder, table, clock);
    const launchId = standing.kind === 'absent' ? undefined : standing.launch.launchId;
    // The shim has cleared its session before it wrote the exit.
    const cleared = standing.kind === 'ended' && !standing.lost;
    const members = cleared ? [] : await instanceMembers(folder, table, launchId);
    const shim = await folder.readIdentity('shim');
    const shimLives = shim !== undefined && (await table.alive(shim)) !== undefined;
    if (standing.kind !== 'running' && members.length === 0 && !shimLives) {
      return standing.kind === 'ended' ? standing.exit : undefined;
    }
    for (const member of members) sendSignal(member.pid, 'SIGKILL');
    if (waitedMs > KILL_WAIT_MS) {
      throw new InstanceUnkillableError(
        instance,
        members.map(({ pid }) => pid),
      );
    }
    // With nobody left to kill only the shim has to finish, which takes milliseconds.
    const roundMs = members.length === 0 ? KILL_ROUND_MS / 10 : KILL_ROUND_MS;
    await clock.sleep(roundMs);
    waitedMs += roundMs;
  }
}
