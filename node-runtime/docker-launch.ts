// From a launch to a container that runs: files, names, the same container again or a new one. Called by docker-engine.ts,
// one at a time for each instance. It restarts nothing by itself.

import type { DockerSpec } from '../control/plan.ts';
import type { Clock } from './clock.ts';
import type { DockerClient } from './docker-client.ts';
import { type ContainerPlace, containerOptions, describeContainer, standingOf } from './docker-container.ts';
import type { DockerContainers } from './docker-containers.ts';
import { boxHosts, linesOf, sharesBox } from './docker-host-network.ts';
import { labelsOf } from './docker-labels.ts';
import { createFrameReader } from './docker-log.ts';
import type { DockerNetwork } from './docker-network.ts';
import type { DockerWaits } from './docker-waits.ts';
import type { EngineInstance, EngineOwner, Launch, LogLine } from './engine.ts';
import { DockerRefusedError, InstanceRunningError, InstanceUnknownError } from './errors.ts';
import { DOCKER_KEPT_LINES_MAX } from './limits.ts';
import { reachableResolvers } from './name-forwarder.ts';

export interface DockerLauncherDependencies {
  clock: Clock;
  owner(): EngineOwner;
  docker(): DockerClient;
  /** The network that the instance's next container is on. */
  join(instance: string): Promise<DockerNetwork>;
  /** The instance is on no bridge any more. */
  leave(instance: string): Promise<void>;
  /** Has the container's names answered from now on; before it `runs`, as soon as it does where it cannot be done earlier. */
  tellNames(instance: string, hosts: Launch['hosts'], runs: boolean): Promise<void>;
  containers: DockerContainers;
  waits: DockerWaits;
}

export function createDockerLauncher(dependencies: DockerLauncherDependencies): {
  launch(launch: Launch): Promise<EngineInstance>;
} {
  const { clock, owner, docker, containers, waits } = dependencies;
  /** This Docker has no init to put before a container's process. */
  let withoutInit = false;

  async function say(instance: string, lines: readonly LogLine[]): Promise<void> {
    const folder = containers.folder(instance);
    await folder.writeSaid([...(await folder.readSaid()), ...lines].slice(-DOCKER_KEPT_LINES_MAX));
  }

  async function imageOf({ image: reference, platform }: DockerSpec): Promise<string> {
    const id = await docker().image(reference, platform);
    if (id === undefined) throw new DockerRefusedError(`start ${reference}`, 'the image is not there any more');
    return id;
  }

  async function networkOf({ instance, spec }: Launch) {
    if (sharesBox(spec)) {
      await dependencies.leave(instance);
      return { network: 'host', address: undefined, hostsFile: containers.folder(instance).hosts, resolvers: [] };
    }
    const { name: network, gateway, of } = await dependencies.join(instance);
    const resolvers = [gateway, ...(await reachableResolvers())];
    return { network, address: of(instance).address, hostsFile: undefined, resolvers };
  }

  async function placeOf(launch: Launch, imageId: string): Promise<ContainerPlace> {
    const { instance, mounts = [] } = launch;
    return {
      ...(await networkOf(launch)),
      owner: owner(),
      imageId,
      init: !withoutInit,
      filesFolder: containers.folder(instance).files,
      secretsFolder: mounts.some(({ kind }) => kind === 'secrets')
        ? await containers.mounts(instance).secretsFolder()
        : undefined,
    };
  }

  async function tellNames({ instance, spec, hosts }: Launch, runs: boolean): Promise<void> {
    if (!sharesBox(spec)) await dependencies.tellNames(instance, hosts, runs);
    else if (!runs) await containers.folder(instance).writeHosts(await boxHosts(hosts, linesOf(spec)));
  }

  /** The container of the launch: the ended one when it is made from the same, so that it keeps what it wrote; else a new one. */
  async function containerFor(launch: Launch, imageId: string): Promise<string> {
    const { instance } = launch;
    const before = await containers.look(instance);
    if (before !== undefined) {
      if (standingOf(before) === 'running') throw new InstanceRunningError(instance);
      if (standingOf(before) === 'ended') waits.tell(instance, await containers.exitOf(instance, before));
    }
    await containers.folder(instance).resetFiles(launch.files);
    const options = containerOptions(launch, await placeOf(launch, imageId));
    await tellNames(launch, false);
    const same = before?.Config.Labels[labelsOf.launch] === options.Labels?.[labelsOf.launch];
    if (before !== undefined && same && standingOf(before) === 'ended') return before.Id;
    if (before !== undefined) {
      const kept = createFrameReader()(await docker().logs(before.Id, { tail: DOCKER_KEPT_LINES_MAX }));
      await say(
        instance,
        kept.map(({ at, stream, text }) => ({ at, stream, text })),
      );
      await docker().remove(before.Id);
    }
    return docker().create(options);
  }

  async function answerNames(launch: Launch, id: string): Promise<void> {
    try {
      await tellNames(launch, true);
    } catch (error) {
      await docker().kill(id, 'SIGKILL');
      throw error;
    }
  }

  async function launchNow(launch: Launch): Promise<EngineInstance> {
    const { instance, spec } = launch;
    const imageId = spec.engine === 'docker' ? await imageOf(spec) : '';
    let id: string | undefined;
    try {
      id = await containerFor(launch, imageId);
      const made = await docker().inspect(id);
      if (made === undefined) throw new InstanceUnknownError(instance);
      await containers.lay(instance, made, launch.mounts ?? []);
      await docker().start(id);
      await answerNames(launch, id);
    } catch (error) {
      if (!(error instanceof DockerRefusedError)) throw error;
      // Docker says so when it starts, podman when it creates.
      if (!withoutInit && /docker-init|container-init|catatonit/.test(error.message)) {
        withoutInit = true;
        return launchNow(launch);
      }
      if (id === undefined) throw error;
      const facts = await docker().inspect(id);
      // The program cannot be run: that is how the workload ended, as for any other engine.
      if (facts === undefined || ![126, 127].includes(facts.State.ExitCode)) throw error;
      await say(instance, [{ at: clock.now(), stream: 'stderr', text: `selvedge: ${error.message}` }]);
    }
    waits.wake(instance);
    const facts = await docker().inspect(id);
    if (facts === undefined) throw new InstanceUnknownError(instance);
    return describeContainer(facts, await containers.folder(instance).readAsked());
  }

  return { launch: launchNow };
}
