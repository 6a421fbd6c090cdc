// A launch as a container, and a container as an instance. Pure; called by docker-engine.ts.

import { createHash } from 'node:crypto';
import type { DockerOptions, Resources, VolumeSpec } from '../control/plan.ts';
import { logFileBytes, memoryBytes } from '../control/quantity.ts';
import type { ContainerFacts, ContainerOptions } from './docker-client.ts';
import { linesOf } from './docker-host-network.ts';
import { labelsOf, ownerLabels } from './docker-labels.ts';
import type { EngineInstance, EngineOwner, Exit, Launch } from './engine.ts';
import { LaunchRefusedError } from './errors.ts';
import { volumeVariable } from './launch-check.ts';
import { DOCKER_LOG_FILE_BYTES_MAX } from './limits.ts';

/** Where files are in a container: `/selvedge/configs/<name>/…`, `/selvedge/secrets/<name>/…`, `/selvedge/identity/…`; read-only. */
export const containerFilesFolder = '/selvedge';

export interface ContainerPlace {
  owner: EngineOwner;
  /** `host`: the box's own, where it has no address. */
  network: string;
  address: string | undefined;
  /** On this box, mounted as its /etc/hosts, where it shares the box's network. */
  hostsFile: string | undefined;
  /** On this box, mounted. */
  filesFolder: string;
  /** On this box, mounted, where it has secrets as files. */
  secretsFolder: string | undefined;
  /** Asked in this order: this node's, then the box's while the node's is away. */
  resolvers: string[];
  /** Id of the image, so that a moved tag makes another container. */
  imageId: string;
  /** A small init as process 1: forwards signals and reaps. Off where this Docker has none. */
  init: boolean;
}

export function containerName({ fabricId, node }: EngineOwner, instance: string): string {
  return `selvedge-${fabricId.slice(0, 12)}-${node}-${instance}`;
}

/** Throws LaunchRefusedError for the spec of another engine. */
export function containerOptions(launch: Launch, place: ContainerPlace): ContainerOptions {
  const { spec, instance } = launch;
  if (spec.engine !== 'docker') throw new LaunchRefusedError(instance, `engine: it is for engine ${spec.engine}`);
  const volumes = (spec.volumes ?? []).map((volume) => ({ ...volume, path: volume.path ?? '' }));
  const told = volumes.map(({ name, path }) => [volumeVariable(name), path]);
  const env: Record<string, string> = { ...Object.fromEntries(told), ...spec.env, ...launch.env };
  // Not among the variables that the engine tells of.
  const all = { ...launch.secretEnv, ...env };
  const options: ContainerOptions = {
    name: containerName(place.owner, instance),
    ...(place.address !== undefined && { Hostname: hostNameOf(instance) }),
    Image: spec.image,
    ...(spec.command && { Entrypoint: spec.command, Cmd: spec.args ?? [] }),
    ...(spec.command === undefined && spec.args && { Cmd: spec.args }),
    ...(spec.workingDirectory !== undefined && { WorkingDir: spec.workingDirectory }),
    ...(spec.user !== undefined && { User: spec.user }),
    ...(spec.platform !== undefined && { platform: spec.platform }),
    Env: Object.entries(all).map(([name, value]) => `${name}=${value}`),
    HostConfig: {
      Init: place.init,
      // The instance's actor restarts, with back-off and with a reason.
      RestartPolicy: { Name: 'no' },
      ...rights(spec, launch.devices ?? []),
      ...limits(spec),
      NetworkMode: place.network,
      Mounts: [
        { Type: 'bind', Source: place.filesFolder, Target: containerFilesFolder, ReadOnly: true },
        ...(place.secretsFolder === undefined
          ? []
          : [
              {
                Type: 'bind' as const,
                Source: place.secretsFolder,
                Target: `${containerFilesFolder}/secrets`,
                ReadOnly: true,
              },
            ]),
        ...(place.hostsFile === undefined
          ? []
          : [{ Type: 'bind' as const, Source: place.hostsFile, Target: '/etc/hosts', ReadOnly: true }]),
        ...volumes.map((volume) => mountOf(volume, instance, place.owner)),
      ],
      LogConfig: { Type: 'json-file', Config: logOptions(spec) },
    },
    ...(place.address !== undefined && {
      NetworkingConfig: { EndpointsConfig: { [place.network]: { IPAMConfig: { IPv4Address: place.address } } } },
    }),
  };
  const labels = {
    ...spec.labels,
    ...ownerLabels(place.owner),
    [labelsOf.instance]: instance,
    [labelsOf.spec]: launch.specHash,
    [labelsOf.variables]: Object.keys(env).join(' '),
  };
  const made = createHash('sha256')
    .update(JSON.stringify([options, labels, place.imageId]))
    .digest('hex');
  return {
    ...options,
    Labels: { ...labels, [labelsOf.launch]: made },
    // Not part of what it was made from: a box that moves to another network keeps its containers.
    HostConfig: { ...options.HostConfig, Dns: place.resolvers },
    // Nor this, which earlier versions did not say. The image's own check would be one more process on the box every millisecond, where
    // it says so, outside of the container's limits; the node has its own probes.
    Healthcheck: { Test: ['NONE'] },
  };
}

/** Made by Docker with the container, and left when that is removed: what it holds is the operator's. */
function mountOf(
  { name, path, hostPath, readOnly = false }: VolumeSpec & { path: string },
  instance: string,
  owner: EngineOwner,
): MountSettings {
  const common = { Target: path, ReadOnly: readOnly };
  if (hostPath !== undefined) return { Type: 'bind', Source: hostPath, ...common };
  const labels = { ...ownerLabels(owner), [labelsOf.instance]: instance };
  return {
    Type: 'volume',
    Source: `${containerName(owner, instance)}-${name}`,
    ...common,
    VolumeOptions: { Labels: labels, NoCopy: false, DriverConfig: { Name: 'local', Options: {} } },
  };
}

type MountSettings = NonNullable<HostConfig['Mounts']>[number];

/** Nobody pings or forges packets unasked. A privileged container is everything that root is, which these would contradict. */
function rights(
  { privileged, capabilities = {}, readOnlyRoot, devices = [], gpus }: DockerOptions,
  given: NonNullable<Launch['devices']>,
): HostConfig {
  const { add = [], drop = [] } = capabilities;
  const asked = add.includes('NET_RAW') || add.includes('ALL') || drop.includes('NET_RAW') || drop.includes('ALL');
  const named = devices.map((path) => ({ host: path, path }));
  // One that is asked for by its path as well is there once.
  const mapped = [...named, ...given.filter(({ path }) => !devices.includes(path))];
  const dropped = asked ? drop : ['NET_RAW', ...drop];
  return {
    ...(privileged ? { Privileged: true } : { CapDrop: dropped, SecurityOpt: ['no-new-privileges'] }),
    ...(add.length > 0 && !privileged && { CapAdd: add }),
    ...(readOnlyRoot && { ReadonlyRootfs: true }),
    ...(gpus !== undefined && { DeviceRequests: [gpuRequest(gpus)] }),
    ...(mapped.length > 0 && {
      Devices: mapped.map(({ host, path }) => ({
        PathOnHost: host,
        PathInContainer: path,
        CgroupPermissions: given.some((one) => one.path === path) ? 'rw' : 'rwm',
      })),
    }),
  };
}

type HostConfig = NonNullable<ContainerOptions['HostConfig']>;

function logOptions({ logging: { maxSize = '', maxFiles = 2 } = {} }: DockerOptions): Record<string, string> {
  return { 'max-size': `${logFileBytes(maxSize) ?? DOCKER_LOG_FILE_BYTES_MAX}`, 'max-file': `${maxFiles}` };
}

/** Docker's own words for `--gpus`. */
function gpuRequest(gpus: NonNullable<DockerOptions['gpus']>): object {
  const which = Array.isArray(gpus) ? { DeviceIDs: gpus } : { Count: gpus === 'all' ? -1 : gpus };
  return { Driver: '', ...which, Capabilities: [['gpu']] };
}

/** With swap: a limit that swap stretches is none. */
function limits({ resources = {}, ulimits, extraHosts }: DockerOptions & { resources?: Resources }): HostConfig {
  const { memory, cpus, pids } = resources;
  const bytes = memory === undefined ? undefined : memoryBytes(memory);
  return {
    ...(bytes !== undefined && { Memory: bytes, MemorySwap: bytes }),
    ...(cpus !== undefined && { NanoCpus: Math.round(cpus * 1e9) }),
    ...(pids !== undefined && { PidsLimit: pids }),
    ...(ulimits && {
      Ulimits: Object.entries(ulimits).map(([Name, { soft, hard }]) => ({ Name, Soft: soft, Hard: hard })),
    }),
    ...(extraHosts && { ExtraHosts: linesOf({ extraHosts }) }),
  };
}

/** `web-0` of `default.shop.web.0`. */
const hostNameOf = (instance: string): string => instance.split('.').slice(-2).join('-').slice(-63).replace(/^-+/, '');

export type Standing = 'created' | 'running' | 'ended';

/** `created` was never started: nobody has to hear of it. */
export function standingOf({ State }: ContainerFacts): Standing {
  if (State.Running || State.Restarting || State.Paused) return 'running';
  return State.Status === 'created' && State.Error === '' && State.ExitCode === 0 ? 'created' : 'ended';
}

/** The run that a request to end was for: Docker keeps no other name for it. */
export interface AskedToEnd {
  startedAt: string;
  signals: string[];
}

const signalNumbers: Record<string, number> = { SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGUSR1: 10, SIGTERM: 15 };

/**
 * How it ended. Docker tells a signal as 128 and its number, which a program can exit with as well: it is taken for a signal when the
 * node sent that one to this run, or the kernel did for want of memory.
 */
export function exitOf({ State, Created }: ContainerFacts, asked: AskedToEnd | undefined): Exit {
  const finished = Date.parse(State.FinishedAt);
  const at = finished > 0 ? finished : Date.parse(Created);
  const sent = asked?.startedAt === State.StartedAt ? asked.signals : [];
  const all = State.OOMKilled ? [...sent, 'SIGKILL'] : sent;
  const signal = all.find((name) => State.ExitCode === 128 + (signalNumbers[name] ?? Number.NaN));
  const ended = signal === undefined ? { status: State.ExitCode, signal, at } : { status: undefined, signal, at };
  // Docker says so of any process of it; one that ended well outlived that one.
  const killed = signal === 'SIGKILL' || (ended.status !== undefined && ended.status !== 0);
  return State.OOMKilled && killed ? { ...ended, outOfMemory: true } : ended;
}

export function describeContainer(facts: ContainerFacts, asked: AskedToEnd | undefined): EngineInstance {
  const { State, Config, Created } = facts;
  const given = new Set((Config.Labels[labelsOf.variables] ?? '').split(' '));
  const pairs = Config.Env.map((line): [string, string] => {
    const equals = line.indexOf('=');
    return [line.slice(0, equals), line.slice(equals + 1)];
  });
  const started = Date.parse(State.StartedAt);
  const running = standingOf(facts) === 'running';
  return {
    instance: Config.Labels[labelsOf.instance] ?? '',
    specHash: Config.Labels[labelsOf.spec] ?? '',
    pid: running ? State.Pid : undefined,
    startedAt: started > 0 ? started : Date.parse(Created),
    env: Object.fromEntries(pairs.filter(([name]) => given.has(name))),
    exit: running ? undefined : exitOf(facts, asked),
  };
}
