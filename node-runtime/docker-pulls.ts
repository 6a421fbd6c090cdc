// Images that are not on this box yet: pulled when an instance needs them. Called by docker-engine.ts. A pull is ended when its
// instance goes; the layers that are there by then stay.

import type { DockerClient } from './docker-client.ts';
import { DockerRefusedError } from './errors.ts';

export interface DockerPulls {
  /** The id of the local image, pulled when it is not there. */
  image(instance: string, reference: string): Promise<string>;
  cancel(instance: string): void;
  cancelAll(): void;
}

export function createDockerPulls({ docker: connected }: { docker(): DockerClient }): DockerPulls {
  const pulls = new Map<string, AbortController>();
  return {
    async image(instance, reference) {
      const docker = connected();
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
    },
    cancel: (instance) => pulls.get(instance)?.abort(),
    cancelAll() {
      for (const pull of pulls.values()) pull.abort();
    },
  };
}
