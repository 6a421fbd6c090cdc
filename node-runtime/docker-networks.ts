// The networks of this node's containers, one for each application: made when its first container needs it, gone with its last
// instance, found again by their labels. Called by docker-engine.ts. One change at a time; docker-network.ts gives the addresses.

import type { DockerClient } from './docker-client.ts';
import { ownerLabels } from './docker-labels.ts';
import { type DockerNetwork, makeDockerNetwork, networkName, readDockerNetwork } from './docker-network.ts';
import type { EngineOwner } from './engine.ts';
import { DockerRefusedError, DockerUnavailableError, TooManyNetworksError } from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { DOCKER_NETWORKS_MAX } from './limits.ts';

export interface DockerNetworks {
  /** After each connection: those that this engine has; what instances have on them is kept. */
  find(docker: DockerClient, owner: EngineOwner): Promise<DockerNetwork[]>;
  /** Where the instance is. */
  of(instance: string): DockerNetwork | undefined;
  /** The one that an earlier version made for all applications. */
  isFormer(network: DockerNetwork): boolean;
  /** The network that it has, or its application's, with an address on it. Throws TooManyNetworksError or NoFreeRangeError. */
  join(instance: string): Promise<DockerNetwork>;
  /** Resolves with the address that it had; a network on which nobody is left goes too. */
  leave(instance: string): Promise<string | undefined>;
  removeAll(docker: DockerClient): Promise<void>;
}

/** `<project>.<application>` */
const applicationOf = (instance: string): string => instance.split('.').slice(0, 2).join('.');

export function createDockerNetworks(dependencies: {
  docker(): DockerClient;
  owner(): EngineOwner;
  range: string;
  /** The network with that gateway is gone. */
  onGone(gateway: string): Promise<void>;
}): DockerNetworks {
  const { docker: connected, owner: ownerNow, range, onGone } = dependencies;
  const queue = createKeyedQueue();
  const byName = new Map<string, DockerNetwork>();
  const all = (): DockerNetwork[] => [...byName.values()];
  const of = (instance: string): DockerNetwork | undefined => all().find((one) => one.has(instance));

  async function remove(docker: () => DockerClient, { name, gateway }: DockerNetwork): Promise<void> {
    try {
      await docker().removeNetwork(name);
    } catch (error) {
      // Somebody else's container is on it, one of ours is just going, or Docker is away: the next one that leaves tries again.
      if (error instanceof DockerRefusedError || error instanceof DockerUnavailableError) return;
      throw error;
    }
    byName.delete(name);
    await onGone(gateway);
  }

  async function networkFor(instance: string): Promise<DockerNetwork> {
    const owner = ownerNow();
    const name = networkName(owner, applicationOf(instance));
    const found = byName.get(name);
    if (found !== undefined) return found;
    if (byName.size >= DOCKER_NETWORKS_MAX) throw new TooManyNetworksError(DOCKER_NETWORKS_MAX);
    const made = await makeDockerNetwork(connected(), { owner, name, range });
    byName.set(name, made);
    return made;
  }

  return {
    of,
    isFormer: ({ name }) => name === networkName(ownerNow()),
    find: (docker, owner) =>
      queue.run('', async () => {
        const names = (await docker.networks(ownerLabels(owner))).filter((name) => name.startsWith(networkName(owner)));
        for (const [name, { gateway }] of byName) {
          if (names.includes(name)) continue;
          byName.delete(name);
          await onGone(gateway);
        }
        for (const name of names) {
          const facts = byName.has(name) ? undefined : await docker.network(name);
          if (facts !== undefined) byName.set(name, readDockerNetwork(name, facts, owner));
        }
        return all();
      }),
    join: (instance) =>
      queue.run('', async () => {
        const network = of(instance) ?? (await networkFor(instance));
        network.of(instance);
        return network;
      }),
    leave: (instance) =>
      queue.run('', async () => {
        const address = of(instance)?.release(instance);
        for (const one of all()) if (one.empty()) await remove(connected, one);
        return address;
      }),
    removeAll: (docker) =>
      queue.run('', async () => {
        for (const one of all()) await remove(() => docker, one);
      }),
  };
}
