// The engine of containers, on the box's own Docker Engine. Called by engines.ts. Docker and the containers' labels are the record:
// what is in memory only wakes waiters. It restarts nothing, and touches nothing that does not carry this node's labels.

import { mkdir, readdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Clock } from './clock.ts';
import { createContainerNames } from './container-names.ts';
import { type ContainerFacts, type DockerClient, dockerSocket, type HeldLimits, openDocker } from './docker-client.ts';
import { containerName, describeContainer, standingOf } from './docker-container.ts';
import { createDockerContainers } from './docker-containers.ts';
import { describeAll } from './docker-describe-all.ts';
import { endContainer } from './docker-end.ts';
import { createDockerExec } from './docker-exec.ts';
import { boxHosts, isOnBox, sharesBox } from './docker-host-network.ts';
import { labelsOf, ownerLabels, ownsLabels } from './docker-labels.ts';
import { createDockerLauncher } from './docker-launch.ts';
import { readDockerLog } from './docker-log.ts';
import { addressIn, type DockerNetwork, defaultContainerRange } from './docker-network.ts';
import { createDockerNetworks } from './docker-networks.ts';
import { pullWhereMissing } from './docker-pulls.ts';
import { createDockerWaits } from './docker-waits.ts';
import { createDockerWatch, type DockerWatch } from './docker-watch.ts';
import type { Engine, EngineInstance, EngineOwner, Launch } from './engine.ts';
import {
  DockerUnavailableError,
  EngineStoppedError,
  InstanceNotRunningError,
  InstanceRunningError,
  InstanceUnknownError,
} from './errors.ts';
import { createImageCollector, type ImageCollectorDependencies } from './image-collector.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { checkCommand, checkFiles, checkLaunch, checkMounts, isInstanceName } from './launch-check.ts';
import { createLeftovers } from './leftovers.ts';
import { createNameForwarder } from './name-forwarder.ts';
import { createNameServer } from './name-server.ts';
import { readRegistryAuth } from './registry-auth.ts';
import { createSecretFolders } from './secret-folders.ts';

export interface DockerEngineDependencies {
  /** Where the instances' folders are; Docker mounts from there. */
  folder: string;
  clock: Clock;
  /** The variable DOCKER_HOST. */
  dockerHost?: string | undefined;
  /** File with credentials for registries (registry-auth.ts). */
  registryAuth?: string;
  /** CIDR of which this node takes a part for containers and the services that they call. */
  range?: string;
  /** Which images this node pulled, so that they can go again; without it they stay. */
  images?: Omit<ImageCollectorDependencies, 'clock' | 'docker'> | undefined;
}

interface Started {
  owner: EngineOwner;
  watch: DockerWatch;
  stopping: AbortController;
}

export function createDockerEngine(dependencies: DockerEngineDependencies): Engine {
  const { clock, dockerHost, range = defaultContainerRange } = dependencies;
  const root = resolve(dependencies.folder);
  const queue = createKeyedQueue();
  const listeners = new Set<() => void>();
  let started: Started | undefined;
  let held: HeldLimits | undefined;

  const running = (): Started => {
    if (started === undefined) throw new EngineStoppedError();
    return started;
  };
  const unavailable = (): string | undefined =>
    started === undefined ? 'the engine is not started' : started.watch.unavailable();
  function connected(): DockerClient {
    const docker = running().watch.client();
    if (docker === undefined) throw new DockerUnavailableError(unavailable());
    return docker;
  }
  const owner = (): EngineOwner => running().owner;
  const networks = createDockerNetworks({ docker: connected, owner, range, onGone: (one) => nameServer.leave(one) });
  const secretFolders = createSecretFolders({ root });
  const containers = createDockerContainers({ root, owner, docker: connected, secretFolders, clock });
  const waits = createDockerWaits({
    clock,
    stopping: () => running().stopping.signal,
    async look(instance) {
      const facts = await containers.find(instance);
      if (facts === undefined) throw new InstanceUnknownError(instance);
      return standingOf(facts) === 'ended' ? containers.exitOf(instance, facts) : undefined;
    },
  });
  const credentials = async (image: string) =>
    dependencies.registryAuth === undefined ? undefined : readRegistryAuth(dependencies.registryAuth, image);
  const commands = createDockerExec({ docker: connected, clock });
  const names = createContainerNames();
  const nameServer = createNameServer({
    knows: names.knows,
    answer: names.answer,
    forwarder: createNameForwarder({ clock }),
  });
  /** By its name too: a container inherits the labels of its image, which anybody may have made. */
  const isOwn = ({ Name, Config }: ContainerFacts, instance: string): boolean =>
    ownsLabels(Config.Labels, owner()) && Name.replace(/^\//, '') === containerName(owner(), instance);
  const leave = async (instance: string): Promise<void> => names.forget((await networks.leave(instance)) ?? '');

  /** What runs on the network of an earlier version goes on there; its next container is on its application's. */
  async function join(instance: string): Promise<DockerNetwork> {
    const before = networks.of(instance);
    if (before !== undefined && networks.isFormer(before)) {
      const facts = await containers.find(instance);
      if (facts !== undefined && standingOf(facts) === 'running') return before;
      await leave(instance);
    }
    return networks.join(instance);
  }

  const { launch: launchContainer } = createDockerLauncher({
    ...{ clock, owner, docker: connected, join, leave, containers, waits, tellNames },
  });

  const collector =
    dependencies.images &&
    createImageCollector({ clock, docker: () => started?.watch.client(), ...dependencies.images });

  const leftovers = createLeftovers({
    root,
    queue,
    ready: () => unavailable() === undefined,
    async isLeftover(instance) {
      return (await containers.look(instance)) === undefined;
    },
    async remove(instance) {
      await containers.mounts(instance).removeSecrets();
      await containers.folder(instance).remove();
    },
  });

  /** What the container asks is answered from now on; one that calls nothing does without where nobody can listen. */
  async function tellNames(instance: string, hosts: Launch['hosts'], runs = true): Promise<void> {
    const { gateway, of } = await join(instance);
    names.tell(of(instance).address, hosts);
    try {
      await nameServer.listen(gateway);
    } catch (error) {
      // Podman makes the bridge, and its address, with the first container that runs.
      const early = !runs && ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRNOTAVAIL';
      if (hosts.length > 0 && !early) throw error;
    }
  }

  /** After each connection: the network, the addresses in use, and nothing left of launches that a daemon did not finish. */
  async function prepare(owner: EngineOwner, docker: DockerClient): Promise<void> {
    held = await docker.limits();
    const found = await networks.find(docker, owner);
    if (found.length === 0) return;
    for (const facts of await describeAll(docker, await docker.containers(ownerLabels(owner)))) {
      const instance = facts.Config.Labels[labelsOf.instance];
      if (instance === undefined) continue;
      for (const network of found) {
        const address = addressIn(network.name, facts);
        if (address !== undefined) network.hold(instance, address);
      }
    }
  }

  return {
    name: 'docker',
    unavailable,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },

    async start(owner) {
      if (started !== undefined) return;
      await mkdir(root, { recursive: true, mode: 0o700 });
      await secretFolders.keepOnly(new Set(await readdir(root)));
      const socket = dockerSocket(dockerHost);
      const watch = createDockerWatch({
        clock,
        async connect() {
          if (socket !== undefined) return openDocker(socket, clock);
          throw new DockerUnavailableError('DOCKER_HOST is no unix:// address; the engine must be on this box');
        },
        prepare: (docker) => prepare(owner, docker),
        labels: ownerLabels(owner),
        onEvent: ({ Actor }) => waits.wake(Actor?.Attributes?.[labelsOf.instance]),
        onChange() {
          waits.wake();
          collector?.soon();
          leftovers.soon();
          for (const listener of listeners) listener();
        },
      });
      started = { owner, watch, stopping: new AbortController() };
      await watch.start();
      collector?.start();
    },

    async stop() {
      const ending = started;
      started = undefined;
      ending?.stopping.abort(new EngineStoppedError());
      collector?.stop();
      await nameServer.close();
      if (ending !== undefined) await leaveNothing(ending).catch(() => undefined);
      await ending?.watch.stop();
    },

    notHeld({ resources = {} }) {
      const missing = (['memory', 'cpus', 'pids'] as const).filter((one) => resources[one] && held?.[one] === false);
      return missing.length === 0 ? undefined : `${missing.join(', ')}: the kernel under Docker does not limit it`;
    },
    network: async (instance, spec) => (sharesBox(spec) ? undefined : (await join(instance)).of(instance)),

    async list() {
      const docker = connected();
      const found: EngineInstance[] = [];
      for (const facts of await describeAll(docker, await docker.containers(ownerLabels(owner())))) {
        const instance = facts.Config.Labels[labelsOf.instance] ?? '';
        if (!isInstanceName(instance) || !isOwn(facts, instance)) continue;
        // A launch that nobody finished: the next one makes its own.
        if (standingOf(facts) === 'created') await queue.run(instance, () => removeUnstarted(docker, facts.Id));
        else found.push(describeContainer(facts, await containers.folder(instance).readAsked()));
      }
      return found.sort((one, other) => (one.instance < other.instance ? -1 : 1));
    },

    async stage(spec, onProgress, signal) {
      if (spec.engine !== 'docker') return;
      const either = AbortSignal.any([signal, running().stopping.signal]);
      const { pulled } = dependencies.images ?? {};
      // A pull that came to an end, by a full disk too, may leave too little room.
      await pullWhereMissing({ docker: connected(), clock, credentials, pulled }, spec, onProgress, either).finally(
        () => collector?.soon(),
      );
    },

    want(planned, staged) {
      leftovers.want(planned);
      const specs = [...planned.map(({ spec }) => spec), ...staged];
      collector?.want(specs.flatMap((spec) => (spec.engine === 'docker' ? [spec.image] : [])));
    },

    async launch(launch) {
      running();
      checkLaunch(launch);
      return queue.run(launch.instance, () => launchContainer(launch));
    },

    waitForExit: async (instance, signal) => waits.untilEnded(instance, signal),

    async terminate(instance, timeoutMs) {
      running();
      // A launch that is under way comes first.
      await queue.run(instance, async () => undefined);
      return endContainer({ containers, waits, docker: connected }, instance, timeoutMs);
    },

    async remove(instance) {
      running();
      if (!isInstanceName(instance)) return;
      await queue.run(instance, async () => {
        const docker = connected();
        const facts = await containers.look(instance);
        if (facts !== undefined && standingOf(facts) === 'running') throw new InstanceRunningError(instance);
        if (facts !== undefined && standingOf(facts) === 'ended')
          waits.tell(instance, await containers.exitOf(instance, facts));
        if (facts !== undefined) await docker.remove(facts.Id);
        await leave(instance);
        await containers.mounts(instance).removeSecrets();
        await containers.folder(instance).remove();
        waits.wake(instance);
      });
    },

    async writeFiles(instance, files) {
      running();
      checkFiles(instance, files);
      await queue.run(instance, async () => {
        if ((await containers.find(instance)) === undefined) throw new InstanceUnknownError(instance);
        await containers.folder(instance).layFiles(files);
      });
    },

    async writeMounts(instance, mounts) {
      running();
      checkMounts(instance, mounts);
      await queue.run(instance, async () => {
        const facts = await containers.find(instance);
        if (facts === undefined) throw new InstanceUnknownError(instance);
        await containers.lay(instance, facts, mounts);
      });
    },

    async writeHosts(instance, hosts) {
      running();
      await queue.run(instance, async () => {
        const facts = await containers.find(instance);
        if (facts === undefined) throw new InstanceUnknownError(instance);
        if (!isOnBox(facts)) return tellNames(instance, hosts);
        await containers.folder(instance).writeHosts(await boxHosts(hosts, facts.HostConfig.ExtraHosts ?? []));
      });
    },

    async exec(instance, command, options) {
      running();
      checkCommand(instance, command);
      const facts = await containers.find(instance);
      if (facts === undefined) throw new InstanceUnknownError(instance);
      if (standingOf(facts) !== 'running') throw new InstanceNotRunningError(instance);
      return commands.exec(instance, facts.Id, command, options);
    },

    async *logs(instance, options, signal) {
      const { stopping } = running();
      const source = {
        instance,
        clock,
        docker: connected,
        find: () => queue.run(instance, () => containers.find(instance)),
        said: () => containers.folder(instance).readSaid(),
        changed: (until: AbortSignal) => waits.changed(instance, until),
      };
      yield* readDockerLog(
        source,
        options,
        AbortSignal.any([stopping.signal, ...(signal === undefined ? [] : [signal])]),
      );
    },
  };

  /** Networks without containers are not left on the box. */
  async function leaveNothing({ owner, watch }: Started): Promise<void> {
    const docker = watch.client();
    if (docker !== undefined && (await docker.containers(ownerLabels(owner))).length === 0)
      await networks.removeAll(docker);
  }

  async function removeUnstarted(docker: DockerClient, id: string): Promise<void> {
    const facts = await docker.inspect(id);
    if (facts !== undefined && standingOf(facts) === 'created') await docker.remove(id);
  }
}
