// All containers of this node, described. Called by docker-engine.ts. One that Docker cannot describe is left out: an image whose
// /etc/passwd is a pipe keeps Docker waiting, with that container locked, for ever, and must not take the others away with it.

import type { ContainerFacts, DockerClient } from './docker-client.ts';
import { DockerUnavailableError } from './errors.ts';
import { DOCKER_INSPECTS_MAX } from './limits.ts';

/** In the order of the ids, without those that are gone by now. Rejects when Docker gives no sign of life, or refuses. */
export async function describeAll(
  docker: Pick<DockerClient, 'inspect' | 'ping'>,
  ids: readonly string[],
): Promise<ContainerFacts[]> {
  const found = new Map<string, ContainerFacts | undefined>();
  const queue = [...ids];
  let late = false;
  const worker = async (): Promise<void> => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      try {
        found.set(id, await docker.inspect(id));
      } catch (error) {
        if (!(error instanceof DockerUnavailableError)) throw error;
        late = true;
      }
    }
  };
  await Promise.all(Array.from({ length: DOCKER_INSPECTS_MAX }, worker));
  if (late) await docker.ping();
  return ids.flatMap((id) => found.get(id) ?? []);
}
