// The containers of this node, found by their instance's name. Called by docker-engine.ts and its parts. It looks and changes nothing.

import type { ContainerFacts, DockerClient } from './docker-client.ts';
import { containerName, exitOf, standingOf } from './docker-container.ts';
import { type DockerFolder, openDockerFolder } from './docker-folder.ts';
import { ownsLabels } from './docker-labels.ts';
import type { EngineOwner, Exit } from './engine.ts';
import { ContainerNameTakenError } from './errors.ts';
import { isInstanceName } from './launch-check.ts';

export interface DockerContainers {
  /** Undefined when there is none, or none was ever started. */
  find(instance: string): Promise<ContainerFacts | undefined>;
  /** The same with one that was never started. Throws ContainerNameTakenError for somebody else's. */
  look(instance: string): Promise<ContainerFacts | undefined>;
  exitOf(instance: string, facts: ContainerFacts): Promise<Exit>;
  folder(instance: string): DockerFolder;
}

export function createDockerContainers(dependencies: {
  /** Where the instances' folders are; absolute. */
  root: string;
  owner(): EngineOwner;
  docker(): DockerClient;
}): DockerContainers {
  const { root, owner: ownerNow, docker } = dependencies;

  async function look(instance: string): Promise<ContainerFacts | undefined> {
    const owner = ownerNow();
    const name = containerName(owner, instance);
    const facts = await docker().inspect(name);
    if (facts !== undefined && !ownsLabels(facts.Config.Labels, owner))
      throw new ContainerNameTakenError('container', name);
    return facts;
  }

  return {
    look,
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
