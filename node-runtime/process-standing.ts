// How an instance stands, read from its folder and /proc each time: nothing is remembered, so what an earlier daemon left
// and what this one started are judged alike. Called by process-engine.ts and process-end.ts.

import { ranOutOfMemory } from './cgroups.ts';
import type { Clock } from './clock.ts';
import type { Exit } from './engine.ts';
import { LAUNCH_GRACE_MS, LAUNCH_RECORD_POLL_MS } from './limits.ts';
import type { InstanceFolder, LaunchRecord } from './process-folder.ts';
import type { ProcessStat, ProcessTable } from './process-table.ts';

/** In the environment of every process of a launch that did not clear it. */
export const LAUNCH_VARIABLE = 'SELVEDGE_LAUNCH';

export type Standing =
  | { kind: 'absent' }
  /** The daemon died before there was a shim: nothing of it ever ran. */
  | { kind: 'unbegun'; launch: LaunchRecord }
  /** `lost`: nobody knows how, and nobody has cleared its session. */
  | { kind: 'ended'; launch: LaunchRecord; exit: Exit; lost: boolean }
  | {
      kind: 'running';
      launch: LaunchRecord;
      /** Undefined when the shim was killed; the workload may live on without it. */
      shim: ProcessStat | undefined;
      workload: ProcessStat | undefined;
    };

/** `waited`: whoever asks has given a launch without a shim its time already; the wall clock, which may be set meanwhile, is not asked. */
export async function readStanding(
  folder: InstanceFolder,
  table: ProcessTable,
  clock: Clock,
  { waited } = { waited: false },
): Promise<Standing> {
  const launch = await folder.readLaunch();
  if (launch === undefined) return { kind: 'absent' };
  const exit = await folder.readExit();
  if (exit !== undefined) return endedWith(launch, exit, table.boot);

  const [shimIdentity, workloadIdentity] = await Promise.all([
    folder.readIdentity('shim'),
    folder.readIdentity('workload'),
  ]);
  const [shim, workload] = await Promise.all([
    shimIdentity === undefined ? undefined : table.alive(shimIdentity),
    workloadIdentity === undefined ? undefined : table.alive(workloadIdentity),
  ]);
  if (shim !== undefined || workload !== undefined) return { kind: 'running', launch, shim, workload };

  // The daemon may have died right after it started the shim, which then has not written down who it is yet.
  const ageMs = clock.now() - launch.startedAt;
  const young = !waited && launch.boot === table.boot && ageMs >= 0 && ageMs < LAUNCH_GRACE_MS;
  if (shimIdentity === undefined && young) return { kind: 'running', launch, shim, workload };

  // Once more: it may have ended between the first look and this one.
  const late = await folder.readExit();
  if (late !== undefined) return endedWith(launch, late, table.boot);
  if ((await folder.readLaunch())?.launchId !== launch.launchId) return readStanding(folder, table, clock);
  // What a shim wrote before the box went down may be lost with it.
  if (launch.boot === table.boot && shimIdentity === undefined) {
    // On a box that is busy beyond measure it may still be about to write.
    const slow = (await table.withVariable(LAUNCH_VARIABLE, launch.launchId)).length > 0;
    if (slow || (await folder.readIdentity('shim')) !== undefined) return { kind: 'running', launch, shim, workload };
    return { kind: 'unbegun', launch };
  }
  await folder.writeLost();
  const unknown = { status: undefined, signal: undefined, at: clock.now(), lost: true };
  return endedWith(launch, (await folder.readExit()) ?? unknown, table.boot);
}

async function endedWith(
  launch: LaunchRecord,
  { status, signal, at, lost }: Exit & { lost: boolean },
  boot: string,
): Promise<Standing> {
  // Nobody saw it end, and it began before this start of the box.
  if (lost && launch.boot !== boot)
    return { kind: 'ended', launch, exit: { status, signal, at, boxRestarted: true }, lost };
  return { kind: 'ended', launch, exit: await withMemory(launch, { status, signal, at }), lost };
}

/** The standing once the shim has said who the workload is, or that it ended; what there is after a while. */
export async function settled(
  read: (options: { waited: boolean }) => Promise<Standing>,
  clock: Clock,
): Promise<Standing> {
  for (let waitedMs = 0; ; waitedMs += LAUNCH_RECORD_POLL_MS) {
    const waited = waitedMs >= LAUNCH_GRACE_MS;
    const standing = await read({ waited });
    if (standing.kind !== 'running' || standing.workload !== undefined || waited) return standing;
    await clock.sleep(LAUNCH_RECORD_POLL_MS);
  }
}

/** The same exit, with what its groups tell. One that ended well outlived the process that memory ran out for. */
export async function withMemory({ groups = [] }: LaunchRecord, exit: Exit): Promise<Exit> {
  const killed = exit.signal === 'SIGKILL' || (exit.status !== undefined && exit.status !== 0);
  return killed && (await ranOutOfMemory(groups)) ? { ...exit, outOfMemory: true } : exit;
}

/**
 * The living processes of the instance without its shim: the shim's session, and the session that the workload made for
 * itself if it did. Whoever made another session and left (a daemon) is not found.
 *
 * A session's number may be used again once all of it is gone. So when neither shim nor workload vouches for it, a
 * process counts only if it has our variable in its environment.
 */
export async function instanceMembers(
  folder: InstanceFolder,
  table: ProcessTable,
  launchId: string | undefined,
): Promise<ProcessStat[]> {
  const [shim, recorded] = await Promise.all([folder.readIdentity('shim'), folder.readIdentity('workload')]);
  const shimStat = shim === undefined ? undefined : await table.alive(shim);
  const workload = recorded === undefined ? undefined : await table.alive(recorded);
  const members = new Map<number, ProcessStat>();

  if (shim !== undefined && shim.boot === table.boot) {
    const vouched = shimStat !== undefined || workload?.session === shim.pid;
    for (const member of await table.session(shim.pid)) {
      if (member.pid === shimStat?.pid) continue;
      const ours =
        vouched || (launchId !== undefined && (await table.hasVariable(member.pid, LAUNCH_VARIABLE, launchId)));
      if (ours) members.set(member.pid, member);
    }
  }
  if (workload !== undefined) {
    members.set(workload.pid, workload);
    if (workload.session === workload.pid)
      for (const member of await table.session(workload.pid)) members.set(member.pid, member);
  }
  return [...members.values()];
}
