// Whether Docker answers: connects, listens to its events, asks for signs of life, and begins anew when it goes or is frozen. Called by docker-engine.ts. It knows
// nothing of instances, and never gives up.

import type { Readable } from 'node:stream';
import type { Clock } from './clock.ts';
import type { ContainerEvent, DockerClient } from './docker-client.ts';
import { jsonLines } from './json-lines.ts';
import { DOCKER_FIRST_LOOK_MS, DOCKER_PING_PERIOD_MS, DOCKER_RETRY_MS, DOCKER_RETRY_MS_MAX } from './limits.ts';

export interface DockerWatch {
  /** Resolves after the first try, or when that takes long. */
  start(): Promise<void>;
  stop(): Promise<void>;
  client(): DockerClient | undefined;
  unavailable(): string | undefined;
}

export interface DockerWatchOptions {
  clock: Clock;
  connect(): Promise<DockerClient>;
  /** Runs after each connection, before the client is given to anybody. */
  prepare(docker: DockerClient): Promise<void>;
  labels: Record<string, string>;
  onEvent(event: ContainerEvent): void;
  /** `unavailable` is another. */
  onChange(): void;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function createDockerWatch(options: DockerWatchOptions): DockerWatch {
  const { clock, connect, prepare, labels, onEvent, onChange } = options;
  let client: DockerClient | undefined;
  let reason: string | undefined = 'Docker has not answered yet';
  let stopping: AbortController | undefined;
  let watching: Promise<void> = Promise.resolve();

  function settle(next: DockerClient | undefined, why: string | undefined): void {
    const changed = reason !== why;
    client = next;
    reason = why;
    if (changed) onChange();
  }

  async function watch(signal: AbortSignal, onFirst: () => void): Promise<void> {
    for (let delayMs = DOCKER_RETRY_MS; !signal.aborted; delayMs = Math.min(delayMs * 2, DOCKER_RETRY_MS_MAX)) {
      try {
        const docker = await connect();
        // Events first: what happens while it is prepared is not missed.
        const events = await docker.events(labels, signal);
        try {
          await prepare(docker);
          if (signal.aborted) return;
          settle(docker, undefined);
          onFirst();
          delayMs = DOCKER_RETRY_MS;
          void keepAsking(docker, events, signal);
          for await (const event of jsonLines<ContainerEvent>(events)) onEvent(event);
        } finally {
          events.destroy();
        }
        if (!signal.aborted) settle(undefined, 'Docker closed the connection');
      } catch (error) {
        if (!signal.aborted) settle(undefined, messageOf(error));
      }
      onFirst();
      await clock.sleep(delayMs, signal).catch(() => undefined);
    }
  }

  /** A frozen engine keeps its connections: the events end, with the reason, when it gives no sign of life. */
  async function keepAsking(docker: DockerClient, events: Readable, signal: AbortSignal): Promise<void> {
    try {
      while (!events.destroyed) {
        await clock.sleep(DOCKER_PING_PERIOD_MS, signal);
        if (!events.destroyed) await docker.ping();
      }
    } catch (error) {
      events.destroy(error as Error);
    }
  }

  return {
    async start() {
      if (stopping !== undefined) return;
      stopping = new AbortController();
      const first = Promise.withResolvers<void>();
      watching = watch(stopping.signal, first.resolve);
      const timer = clock.setTimeout(first.resolve, DOCKER_FIRST_LOOK_MS);
      await first.promise;
      clock.clearTimeout(timer);
    },
    async stop() {
      stopping?.abort();
      stopping = undefined;
      await watching;
      client = undefined;
      reason = 'the engine is not started';
    },
    client: () => client,
    unavailable: () => reason,
  };
}
