// Local addresses of called services: each (instance, service) pair has its own, so that the address says who calls: 127.x.y.z, or
// one that containers reach, which then answers that one container alone. Called by tunnel-network.ts. It listens and hands sockets over; it never connects anywhere.

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { CallableService, MicroserviceName } from '../control/plan.ts';
import { ServiceAddressError, ServiceAddressTakenError, ServicePortNotPermittedError } from './errors.ts';
import { callKeepAliveMs, serviceAddressCandidatesMax } from './limits.ts';
import {
  addressesOfEnvironment,
  candidateAddress,
  isServiceAddress,
  loopbackServiceRange,
  type NamedService,
  nameOf,
  nameServices,
  portsOf,
  portText,
  serviceEnvironment,
} from './service-names.ts';
import { resetSocket } from './tunnel-relay.ts';

export interface ServiceAddressesRequest extends MicroserviceName {
  instance: string;
  calls: readonly CallableService[];
  /** Of an instance with a network of its own: where its addresses are from, and where its calls come from. */
  network?: { address: string; serviceRange: string };
  /** Of an adopted workload: addresses in it are used or refused, never replaced. */
  adoptedEnv?: Record<string, string>;
}

export interface GivenAddresses {
  env: Record<string, string>;
  hosts: { address: string; names: string[] }[];
}

/** Gets a paused socket: nothing has been read of it. */
export type OnServiceConnection = (socket: Socket, instance: string, wanted: CallableService) => void;

export interface ServiceAddresses {
  /**
   * Listens for every service that the instance calls; again the same addresses for services that it has already. Throws
   * ServicePortNotPermittedError, ServiceAddressTakenError or ServiceAddressError, and then has changed nothing.
   */
  give(request: ServiceAddressesRequest): Promise<GivenAddresses>;
  /** Closes the instance's listeners; the sockets that it handed over are not its own. */
  take(instance: string): void;
}

/** Listens for the datagrams of an instance at one of its addresses; those of `from` alone where it is said. Rejects with the system's error. */
export type ListenDatagrams = (
  at: { address: string; port: number; from: string | undefined },
  instance: string,
  wanted: CallableService,
) => Promise<{ close(): void }>;

/** Who gets an address: the range to choose from, and the only host that may use it. */
interface Caller {
  instance: string;
  range: string;
  from: string | undefined;
}

interface Listening {
  address: string;
  /** By port and protocol. */
  servers: Map<string, Listener>;
}

/** Closed at once; connections that it has handed over live on. */
type Listener = Pick<Server, 'close'> | { close(): void };

export interface ServiceAddressesOptions {
  /** Differs between nodes: several may share one box. */
  seed: string;
  onConnection: OnServiceConnection;
  listenDatagrams: ListenDatagrams;
}

export function createServiceAddresses(options: ServiceAddressesOptions): ServiceAddresses {
  const { seed, onConnection, listenDatagrams } = options;
  const given = new Map<string, Map<string, Listening>>();
  const inUse = new Set<string>();

  /** Listens on the ports that are not in `servers` yet; all of them or none. */
  async function listenAt(
    address: string,
    service: NamedService,
    { instance, from }: Caller,
    servers = new Map<string, Listener>(),
  ) {
    const added = new Map<string, Listener>();
    for (const servicePort of portsOf(service).filter((one) => !servers.has(portText(one)))) {
      const { port, protocol } = servicePort;
      const wanted = { ...nameOf(service), ...servicePort };
      const accept = (socket: Socket): void => {
        if (from === undefined || socket.remoteAddress === from) onConnection(socket, instance, wanted);
        else {
          socket.on('error', () => undefined);
          resetSocket(socket);
        }
      };
      try {
        const listening =
          protocol === 'udp'
            ? listenDatagrams({ address, port, from }, instance, wanted)
            : listen(address, port, accept);
        added.set(portText(servicePort), await listening);
      } catch (error) {
        closeAll(added.values());
        const { code } = error as { code?: string };
        if (code === 'EADDRINUSE') return undefined;
        if (code === 'EACCES') throw new ServicePortNotPermittedError(service.key, port, { cause: error });
        throw new ServiceAddressError(service.key, address, { cause: error });
      }
    }
    return added;
  }

  async function listenAnywhere(service: NamedService, caller: Caller, before: string | undefined): Promise<Listening> {
    const { instance, range } = caller;
    if (before !== undefined) {
      const free = isServiceAddress(before, range) && !inUse.has(before);
      const servers = free ? await listenAt(before, service, caller) : undefined;
      if (servers === undefined) throw new ServiceAddressTakenError(service.key, service.ports, before);
      return { address: before, servers };
    }
    for (let attempt = 0; attempt < serviceAddressCandidatesMax; attempt += 1) {
      const address = candidateAddress(seed, instance, service.key, attempt, range);
      const servers = inUse.has(address) ? undefined : await listenAt(address, service, caller);
      if (servers !== undefined) return { address, servers };
    }
    throw new ServiceAddressTakenError(service.key, service.ports, 'every address that was tried');
  }

  /** A running instance knows the address, so that another set of ports never changes it. */
  async function listenFurther(known: Listening, service: NamedService, caller: Caller): Promise<Listening> {
    const added = await listenAt(known.address, service, caller, known.servers);
    if (added === undefined) throw new ServiceAddressTakenError(service.key, service.ports, known.address);
    const wanted = portsOf(service).map(portText);
    const kept = [...known.servers].filter(([port]) => wanted.includes(port));
    return { address: known.address, servers: new Map([...kept, ...added]) };
  }

  return {
    async give({ instance, calls, network, adoptedEnv = {}, ...name }) {
      const range = network?.serviceRange ?? loopbackServiceRange;
      const caller: Caller = { instance, range, from: network?.address };
      const held = addressesOfEnvironment(adoptedEnv);
      const services = nameServices(name, calls);
      const current = given.get(instance) ?? new Map<string, Listening>();
      const next = new Map<string, Listening>();
      try {
        for (const service of services) {
          const known = current.get(service.key);
          const before = held.get(service.key);
          const listening = await (known
            ? listenFurther(known, service, caller)
            : listenAnywhere(service, caller, before));
          next.set(service.key, listening);
          inUse.add(listening.address);
        }
      } catch (error) {
        replace(next, current);
        throw error;
      }
      given.set(instance, next);
      replace(current, next);
      const byKey = new Map([...next].map(([key, { address }]) => [key, address]));
      return {
        env: serviceEnvironment(services, byKey),
        hosts: services.map(({ key, names }) => ({ address: byKey.get(key) ?? '', names })),
      };
    },

    take(instance) {
      replace(given.get(instance) ?? new Map(), new Map());
      given.delete(instance);
    },
  };

  /** Closes what only the old one has. */
  function replace(old: ReadonlyMap<string, Listening>, next: ReadonlyMap<string, Listening>): void {
    const keptServers = new Set([...next.values()].flatMap(({ servers }) => [...servers.values()]));
    const keptAddresses = new Set([...next.values()].map(({ address }) => address));
    for (const { address, servers } of old.values()) {
      closeAll([...servers.values()].filter((server) => !keptServers.has(server)));
      if (!keptAddresses.has(address)) inUse.delete(address);
    }
  }
}

async function listen(address: string, port: number, onSocket: (socket: Socket) => void): Promise<Server> {
  const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true };
  const alive = { keepAlive: true, keepAliveInitialDelay: callKeepAliveMs };
  const server = createServer({ ...options, ...alive }, onSocket);
  server.listen({ host: address, port, exclusive: true });
  await once(server, 'listening');
  // A failed accept (out of descriptors) loses that connection, never the node.
  server.on('error', () => undefined);
  return server;
}

/** The listening socket is closed at once; sockets that were handed over live on. */
function closeAll(servers: Iterable<Listener>): void {
  for (const server of servers) server.close();
}
