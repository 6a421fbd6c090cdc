// The engine of containers, on the box's own Docker Engine. Called by engines.ts. Docker and the containers' labels are the record:
// what is in memory only wakes waiters. It restarts nothing, and touches nothing that does not carry this node's labels.

import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Clock } from './clock.ts';
import { type ContainerFacts, type DockerClient, dockerSocket, openDocker } from './docker-client.ts';
import {
  type AskedToEnd,
  type ContainerPlace,
  containerHosts,
  containerName,
  containerOptions,
  describeContainer,
  exitOf,
  standingOf,
} from './docker-container.ts';
import { openDockerFolder } from './docker-folder.ts';
import { labelsOf, ownerLabels, ownsLabels } from './docker-labels.ts';
import { createFrameReader, readDockerLog } from './docker-log.ts';
import {
  addressIn,
  type DockerNetwork,
  defaultContainerRange,
  findDockerNetwork,
  makeDockerNetwork,
} from './docker-network.ts';
import { createDockerWaits } from './docker-waits.ts';
import { createDockerWatch, type DockerWatch } from './docker-watch.ts';
import type { Engine, EngineInstance, EngineOwner, Exit, Launch, LogLine } from './engine.ts';
import {
  ContainerNameTakenError,
  DockerRefusedError,
  DockerUnavailableError,
  EngineStoppedError,
  InstanceRunningError,
  InstanceUnkillableError,
  InstanceUnknownError,
} from './errors.ts';
import { createKeyedQueue } from './keyed-queue.ts';
import { checkFiles, checkLaunch, isInstanceName } from './launch-check.ts';
import { DOCKER_KEPT_LINES_MAX, KILL_WAIT_MS } from './limits.ts';

export interface DockerEngineDependencies {
  /** Where the instances' folders are; Docker mounts from there. */
  folder: string;
  clock: Clock;
  /** The variable DOCKER_HOST. */
  dockerHost?: string | undefined;
  /** CIDR of which this node takes a part for containers and the services that they call. */
  range?: string;
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
  const pulls = new Map<string, AbortController>();
  let started: Started | undefined;
  let network: DockerNetwork | undefined;
  /** This Docker has no init to put before a container's process. */
  let withoutInit = false;

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
  /** Made for the first container: a box whose Docker the fabric does not use gets no bridge. */
  const bridgeOf = (): Promise<DockerNetwork> =>
    queue.run('', async () => {
      network ??= await makeDockerNetwork(connected(), running().owner, range);
      return network;
    });
  const folderOf = (instance: string) => openDockerFolder(root, instance);
  const waits = createDockerWaits({
    clock,
    stopping: () => running().stopping.signal,
    async look(instance) {
      const facts = await find(instance);
      if (facts === undefined) throw new InstanceUnknownError(instance);
      return standingOf(facts) === 'ended' ? exitOfEnded(instance, facts) : undefined;
    },
  });

  /** By its name, since the container of an instance has one. Undefined when there is none, or none was ever started. */
  async function find(instance: string): Promise<ContainerFacts | undefined> {
    if (!isInstanceName(instance)) return undefined;
    const facts = await look(instance);
    return facts === undefined || standingOf(facts) === 'created' ? undefined : facts;
  }

  async function look(instance: string): Promise<ContainerFacts | undefined> {
    const { owner } = running();
    const name = containerName(owner, instance);
    const facts = await connected().inspect(name);
    if (facts !== undefined && !ownsLabels(facts.Config.Labels, owner))
      throw new ContainerNameTakenError('container', name);
    return facts;
  }

  async function exitOfEnded(instance: string, facts: ContainerFacts): Promise<Exit> {
    return exitOf(facts, await folderOf(instance).readAsked());
  }

  /** After each connection: the network, the addresses in use, and nothing left of launches that a daemon did not finish. */
  async function prepare(owner: EngineOwner, docker: DockerClient): Promise<void> {
    const opened = await findDockerNetwork(docker, owner);
    network = opened;
    if (opened === undefined) return;
    for (const id of await docker.containers(ownerLabels(owner))) {
      const facts = await docker.inspect(id);
      const instance = facts?.Config.Labels[labelsOf.instance];
      if (facts === undefined || instance === undefined) continue;
      const address = addressIn(opened.name, facts);
      if (address !== undefined) opened.hold(instance, address);
    }
  }

  async function say(instance: string, lines: readonly LogLine[]): Promise<void> {
    const folder = folderOf(instance);
    await folder.writeSaid([...(await folder.readSaid()), ...lines].slice(-DOCKER_KEPT_LINES_MAX));
  }

  async function imageOf(docker: DockerClient, instance: string, reference: string): Promise<string> {
    const there = await docker.image(reference);
    if (there !== undefined) return there;
    const abort = new AbortController();
    pulls.set(instance, abort);
    try {
      await docker.pull(reference, abort.signal);
    } finally {
      pulls.delete(instance);
    }
    const pulled = await docker.image(reference);
    if (pulled === undefined) throw new DockerRefusedError(`pull ${reference}`, 'it is not there afterwards');
    return pulled;
  }

  /** The container of the launch: the ended one when it is made from the same, so that it keeps what it wrote; else a new one. */
  async function containerFor(launch: Launch, imageId: string): Promise<string> {
    const docker = connected();
    const bridge = await bridgeOf();
    const { owner } = running();
    const { instance } = launch;
    const { address } = bridge.of(instance);
    const folder = folderOf(instance);
    const place: ContainerPlace = {
      ...{ owner, network: bridge.name, address, imageId, init: !withoutInit },
      ...{ filesFolder: folder.files, hostsFile: folder.hosts },
    };
    const options = containerOptions(launch, place);
    const before = await look(instance);
    if (before !== undefined) {
      if (standingOf(before) === 'running') throw new InstanceRunningError(instance);
      if (standingOf(before) === 'ended') waits.tell(instance, await exitOfEnded(instance, before));
    }
    await folder.resetFiles(launch.files);
    await folder.writeHosts(containerHosts(instance, address, launch.hosts));
    const same = before?.Config.Labels[labelsOf.launch] === options.Labels?.[labelsOf.launch];
    if (before !== undefined && same && standingOf(before) === 'ended') return before.Id;
    if (before !== undefined) {
      const kept = createFrameReader()(await docker.logs(before.Id, { tail: DOCKER_KEPT_LINES_MAX }));
      await say(
        instance,
        kept.map(({ at, stream, text }) => ({ at, stream, text })),
      );
      await docker.remove(before.Id);
    }
    return docker.create(options);
  }

  async function launchNow(launch: Launch): Promise<EngineInstance> {
    const docker = connected();
    const { instance, spec } = launch;
    const imageId = await imageOf(docker, instance, spec.engine === 'docker' ? spec.image : '');
    const id = await containerFor(launch, imageId);
    try {
      await docker.start(id);
    } catch (error) {
      if (!(error instanceof DockerRefusedError)) throw error;
      if (!withoutInit && /docker-init|catatonit/.test(error.message)) {
        withoutInit = true;
        return launchNow(launch);
      }
      const facts = await docker.inspect(id);
      // The program cannot be run: that is how the workload ended, as for any other engine.
      if (facts === undefined || ![126, 127].includes(facts.State.ExitCode)) throw error;
      await say(instance, [{ at: clock.now(), stream: 'stderr', text: `selvedge: ${error.message}` }]);
    }
    waits.wake(instance);
    const facts = await docker.inspect(id);
    if (facts === undefined) throw new InstanceUnknownError(instance);
    return describeContainer(facts, await folderOf(instance).readAsked());
  }

  async function signalRun(instance: string, facts: ContainerFacts, name: string): Promise<void> {
    const folder = folderOf(instance);
    const { StartedAt: startedAt } = facts.State;
    const before = await folder.readAsked();
    const signals = before?.startedAt === startedAt ? before.signals : [];
    const asked: AskedToEnd = { startedAt, signals: [...new Set([...signals, name])] };
    await folder.writeAsked(asked);
    await connected().kill(facts.Id, name);
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
          for (const listener of listeners) listener();
        },
      });
      started = { owner, watch, stopping: new AbortController() };
      await watch.start();
    },

    async stop() {
      const ending = started;
      started = undefined;
      for (const pull of pulls.values()) pull.abort();
      ending?.stopping.abort(new EngineStoppedError());
      if (ending !== undefined) await leaveNothing(ending).catch(() => undefined);
      await ending?.watch.stop();
      network = undefined;
    },

    network: async (instance) => (await bridgeOf()).of(instance),

    async list() {
      const { owner } = running();
      const docker = connected();
      const found: EngineInstance[] = [];
      for (const id of await docker.containers(ownerLabels(owner))) {
        const facts = await docker.inspect(id);
        const instance = facts?.Config.Labels[labelsOf.instance] ?? '';
        if (facts === undefined || !isInstanceName(instance) || !ownsLabels(facts.Config.Labels, owner)) continue;
        // A launch that nobody finished: the next one makes its own.
        if (standingOf(facts) === 'created') await queue.run(instance, () => removeUnstarted(docker, id));
        else found.push(describeContainer(facts, await folderOf(instance).readAsked()));
      }
      return found.sort((one, other) => (one.instance < other.instance ? -1 : 1));
    },

    async launch(launch) {
      running();
      checkLaunch(launch);
      return queue.run(launch.instance, () => launchNow(launch));
    },

    waitForExit: async (instance, signal) => waits.untilEnded(instance, signal),

    async terminate(instance, timeoutMs) {
      running();
      pulls.get(instance)?.abort();
      // A launch that is under way comes first.
      await queue.run(instance, async () => undefined);
      const facts = await find(instance);
      if (facts === undefined) return undefined;
      if (standingOf(facts) === 'ended') return exitOfEnded(instance, facts);
      if (timeoutMs > 0) {
        await signalRun(instance, facts, stopSignalOf(facts) || 'SIGTERM');
        const exit = await waits.endWithin(instance, timeoutMs);
        if (exit !== undefined) return exit;
      }
      await signalRun(instance, facts, 'SIGKILL');
      const killed = await waits.endWithin(instance, KILL_WAIT_MS);
      if (killed === undefined) throw new InstanceUnkillableError(instance, [facts.State.Pid]);
      return killed;
    },

    async remove(instance) {
      running();
      if (!isInstanceName(instance)) return;
      await queue.run(instance, async () => {
        const docker = connected();
        const facts = await look(instance);
        if (facts !== undefined && standingOf(facts) === 'running') throw new InstanceRunningError(instance);
        if (facts !== undefined && standingOf(facts) === 'ended')
          waits.tell(instance, await exitOfEnded(instance, facts));
        if (facts !== undefined) await docker.remove(facts.Id);
        network?.release(instance);
        await folderOf(instance).remove();
        waits.wake(instance);
      });
    },

    async writeFiles(instance, files) {
      running();
      checkFiles(instance, files);
      await queue.run(instance, async () => {
        if ((await find(instance)) === undefined) throw new InstanceUnknownError(instance);
        await folderOf(instance).layFiles(files);
      });
    },

    async writeHosts(instance, hosts) {
      running();
      await queue.run(instance, async () => {
        if ((await find(instance)) === undefined) throw new InstanceUnknownError(instance);
        const { address } = (await bridgeOf()).of(instance);
        await folderOf(instance).writeHosts(containerHosts(instance, address, hosts));
      });
    },

    async *logs(instance, options, signal) {
      const { stopping } = running();
      const source = {
        instance,
        clock,
        docker: connected,
        find: () => queue.run(instance, () => find(instance)),
        said: () => folderOf(instance).readSaid(),
        changed: (until: AbortSignal) => waits.changed(instance, until),
      };
      yield* readDockerLog(
        source,
        options,
        AbortSignal.any([stopping.signal, ...(signal === undefined ? [] : [signal])]),
      );
    },
  };

  /** A network without containers is not left on the box. */
  async function leaveNothing({ owner, watch }: Started): Promise<void> {
    const docker = watch.client();
    if (docker === undefined || network === undefined) return;
    if ((await docker.containers(ownerLabels(owner))).length === 0) await docker.removeNetwork(network.name);
  }

  async function removeUnstarted(docker: DockerClient, id: string): Promise<void> {
    const facts = await docker.inspect(id);
    if (facts !== undefined && standingOf(facts) === 'created') await docker.remove(id);
  }
}

/** STOPSIGNAL of the image; dockerode's types leave it out. */
function stopSignalOf({ Config }: ContainerFacts): string | undefined {
  return (Config as { StopSignal?: string }).StopSignal;
}
