// The Docker Engine's API as the docker engine uses it: the only file that imports dockerode, and only once a socket is there
// (it takes 11 to 14 MB). Called by docker-watch.ts and docker-engine.ts. It decides nothing; every answer has a deadline.

import { access } from 'node:fs/promises';
import type { Duplex, Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import type { Clock } from './clock.ts';
import { createDockerImages, type DockerImages } from './docker-image-api.ts';
import { DockerRefusedError, DockerUnavailableError } from './errors.ts';
import { jsonLines } from './json-lines.ts';
import { DOCKER_ANSWER_MS, DOCKER_PING_MS, DOCKER_PULL_MS } from './limits.ts';

export type ContainerFacts = Dockerode.ContainerInspectInfo;
export type ContainerOptions = Dockerode.ContainerCreateOptions;
export type NetworkFacts = Dockerode.NetworkInspectInfo;

export interface ContainerEvent {
  Action?: string;
  Actor?: { Attributes?: Record<string, string> };
}

/** A command in a container. */
export interface ContainerExec {
  /** Read: frames of Docker's stream format, to the end of the command. Written: its stdin, where it has one. */
  stream: Duplex;
  /** `Pid` is the engine's box's own number. */
  inspect(): Promise<{ Running: boolean; ExitCode: number | null; Pid: number }>;
}

/** Docker drops a limit that its kernel does not have, with no more than a warning. */
export interface HeldLimits {
  memory: boolean;
  cpus: boolean;
  pids: boolean;
}

/** Of one layer, where `id` names one. */
export interface PullStep {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
}

/** Rejects with DockerUnavailableError when the engine does not answer, and DockerRefusedError when it says no. */
export interface DockerClient extends DockerImages {
  /** A sign of life, soon or not at all. */
  ping(): Promise<void>;
  /** Which limits this engine's kernel holds for containers. */
  limits(): Promise<HeldLimits>;
  /** Ids of all containers with these labels, running or not. */
  containers(labels: Record<string, string>): Promise<string[]>;
  /** By id or name; undefined when there is none. */
  inspect(container: string): Promise<ContainerFacts | undefined>;
  create(options: ContainerOptions): Promise<string>;
  start(id: string): Promise<void>;
  /** No error when it has ended already. */
  kill(id: string, signal: string): Promise<void>;
  /** With its anonymous volumes; no error when there is none. */
  remove(id: string): Promise<void>;
  /** The id of a local image; undefined when it is not there, or is for another platform than the one that is wanted. */
  image(reference: string, platform?: string): Promise<string | undefined>;
  /** Resolves when it is there; `onStep` hears each line that Docker says meanwhile. Ends when the signal aborts. */
  pull(
    reference: string,
    platform: string | undefined,
    onStep: (step: PullStep) => void,
    signal: AbortSignal,
  ): Promise<void>;
  network(name: string): Promise<NetworkFacts | undefined>;
  createNetwork(options: Dockerode.NetworkCreateOptions): Promise<void>;
  removeNetwork(name: string): Promise<void>;
  /** What was written so far: frames of Docker's stream format. */
  logs(id: string, options: { tail: number | 'all' }): Promise<Buffer>;
  /** Frames from `since` (seconds with nanoseconds) on; ends with the container's run. */
  followLogs(id: string, options: { since: string }, signal: AbortSignal): Promise<Readable>;
  /** Runs a command in a running container. */
  exec(id: string, command: string[], options: { input: boolean }, signal: AbortSignal): Promise<ContainerExec>;
  /** Lines of JSON; ends when the engine goes. */
  events(labels: Record<string, string>, signal: AbortSignal): Promise<Readable>;
}

export const defaultDockerSocket = '/var/run/docker.sock';

/**
 * The socket of `DOCKER_HOST`, or the usual one. Undefined when DOCKER_HOST names another kind of address: the engine must be on this
 * box, for files are mounted from here and containers are reached by their bridge address.
 */
export function dockerSocket(dockerHost: string | undefined): string | undefined {
  if (dockerHost === undefined || dockerHost === '') return defaultDockerSocket;
  return dockerHost.startsWith('unix://') ? dockerHost.slice('unix://'.length) || defaultDockerSocket : undefined;
}

const labelFilter = (labels: Record<string, string>): string[] =>
  Object.entries(labels).map(([key, value]) => `${key}=${value}`);

const statusOf = (error: unknown): number | undefined => (error as { statusCode?: number }).statusCode;

/** Resolves when the engine behind the socket has answered; rejects with DockerUnavailableError. */
export async function openDocker(socket: string, clock: Clock): Promise<DockerClient> {
  try {
    await access(socket);
  } catch (error) {
    throw new DockerUnavailableError(`there is no socket ${socket}`, { cause: error });
  }
  const { default: Docker } = await import('dockerode');
  // `host` is given so that DOCKER_HOST is read in one place alone.
  const docker = new Docker({ socketPath: socket, host: undefined } as unknown as Dockerode.DockerOptions);

  /** Sorts what went wrong: an answer with a status is a refusal, anything else means that nobody answers. */
  async function ask<T>(what: string, answer: Promise<T>, waitMs = DOCKER_ANSWER_MS): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = clock.setTimeout(
      () => late.reject(new DockerUnavailableError(`Docker did not ${what} within ${waitMs} ms`)),
      waitMs,
    );
    try {
      return await Promise.race([answer, late.promise]);
    } catch (error) {
      if (error instanceof DockerUnavailableError || error instanceof DockerRefusedError) throw error;
      const { message } = error as Error;
      if (statusOf(error) === undefined) throw new DockerUnavailableError(message, { cause: error });
      throw new DockerRefusedError(what, message, { cause: error });
    } finally {
      clock.clearTimeout(timer);
    }
  }

  /** Undefined for 404 (nothing there) and whatever else counts as no error. */
  async function unless<T>(statuses: readonly number[], answer: Promise<T>): Promise<T | undefined> {
    try {
      return await answer;
    } catch (error) {
      const status = error instanceof DockerRefusedError ? statusOf(error.cause) : undefined;
      if (status !== undefined && statuses.includes(status)) return undefined;
      throw error;
    }
  }

  /** dockerode's types leave the options out. */
  const pingUntil = docker.ping.bind(docker) as unknown as (options: { abortSignal: AbortSignal }) => Promise<unknown>;

  async function ping(): Promise<void> {
    // Ended with its socket: what a frozen engine never answers must not pile up.
    const asked = new AbortController();
    try {
      await ask('answer', pingUntil({ abortSignal: asked.signal }), DOCKER_PING_MS);
    } finally {
      asked.abort();
    }
  }

  await ping();
  return {
    ...createDockerImages(docker, ask, unless),
    ping,
    async limits() {
      const info = (await ask('describe itself', docker.info())) as Partial<Record<string, boolean>>;
      return {
        memory: info['MemoryLimit'] !== false,
        cpus: info['CpuCfsQuota'] !== false,
        pids: info['PidsLimit'] !== false,
      };
    },
    async containers(labels) {
      const found = await ask(
        'list containers',
        docker.listContainers({ all: true, filters: { label: labelFilter(labels) } }),
      );
      return found.map(({ Id }) => Id);
    },
    inspect: (container) => unless([404], ask('describe a container', docker.getContainer(container).inspect())),
    create: async (options) => (await ask('create the container', docker.createContainer(options))).id,
    async start(id) {
      await unless([304], ask('start the container', docker.getContainer(id).start()));
    },
    async kill(id, signal) {
      await unless([404, 409], ask('signal the container', docker.getContainer(id).kill({ signal })));
    },
    async remove(id) {
      await unless([404], ask('remove the container', docker.getContainer(id).remove({ v: true })));
    },
    async image(reference, platform) {
      const facts = await unless([404], ask('describe an image', docker.getImage(reference).inspect()));
      return facts === undefined || !isFor(platform, facts) ? undefined : facts.Id;
    },
    async pull(reference, platform, onStep, signal) {
      const what = `pull ${reference}`;
      const read = async (): Promise<void> => {
        const stream = await docker.pull(reference, {
          abortSignal: signal,
          ...(platform !== undefined && { platform }),
        });
        for await (const step of jsonLines<PullStep>(stream as Readable)) {
          if (step.error !== undefined) throw new DockerRefusedError(what, step.error);
          onStep(step);
        }
      };
      try {
        await ask(what, read(), DOCKER_PULL_MS);
      } catch (error) {
        throw signal.aborted ? signal.reason : error;
      }
    },
    network: (name) =>
      unless([404], ask('describe a network', docker.getNetwork(name).inspect() as Promise<NetworkFacts>)),
    async createNetwork(options) {
      await ask('create the network', docker.createNetwork(options));
    },
    async removeNetwork(name) {
      await unless([404], ask('remove the network', docker.getNetwork(name).remove()));
    },
    logs: async (id, { tail }) =>
      asBuffer(
        await ask(
          'read the log',
          docker
            .getContainer(id)
            .logs({ stdout: true, stderr: true, timestamps: true, tail: tail as number, follow: false }),
        ),
      ),
    followLogs: async (id, { since }, signal) =>
      untilAborted(
        await ask(
          'follow the log',
          docker.getContainer(id).logs({
            ...{ stdout: true, stderr: true, timestamps: true, follow: true },
            // dockerode's types want a number, which cannot hold nanoseconds.
            since: since as unknown as number,
          }),
        ),
        signal,
      ),
    async exec(id, command, { input }, signal) {
      const made = await ask(
        'prepare the command',
        docker.getContainer(id).exec({ Cmd: command, AttachStdin: input, AttachStdout: true, AttachStderr: true }),
      );
      const how = { Detach: false, Tty: false, ...(input && { hijack: true, stdin: true }) };
      const stream = untilAborted(await ask('run the command', made.start(how)), signal) as Duplex;
      return {
        stream,
        inspect: () => ask('describe the command', made.inspect()),
      };
    },
    events: async (labels, signal) =>
      untilAborted(
        await ask('tell events', docker.getEvents({ filters: { type: ['container'], label: labelFilter(labels) } })),
        signal,
      ),
  };
}

/** An image says its variant only where it has one. */
function isFor(
  platform: string | undefined,
  facts: { Os: string; Architecture: string; Variant?: string | undefined },
): boolean {
  if (platform === undefined) return true;
  const [os, architecture, variant] = platform.split('/');
  const other =
    variant !== undefined && facts.Variant !== undefined && facts.Variant !== '' && facts.Variant !== variant;
  return facts.Os === os && facts.Architecture === architecture && !other;
}

/** dockerode's own way to abort reports an error that nobody can catch while the stream is not being read. */
function untilAborted(stream: NodeJS.ReadableStream, signal: AbortSignal): Readable {
  const readable = stream as Readable;
  const end = (): void => void readable.destroy();
  readable.on('error', () => undefined);
  readable.once('close', () => signal.removeEventListener('abort', end));
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  return readable;
}

/** dockerode gives parsed JSON when a body happens to be JSON; frames with their binary head never are. */
function asBuffer(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : '');
}
