// The service network of the simulation: hands out the addresses that the real one would, and carries nothing. Made by scenarios
// and by tests of node-runtime; it listens nowhere.

import { ServiceNetworkStoppedError } from '../mesh/errors.ts';
import type { PeerId } from '../mesh/mesh.ts';
import { addressesOfEnvironment, candidateAddress, nameServices, serviceEnvironment } from '../mesh/service-names.ts';
import type {
  AttachedInstance,
  Endpoint,
  ServiceNetwork,
  TunnelOffer,
  WorkloadCredential,
} from '../mesh/service-network.ts';

export interface SimServiceNetworkOptions {
  /** What addresses are derived from, as in the real one. */
  node: string;
  /** `host:port` that it says it is reached at. */
  offered?: readonly string[];
}

export interface SimServiceNetwork extends ServiceNetwork {
  /** What it was told, for assertions. */
  attached(): AttachedInstance[];
  endpoints(): readonly Endpoint[];
  offers(): ReadonlyMap<PeerId, TunnelOffer>;
}

/** Deterministic: the same calls give the same addresses, whatever else happens. */
export function createSimServiceNetwork({ node, offered = ['sim:0'] }: SimServiceNetworkOptions): SimServiceNetwork {
  const attached = new Map<string, { instance: AttachedInstance; addresses: Map<string, string> }>();
  const offers = new Map<PeerId, TunnelOffer>();
  let endpoints: readonly Endpoint[] = [];
  let running = false;

  function addressFor(instance: string, key: string, used: ReadonlySet<string>): string {
    for (let attempt = 0; ; attempt += 1) {
      const address = candidateAddress(node, instance, key, attempt);
      if (!used.has(address)) return address;
    }
  }

  return {
    async start() {
      running = true;
    },

    async stop() {
      running = false;
      attached.clear();
      offers.clear();
    },

    offer: () => (running ? { addresses: [...offered] } : undefined),

    async attach(instance) {
      if (!running) throw new ServiceNetworkStoppedError();
      const services = nameServices(instance, instance.calls);
      const before = attached.get(instance.instance)?.addresses;
      const held = addressesOfEnvironment(instance.adoptedEnv ?? {});
      const used = new Set([...attached.values()].flatMap(({ addresses }) => [...addresses.values()]));
      const addresses = new Map<string, string>();
      for (const { key } of services) {
        const address = before?.get(key) ?? held.get(key) ?? addressFor(instance.instance, key, used);
        addresses.set(key, address);
        used.add(address);
      }
      attached.set(instance.instance, { instance, addresses });
      return {
        env: serviceEnvironment(services, addresses),
        hosts: services.map(({ key, names }) => ({ address: addresses.get(key) ?? '', names })),
      };
    },

    renew(name: string, credential: WorkloadCredential) {
      const entry = attached.get(name);
      if (entry !== undefined) attached.set(name, { ...entry, instance: { ...entry.instance, credential } });
    },

    async detach(instance) {
      attached.delete(instance);
    },

    setEndpoints(next) {
      endpoints = next;
    },

    setOffer(peerId, offer) {
      if (offer === undefined) offers.delete(peerId);
      else offers.set(peerId, offer);
    },

    loseWay: (peerId) => void offers.delete(peerId),

    carry: (near) => near.reset(),
    carryDatagrams: () => undefined,
    // It carries no calls.
    carries: () => false,
    recheck: () => undefined,

    attached: () => [...attached.values()].map(({ instance }) => instance),
    endpoints: () => endpoints,
    offers: () => offers,
  };
}
