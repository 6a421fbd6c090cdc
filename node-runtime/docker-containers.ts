// The containers of this node, found by their instance's name. Called by docker-engine.ts and its parts. It looks and changes nothing.

import { join } from 'node:path';
import type { Clock } from './clock.ts';
import type { ContainerFacts, DockerClient } from './docker-client.ts';
import { containerName, exitOf, standingOf } from './docker-container.ts';
import { type DockerFolder, openDockerFolder } from './docker-folder.ts';
import { ownsLabels } from './docker-labels.ts';
import { fileInArchive, userNumber } from './docker-user.ts';
import type { EngineOwner, Exit, FileMount } from './engine.ts';
import { ContainerNameTakenError } from './errors.ts';
import { type InstanceMounts, openInstanceMounts } from './instance-mounts.ts';
import { isInstanceName } from './launch-check.ts';
import { DOCKER_PASSWD_BYTES_MAX } from './limits.ts';
import type { SecretFolders } from './secret-folders.ts';

export interface DockerContainers {
  /** Undefined when there is none, or none was ever started. */
  find(instance: string): Promise<ContainerFacts | undefined>;
  /** The same with one that was never started. Throws ContainerNameTakenError for somebody else's. */
  look(instance: string): Promise<ContainerFacts | undefined>;
  exitOf(instance: string, facts: ContainerFacts): Promise<Exit>;
  folder(instance: string): DockerFolder;
  /** Its configs and secrets on this box. */
  mounts(instance: string): InstanceMounts;
  /** Lays them down for whom the container runs as. It must have been made. */
  lay(instance: string, container: ContainerFacts, mounts: readonly FileMount[]): Promise<void>;
}

export function createDockerContainers(dependencies: {
  /** Where the instances' folders are; absolute. */
  root: string;
  owner(): EngineOwner;
  docker(): DockerClient;
  secretFolders: SecretFolders;
  clock: Clock;
}): DockerContainers {
  const { root, owner: ownerNow, docker, secretFolders, clock } = dependencies;

  async function look(instance: string): Promise<ContainerFacts | undefined> {
    const owner = ownerNow();
    const name = containerName(owner, instance);
    const facts = await docker().inspect(name);
    if (facts !== undefined && !ownsLabels(facts.Config.Labels, owner))
      throw new ContainerNameTakenError('container', name);
    return facts;
  }

  function mountsOf(instance: string): InstanceMounts {
    const folder = openDockerFolder(root, instance);
    const [configs, secretsLink] = [join(folder.files, 'configs'), folder.secrets];
    return openInstanceMounts({ instance, configs, secretsLink, folders: secretFolders, clock });
  }

  async function passwdOf(id: string): Promise<string | undefined> {
    const archive = await docker().archive(id, '/etc/passwd', DOCKER_PASSWD_BYTES_MAX);
    return archive && fileInArchive(archive)?.toString('utf8');
  }

  return {
    look,
    mounts: mountsOf,
    async lay(instance, { Id, Config }, mounts) {
      const needed = mounts.some(({ kind }) => kind === 'secrets');
      const owner = needed ? await userNumber(Config.User ?? '', () => passwdOf(Id)) : undefined;
      const secrets =
        owner === undefined ? { folderMode: 0o755, fileMode: 0o444 } : { folderMode: 0o755, fileMode: 0o400, owner };
      await mountsOf(instance).lay(mounts, { configs: { folderMode: 0o755, fileMode: 0o444 }, secrets });
    },
    // By its name, since the container of an instance has one.
    async find(instance) {
      if (!isInstanceName(instance)) return undefined;
      const facts = await look(instance);
      return facts === undefined || standingOf(facts) === 'created' ? undefined : facts;
    },
    exitOf: async (instance, facts) => exitOf(facts, await openDockerFolder(root, instance).readAsked()),
    folder: (instance) => openDockerFolder(root, instance),
  };
}
