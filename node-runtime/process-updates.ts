// What an instance of a program is given while it is there: files, configs and secrets, names. Called by process-engine.ts, one thing at a
// time for each instance. It starts and ends nothing.

import type { Engine } from './engine.ts';
import { DiskError, InstanceUnknownError } from './errors.ts';
import type { InstanceMounts } from './instance-mounts.ts';
import type { KeyedQueue } from './keyed-queue.ts';
import { checkFiles, checkMounts } from './launch-check.ts';
import type { InstanceFolder } from './process-folder.ts';
import { accessOf } from './process-launch.ts';
import { hostsFile } from './process-names.ts';
import type { Standing } from './process-standing.ts';
import type { Started } from './process-start.ts';

export interface ProcessUpdatesDependencies {
  queue: KeyedQueue;
  /** Throws EngineStoppedError when the engine does not run. */
  running(): Started;
  open(instance: string): InstanceFolder;
  mountsOf(instance: string): InstanceMounts;
  standingOf(instance: string): Promise<Standing>;
}

export type ProcessUpdates = Pick<Engine, 'writeFiles' | 'writeMounts' | 'writeHosts'>;

export function createProcessUpdates(dependencies: ProcessUpdatesDependencies): ProcessUpdates {
  const { queue, running, open, mountsOf, standingOf } = dependencies;

  /** `what` is said when it cannot be written. */
  function update(
    instance: string,
    what: string,
    write: (folder: InstanceFolder, launch: Exclude<Standing, { kind: 'absent' }>['launch']) => Promise<void>,
  ): Promise<void> {
    return queue.run(instance, async () => {
      const standing = await standingOf(instance);
      if (standing.kind === 'absent') throw new InstanceUnknownError(instance);
      const folder = open(instance);
      try {
        await write(folder, standing.launch);
      } catch (error) {
        throw new DiskError(`write ${what} of`, folder.folder, error);
      }
    });
  }

  return {
    async writeFiles(instance, files) {
      running();
      checkFiles(instance, files);
      await update(instance, 'files', async (folder, launch) => {
        await folder.layFiles(files, launch.runAs);
        const all = [...new Set([...launch.files, ...files.map(({ path }) => path)])];
        if (all.length > launch.files.length) await folder.writeLaunch({ ...launch, files: all });
      });
    },

    async writeMounts(instance, mounts) {
      running();
      checkMounts(instance, mounts);
      await update(instance, 'configs and secrets', (_folder, launch) =>
        mountsOf(instance).lay(mounts, accessOf(launch.runAs)),
      );
    },

    async writeHosts(instance, hosts) {
      const { networks } = running();
      await update(instance, 'names', async (folder) => {
        networks?.tell(instance, hosts);
        await folder.overwriteHosts(await hostsFile(hosts));
      });
    },
  };
}
