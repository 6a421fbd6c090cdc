// The Docker Engine's API as the docker engine uses it: the only file that imports dockerode, and only once somebody listens at the
// socket. Called by docker-watch.ts and docker-engine.ts. It decides nothing; every answer has a deadline.

import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import type { TerminalSize } from '../control/exec-frames.ts';
import type { Clock } from './clock.ts';
import { asBuffer, isFor, untilAborted } from './docker-answers.ts';
import { createDockerImages, type DockerImages } from './docker-image-api.ts';
import { isPodman, podmanContainer, podmanNetwork, podmanNetworksPath } from './docker-podman.ts';
import { DockerRefusedError, DockerUnavailableError } from './errors.ts';
import { jsonLines } from './json-lines.ts';
import { DOCKER_ANSWER_MS, DOCKER_INSPECT_TRIES, DOCKER_PING_MS, DOCKER_PULL_MS } from './limits.ts';
import type { RegistryCredentials } from './registry-auth.ts';

export type ContainerFacts = Dockerode.ContainerInspectInfo;
export type ContainerOptions = Dockerode.ContainerCreateOptions;
export type NetworkFacts = Dockerode.NetworkInspectInfo;

export interface ContainerEvent {
  Action?: string;
  Actor?: { Attributes?: Record<string, string> };
}

export interface ExecRequest {
  command: string[];
  input: boolean;
  env: Record<string, string>;
  /** One of its own, so big. */
  terminal: TerminalSize | undefined;
}

/** A command in a container. */
export interface ContainerExec {
  /**
   * Once. Read: frames of Docker's stream format (of a terminal: its bytes), to the end of the command. Written: its stdin, where it
   * has one.
   */
  start(): Promise<Duplex>;
  /** Rejects until Docker has started the command. */
  resize(size: TerminalSize): Promise<void>;
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
  /** A small file of a container, whether it runs or not, as a tar archive; undefined when there is none. */
  archive(id: string, path: string, bytesMax: number): Promise<Buffer | undefined>;
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
    how: { platform?: string | undefined; credentials?: RegistryCredentials | undefined },
    onStep: (step: PullStep) => void,
    signal: AbortSignal,
  ): Promise<void>;
  network(name: string): Promise<NetworkFacts | undefined>;
  /** Names of all networks with these labels. */
  networks(labels: Record<string, string>): Promise<string[]>;
  createNetwork(options: Dockerode.NetworkCreateOptions): Promise<void>;
  removeNetwork(name: string): Promise<void>;
  /** What was written so far: frames of Docker's stream format. */
  logs(id: string, options: { tail: number | 'all' }): Promise<Buffer>;
  /** Frames from `since` (seconds with nanoseconds) on; ends with the container's run. */
  followLogs(id: string, options: { since: string }, signal: AbortSignal): Promise<Readable>;
  /** Prepares a command in a running container. */
  exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<ContainerExec>;
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

/** An engine that was stopped leaves the file of its socket behind: only a connection tells. */
function checkListens(socket: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const connection = connect(socket, resolve);
  connection.on('error', (error) => reject(new DockerUnavailableError(error.message, { cause: error })));
  return promise.finally(() => connection.destroy());
}

/** Resolves when the engine behind the socket has answered; rejects with DockerUnavailableError. */
export async function openDocker(socket: string, clock: Clock): Promise<DockerClient> {
  // Asked every few seconds on boxes without Docker: a connection that fails takes six times as long.
  if (!existsSync(socket)) throw new DockerUnavailableError(`there is no socket ${socket}`);
  await checkListens(socket);
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
  const podman = isPodman(await ask('tell its version', docker.version()));

  /** A path of the engine's that dockerode has no method for. */
  function post(path: string, body: object): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const statusCodes = {
      200: true,
      201: true,
      400: 'refused',
      404: 'not found',
      409: 'conflict',
      500: 'server error',
    };
    const asked = { path, method: 'POST', options: body, statusCodes };
    docker.modem.dial(asked, (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer)));
    return promise;
  }

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
    async inspect(container) {
      for (let tries = 1; ; tries += 1) {
        try {
          return await unless([404], ask('describe a container', docker.getContainer(container).inspect()));
        } catch (error) {
          // Podman looks into the /proc of a container that ends at this very moment.
          if (tries === DOCKER_INSPECT_TRIES || !/no such process/.test((error as Error).message)) throw error;
        }
      }
    },
    async archive(id, path, bytesMax) {
      const read = async (): Promise<Buffer> => {
        const stream = (await docker.getContainer(id).getArchive({ path })) as Readable;
        const chunks: Buffer[] = [];
        let bytes = 0;
        for await (const chunk of stream as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          if (bytes > bytesMax) break;
          chunks.push(chunk);
        }
        return Buffer.concat(chunks);
      };
      return unless([404], ask('read a file', read()));
    },
    async create(options) {
      const { name, platform, ...body } = podman ? podmanContainer(options) : options;
      // dockerode would repeat all of it in the address, which Docker bounds and writes into its log when it is asked to: with the
      // variables, secret ones too.
      const asked = { _query: { name, ...(platform !== undefined && { platform }) }, _body: body };
      return (await ask('create the container', docker.createContainer(asked as ContainerOptions))).id;
    },
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
    async pull(reference, { platform, credentials }, onStep, signal) {
      const what = `pull ${reference}`;
      const read = async (): Promise<void> => {
        const stream = await docker.pull(reference, {
          abortSignal: signal,
          ...(platform !== undefined && { platform }),
          ...(credentials !== undefined && { authconfig: credentials }),
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
    async networks(labels) {
      const filters = { label: labelFilter(labels) };
      return (await ask('list networks', docker.listNetworks({ filters }))).map(({ Name }) => Name);
    },
    async createNetwork(options) {
      const made = podman ? post(podmanNetworksPath, podmanNetwork(options)) : docker.createNetwork(options);
      await ask('create the network', made);
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
    async exec(id, { command, input, env, terminal }, signal) {
      const asked = {
        ...{ Cmd: command, AttachStdin: input, AttachStdout: true, AttachStderr: true, abortSignal: signal },
        Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
        // Engines before 23 know no size here.
        ...(terminal && { Tty: true, ConsoleSize: [terminal.rows, terminal.columns] as [number, number] }),
      };
      const made = await ask('prepare the command', docker.getContainer(id).exec(asked)).catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error;
      });
      const how = { Detach: false, Tty: terminal !== undefined, ...(input && { hijack: true, stdin: true }) };
      return {
        async start() {
          const stream = (await ask('run the command', made.start(how))) as Duplex;
          stream.on('error', () => undefined);
          return stream;
        },
        async resize({ rows, columns }) {
          await ask('resize a terminal', made.resize({ h: rows, w: columns }));
        },
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
