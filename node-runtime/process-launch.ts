// One launch: the instance's folder, the shim, and the wait until the workload has said who it is. Called by
// process-engine.ts, one launch of an instance at a time. A launch that fails leaves nothing running and no record.

import type { ChildProcess } from 'node:child_process';
import { chown, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { faultOf } from '../control/level-faults.ts';
import { carryEnvironment } from './carried-environment.ts';
import { type Cgroups, dataBytes, makeGroups, removeGroups, withoutGroup } from './cgroups.ts';
import type { Clock } from './clock.ts';
import type { EngineInstance, Exit, Launch } from './engine.ts';
import { DiskError, InstanceRunningError, LaunchFailedError } from './errors.ts';
import type { MountAccess } from './file-mounts.ts';
import type { InstanceMounts } from './instance-mounts.ts';
import { volumeVariable, workloadEnvironment } from './launch-check.ts';
import { LAUNCH_RECORD_POLL_MS, LAUNCH_RECORD_WAIT_MS } from './limits.ts';
import { killAll } from './process-end.ts';
import type { InstanceFolder, LaunchRecord } from './process-folder.ts';
import type { ProcessLog } from './process-log.ts';
import { hostsFile, type Names } from './process-names.ts';
import { type NetworkTools, resolversPlace } from './process-network.ts';
import type { ProcessNetworks } from './process-networks.ts';
import { limitedCommand, type ShimTools, shimCommand } from './process-shim.ts';
import { spawnShim } from './process-spawn.ts';
import { LAUNCH_VARIABLE, readStanding, withMemory } from './process-standing.ts';
import { type ProcessTable, sendSignal } from './process-table.ts';
import type { ProcessUsers, RunAs } from './process-user.ts';
import type { ProcessWaits } from './process-wait.ts';
import { watchFolder } from './process-watch.ts';
import { checkSeen, checkWorkingDirectory } from './working-directory.ts';

/** Files of a workload are for whom it runs as; the folders that they are in stay the daemon's, and are shown to it alone. */
export function accessOf(runAs: RunAs | undefined): { configs: MountAccess; secrets: MountAccess } {
  const access: MountAccess =
    runAs === undefined
      ? { folderMode: 0o700, fileMode: 0o400 }
      : { folderMode: 0o755, fileMode: 0o400, owner: runAs.user };
  return { configs: access, secrets: access };
}

export interface ProcessLauncher {
  launch(launch: Launch): Promise<EngineInstance>;
}

export interface ProcessLauncherDependencies {
  clock: Clock;
  table: ProcessTable;
  tools: ShimTools;
  names: Names;
  cgroups: Cgroups;
  users: ProcessUsers;
  /** Absolute. */
  volumesFolder: string;
  nodeExecutableFolder: string;
  open(instance: string): InstanceFolder;
  logOf(instance: string): ProcessLog;
  mountsOf(instance: string): InstanceMounts;
  waits: ProcessWaits;
  /** Undefined where all programs share the network of the box. */
  networks: (ProcessNetworks & Pick<NetworkTools, 'wrap'>) | undefined;
}

export function createProcessLauncher(dependencies: ProcessLauncherDependencies): ProcessLauncher {
  const {
    clock,
    table,
    tools,
    names,
    cgroups,
    users,
    volumesFolder,
    nodeExecutableFolder,
    open,
    logOf,
    mountsOf,
    waits,
    networks,
  } = dependencies;
  let launches = 0;

  /** Where its volumes are, by the variables that tell it. */
  const volumesOf = ({ instance, spec }: Launch): Record<string, string> =>
    Object.fromEntries(
      (spec.volumes ?? []).map(({ name }) => [volumeVariable(name), join(volumesFolder, instance, name)]),
    );

  /** Made where they are not there yet; nobody but a person removes one. */
  async function makeVolumes(paths: Record<string, string>, runAs: RunAs | undefined): Promise<void> {
    for (const path of Object.values(paths)) {
      try {
        await mkdir(path, { recursive: true, mode: 0o700 });
        // The folder alone: what is in it may be linked from elsewhere.
        if (runAs !== undefined) await chown(path, runAs.user, runAs.group);
      } catch (error) {
        throw new DiskError('make the volume', path, error);
      }
    }
  }

  async function layResolvers(folder: InstanceFolder, record: LaunchRecord): Promise<void> {
    const [text, place] = [record.network && (await networks?.resolvers()), await resolversPlace()];
    if (record.network === undefined || text === undefined || place === undefined) return;
    await folder.writeResolvers(place.name, text);
    const resolvers = place.isFolder ? folder.resolvers : join(folder.resolvers, place.name);
    record.network = { ...record.network, resolvers, resolversOver: place.over };
  }

  async function prepare(
    folder: InstanceFolder,
    launch: Launch,
    record: LaunchRecord,
    oldFiles: string[],
  ): Promise<void> {
    try {
      await folder.reset(record.runAs);
      const mounts = mountsOf(launch.instance);
      if (record.runAs !== undefined && launch.mounts?.some(({ kind }) => kind === 'secrets')) {
        const secrets = await mounts.secretsFolder();
        if (dirname(secrets) !== folder.folder) record.runAs = { ...record.runAs, secrets };
      }
      await layResolvers(folder, record);
      await folder.removeFiles(oldFiles.filter((path) => !record.files.includes(path)));
      const hosts = launch.hosts.length > 0 ? hostsFile(launch.hosts).then(folder.writeHosts) : undefined;
      await Promise.all([
        folder.layFiles(launch.files, record.runAs),
        hosts,
        mounts.lay(launch.mounts ?? [], accessOf(record.runAs)),
      ]);
      await mounts.writeVariables(launch.secretEnv ?? {});
      // Last: it says that all of it is there.
      await folder.writeLaunch(record);
      // The first mark: what comes now came after it.
      await logOf(launch.instance).check();
    } catch (error) {
      throw new DiskError('prepare', folder.folder, error);
    }
  }

  async function begin(folder: InstanceFolder, launch: Launch, record: LaunchRecord): Promise<EngineInstance> {
    const { instance, spec } = launch;
    const hosts = launch.hosts.length > 0 ? folder.hosts : undefined;
    const wrap = (command: string[]) => {
      const limited = (one: string[]) => limitedCommand(tools, record.groups ?? [], dataBytes(cgroups, spec), one);
      if (record.network !== undefined && networks !== undefined)
        return networks.wrap(record.network, hosts, limited(command));
      return limited(hosts === undefined ? command : names.wrap(hosts, command));
    };
    const { runAs } = record;
    const workingDirectory = spec.workingDirectory ?? folder.folder;
    const processesMax = withoutGroup(cgroups, spec.resources).includes('pids') ? spec.resources?.pids : undefined;
    const command = spec.command ?? [];
    const environment = workloadEnvironment({ ...launch.secretEnv, ...record.env }, process.env, nodeExecutableFolder);
    const mark = { [LAUNCH_VARIABLE]: record.launchId };
    const carried = carryEnvironment(tools.shell, environment, mark);
    const own =
      runAs === undefined ? command : users.wrap(runAs, workingDirectory, processesMax, carried.unpack(command));
    const never = new AbortController().signal;
    const watch = watchFolder(folder.run, clock);
    let child: ChildProcess | undefined;
    let ended = false;
    let late = false;
    // A timer, not a comparison of times: a box without a clock of its own sets it by years after its start.
    const timer = clock.setTimeout(() => {
      late = true;
    }, LAUNCH_RECORD_WAIT_MS);
    try {
      child = await spawnShim({
        command: shimCommand(tools, folder.run, wrap, own),
        workingDirectory,
        env: runAs === undefined ? { ...environment, ...mark } : carried.env,
        stdout: folder.stdout,
        stderr: folder.stderr,
        onEnd: () => {
          ended = true;
          watch.wake();
          waits.notify(instance);
        },
      });
      for (;;) {
        // Before reading: what the shim wrote before its end is then read.
        const gone = ended;
        const [workload, exit] = await Promise.all([folder.readIdentity('workload'), folder.readExit()]);
        if (workload !== undefined || exit !== undefined) {
          const { status, signal, at } = exit ?? {};
          const ending = at === undefined ? undefined : await withMemory(record, { status, signal, at });
          return describeInstance(record, ending, workload?.pid);
        }
        if (gone) throw new LaunchFailedError(instance, (await folder.readNotice()) || 'its shim ended at once');
        if (late) throw new LaunchFailedError(instance, `it did not start within ${LAUNCH_RECORD_WAIT_MS} ms`);
        await watch.changed(LAUNCH_RECORD_POLL_MS, never);
      }
    } catch (error) {
      if (child?.pid !== undefined && !ended) sendSignal(-child.pid, 'SIGKILL');
      if (error instanceof LaunchFailedError) throw error;
      const fault = faultOf(error);
      const reason = fault === undefined ? (error as Error).message : `${fault.words}. ${fault.action(folder.folder)}`;
      throw new LaunchFailedError(instance, reason, { cause: error });
    } finally {
      clock.clearTimeout(timer);
      watch.close();
    }
  }

  return {
    async launch(launch) {
      const { instance, spec } = launch;
      const folder = open(instance);
      const before = await readStanding(folder, table, clock);
      if (before.kind === 'running') throw new InstanceRunningError(instance);
      await checkWorkingDirectory(instance, spec.workingDirectory);
      const volumes = volumesOf(launch);
      const named = spec.engine === 'process' ? spec.user : undefined;
      const runAs = await users.find(instance, named, [folder.folder, ...Object.values(volumes)]);
      if (runAs !== undefined)
        await checkSeen(instance, spec.workingDirectory, { hidden: users.hidden, shown: runAs.folders });
      // Of an earlier launch something may be left whose shim was killed.
      await killAll({ clock, table, folder, instance });
      if (before.kind === 'ended') waits.notify(instance, before);
      if (before.kind !== 'absent') {
        await removeGroups(before.launch.groups ?? []);
        // It may take its time: the next cable has another name.
        if (before.launch.network !== undefined) void networks?.cut(before.launch.network);
      }

      const startedAt = clock.now();
      const launchId = `${instance}.${startedAt.toString(36)}.${process.pid}.${launches++}`;
      const network = networks?.forLaunch(instance, launchId);
      networks?.tell(instance, launch.hosts);
      const groups = await makeGroups(cgroups, launchId, spec.resources).catch((error: unknown) => {
        throw new LaunchFailedError(instance, `its limits cannot be set: ${(error as Error).message}`, {
          cause: error,
        });
      });
      const record: LaunchRecord = {
        launchId,
        instance,
        specHash: launch.specHash,
        startedAt,
        boot: table.boot,
        env: { ...(runAs && { HOME: runAs.home }), ...volumes, ...spec.env, ...launch.env },
        files: launch.files.map(({ path }) => path),
        ...(groups.length > 0 && { groups }),
        ...(runAs && { runAs }),
        ...(network && { network }),
      };
      try {
        await makeVolumes(volumes, runAs);
        await prepare(folder, launch, record, before.kind === 'absent' ? [] : before.launch.files);
        return await begin(folder, launch, record);
      } catch (error) {
        await folder.reset().catch(() => undefined);
        await removeGroups(groups);
        throw error;
      }
    },
  };
}

/** What the engine tells about an instance. */
export function describeInstance(
  { instance, specHash, startedAt, env }: LaunchRecord,
  exit: Exit | undefined,
  pid: number | undefined,
): EngineInstance {
  return { instance, specHash, pid: exit === undefined ? pid : undefined, startedAt, env, exit };
}
