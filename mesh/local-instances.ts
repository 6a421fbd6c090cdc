// The instances attached to this node, and the credential in use of each microservice. State only: tunnel-network.ts changes it, the
// tunnel's two sides read it.

import type { CallableService, MicroserviceName } from '../control/plan.ts';
import { serviceKey, tunnelServerName } from './service-names.ts';
import type { LoadedCredential } from './tunnel-credentials.ts';

export interface LocalInstance extends MicroserviceName {
  instance: string;
  calls: readonly CallableService[];
  listens: readonly { port: number; host: string; hostPort: number; protocol?: 'udp' }[];
  credential: LoadedCredential;
}

/** A microservice with at least one instance here. */
export interface LocalMicroservice extends MicroserviceName {
  readonly serverName: string;
  /** What it proves itself with now. Another object after a renewal. */
  readonly credential: LoadedCredential;
  readonly instances: readonly LocalInstance[];
}

export interface LocalInstances {
  get(instance: string): LocalInstance | undefined;
  /** By SNI. */
  byServerName(serverName: string): LocalMicroservice | undefined;
  byName(name: MicroserviceName): LocalMicroservice | undefined;
  /** Adds or replaces. A microservice that has a credential already keeps it. */
  put(instance: LocalInstance): void;
  /** The microservice uses the new credential from now on. */
  renew(instance: string, credential: LoadedCredential): void;
  remove(instance: string): LocalInstance | undefined;
  all(): LocalInstance[];
  readonly size: number;
}

export function createLocalInstances(): LocalInstances {
  const instances = new Map<string, LocalInstance>();
  const microservices = new Map<string, LocalMicroservice>();
  const byServerName = new Map<string, LocalMicroservice>();

  /** `preferred` wins; else the one in use while an instance still has it, else the one that is valid longest. */
  function refresh(name: MicroserviceName, preferred?: LoadedCredential): void {
    const key = serviceKey(name);
    const before = microservices.get(key);
    if (before !== undefined) byServerName.delete(before.serverName);
    microservices.delete(key);
    const members = [...instances.values()].filter((instance) => serviceKey(instance) === key);
    const credentials = members.map(({ credential }) => credential);
    const longest = credentials.toSorted((one, other) => other.identity.notAfter - one.identity.notAfter)[0];
    const kept = before !== undefined && credentials.includes(before.credential) ? before.credential : undefined;
    const credential = preferred ?? kept ?? longest;
    if (credential === undefined) return;
    const { project, application, microservice } = name;
    const serverName = tunnelServerName(name, credential.identity.fabricId);
    const current = { project, application, microservice, serverName, credential, instances: members };
    microservices.set(key, current);
    byServerName.set(serverName, current);
  }

  return {
    get: (instance) => instances.get(instance),
    byServerName: (serverName) => byServerName.get(serverName.toLowerCase()),
    byName: (name) => microservices.get(serviceKey(name)),
    put(instance) {
      const before = instances.get(instance.instance);
      instances.set(instance.instance, instance);
      if (before !== undefined && serviceKey(before) !== serviceKey(instance)) refresh(before);
      refresh(instance);
    },
    renew(name, credential) {
      const instance = instances.get(name);
      if (instance === undefined) return;
      instances.set(name, { ...instance, credential });
      refresh(instance, credential);
    },
    remove(name) {
      const instance = instances.get(name);
      instances.delete(name);
      if (instance !== undefined) refresh(instance);
      return instance;
    },
    all: () => [...instances.values()],
    get size() {
      return instances.size;
    },
  };
}
