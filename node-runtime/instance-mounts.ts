// What one instance has of configs and secrets on this box: files that switch together, and the variables that are secret. Called by the
// engines of processes and of containers. It never writes a secret anywhere but into the folder that secret-folders.ts gives.

import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from './clock.ts';
import type { FileMount } from './engine.ts';
import { layMounts, type MountAccess } from './file-mounts.ts';
import type { SecretFolders } from './secret-folders.ts';

export interface InstanceMounts {
  lay(mounts: readonly FileMount[], access: { configs: MountAccess; secrets: MountAccess }): Promise<void>;
  /** Makes the folder of secrets and resolves with it. */
  secretsFolder(): Promise<string>;
  /** What commands beside it are given too. */
  writeVariables(variables: Record<string, string>): Promise<void>;
  readVariables(): Promise<Record<string, string>>;
  removeSecrets(): Promise<void>;
}

/** No name of a Secret begins with a dot. */
const variablesFile = '.variables.json';

export function openInstanceMounts({
  instance,
  configs,
  secretsLink,
  folders,
  clock,
}: {
  instance: string;
  /** Folder of its configs. */
  configs: string;
  secretsLink: string;
  folders: SecretFolders;
  clock: Clock;
}): InstanceMounts {
  return {
    async lay(mounts, access) {
      const of = (kind: FileMount['kind']): FileMount[] => mounts.filter((mount) => mount.kind === kind);
      await layMounts(configs, of('configs'), { access: access.configs, clock });
      const secrets = of('secrets');
      const folder = secrets.length > 0 ? await folders.make(instance, secretsLink) : await folders.find(secretsLink);
      if (folder !== undefined) await layMounts(folder, secrets, { access: access.secrets, clock });
    },
    secretsFolder: () => folders.make(instance, secretsLink),
    async writeVariables(variables) {
      if (Object.keys(variables).length === 0) {
        const folder = await folders.find(secretsLink);
        if (folder !== undefined) await rm(join(folder, variablesFile), { force: true });
        return;
      }
      const folder = await folders.make(instance, secretsLink);
      const temporary = join(folder, `${variablesFile}.next`);
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', 0o400);
      try {
        await file.writeFile(JSON.stringify(variables));
      } finally {
        await file.close();
      }
      await rename(temporary, join(folder, variablesFile));
    },
    async readVariables() {
      const folder = await folders.find(secretsLink);
      if (folder === undefined) return {};
      try {
        return JSON.parse(await readFile(join(folder, variablesFile), 'utf8')) as Record<string, string>;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
        throw error;
      }
    },
    removeSecrets: () => folders.remove(secretsLink),
  };
}
