// Containers that share the network of the box (`hostNetwork`), as processes do: which ones do, and their /etc/hosts, in place of the
// resolver that containers of a bridge have. Called by docker-engine.ts and docker-launch.ts. It starts and changes no container.

import type { DockerOptions, WorkloadSpec } from '../control/plan.ts';
import type { ContainerFacts } from './docker-client.ts';
import type { Launch } from './engine.ts';
import { hostsFile } from './process-names.ts';

type DockerSpecification = WorkloadSpec & { engine: 'docker' };

export const sharesBox = (spec: WorkloadSpec): spec is DockerSpecification =>
  spec.engine === 'docker' && spec.hostNetwork === true;

export const isOnBox = ({ HostConfig }: ContainerFacts): boolean => HostConfig.NetworkMode === 'host';

/** As Docker writes them: `name:address`. */
export const linesOf = ({ extraHosts = {} }: DockerOptions): string[] =>
  Object.entries(extraHosts).map(([name, address]) => `${name}:${address}`);

/** What it resolves: the names of its specification, then of services, then of the box. */
export function boxHosts(hosts: Launch['hosts'], extraHosts: readonly string[]): Promise<string> {
  const own = extraHosts.map((line) => {
    const colon = line.indexOf(':');
    return { address: line.slice(colon + 1), names: [line.slice(0, colon)] };
  });
  return hostsFile([...own, ...hosts]);
}
