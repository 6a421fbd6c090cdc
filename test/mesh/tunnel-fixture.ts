// Nodes with real service networks on loopback, instances with real certificates, and small workloads for them to carry.

import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import type { CallableService, MicroserviceName } from '../../control/plan.ts';
import type { DeniedCall } from '../../mesh/denied-calls.ts';
import type { Mesh } from '../../mesh/mesh.ts';
import type { CallOutcome } from '../../mesh/service-calls.ts';
import type { Endpoint, ServiceNetwork, WorkloadCredential } from '../../mesh/service-network.ts';
import { createTunnelNetwork, type TunnelNetworkOptions } from '../../mesh/tunnel-network.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { eventually } from '../eventually.ts';
import type { TestFabric, TestNode } from './credentials.ts';
import { startNode as startMesh } from './libp2p-world.ts';

export const nameOf = (microservice: string, application = 'cold-chain'): MicroserviceName => ({
  project: 'default',
  application,
  microservice,
});

export const callable = (microservice: string, port = 8080, application?: string): CallableService => ({
  ...nameOf(microservice, application),
  port,
});

export interface NetworkNode extends TestNode {
  network: ServiceNetwork;
  denied: DeniedCall[];
  outcomes: CallOutcome[];
  /** Attaches `<microservice>.<index>`; returns its address for each service that it calls. */
  attach(
    name: MicroserviceName,
    options?: {
      index?: number;
      calls?: CallableService[];
      listens?: Record<number, number>;
      udpListens?: Record<number, number>;
      credential?: WorkloadCredential;
      adoptedEnv?: Record<string, string>;
    },
  ): Promise<{
    instance: string;
    env: Record<string, string>;
    hosts: { address: string; names: string[] }[];
    address: (service: string) => string;
  }>;
  endpoint(name: MicroserviceName, options?: { index?: number; port?: number; ready?: boolean }): Endpoint;
}

export const instanceOf = ({ project, application, microservice }: MicroserviceName, index = 0) =>
  `${project}.${application}.${microservice}.${index}`;

/** A node whose network is started, and stopped when the test ends. It admits everybody unless told otherwise. */
export async function startNode(
  t: ExecutionContext,
  fabric: TestFabric,
  node: TestNode,
  options: Partial<TunnelNetworkOptions> = {},
): Promise<NetworkNode> {
  const denied: DeniedCall[] = [];
  const outcomes: CallOutcome[] = [];
  const network = createTunnelNetwork({
    clock: createSystemClock(),
    random: createSystemRandom(),
    node: node.peerId,
    listen: { hosts: ['127.0.0.1'], port: 0 },
    verifyChain: fabric.verifyChain,
    isPeerAdmitted: () => true,
    localPeerId: node.peerId,
    advertisedHosts: () => ['127.0.0.1'],
    onDenied: (event) => denied.push(event),
    onCall: (outcome) => outcomes.push(outcome),
    ...options,
  });
  t.teardown(() => network.stop());
  await network.start();
  return {
    ...node,
    network,
    denied,
    outcomes,
    async attach(name, options = {}) {
      const {
        index = 0,
        calls = [],
        listens = {},
        udpListens = {},
        credential = node.issue(name),
        adoptedEnv,
      } = options;
      const instance = instanceOf(name, index);
      const host = '127.0.0.1';
      const ports = [
        ...Object.entries(listens).map(([port, hostPort]) => ({ port: Number(port), host, hostPort })),
        ...Object.entries(udpListens).map(([port, hostPort]) => ({
          ...{ port: Number(port), host, hostPort },
          protocol: 'udp' as const,
        })),
      ];
      const given = await network.attach({
        ...name,
        instance,
        credential,
        calls,
        listens: ports,
        ...(adoptedEnv && { adoptedEnv }),
      });
      const address = (service: string) => given.hosts.find(({ names }) => names.includes(service))?.address ?? 'none';
      return { instance, ...given, address };
    },
    endpoint: (name, { index = 0, port = 8080, ready = true } = {}) => ({
      ...name,
      instance: instanceOf(name, index),
      port,
      peerId: node.peerId,
      ready,
    }),
  };
}

/** Tells `from` where the tunnel of `to` is, as a link would. */
export function link(
  from: NetworkNode,
  to: NetworkNode,
  changes: Partial<{ addresses: string[]; authorityKeySha256: string }> = {},
): void {
  const { addresses } = to.network.offer() ?? { addresses: [] };
  from.network.setOffer(to.peerId, { addresses, authorityKeySha256: to.authorityKeySha256, ...changes });
}

export interface LinkedMesh extends Pick<Mesh, 'open' | 'handle' | 'connection'> {
  disconnect(): Promise<void>;
}

/** Two linked meshes; to the tunnel each of them is the other end, whatever keys it has. */
export async function linkedMeshes(t: ExecutionContext): Promise<[LinkedMesh, LinkedMesh]> {
  const [one, two] = await Promise.all([startMesh(t), startMesh(t)]);
  await one.connect({ peerId: two.peerId, addresses: two.addresses() });
  await eventually(() => two.connected().includes(one.peerId));
  one.admit(two.peerId);
  two.admit(one.peerId);
  const towards = (self: Mesh, other: Mesh): LinkedMesh => ({
    disconnect: () => self.disconnect(other.peerId),
    open: (_peer, protocol, signal) => self.open(other.peerId, protocol, signal),
    handle: (protocol, audience, handler) => self.handle(protocol, audience, handler),
    connection: () => self.connection(other.peerId),
  });
  return [towards(one, two), towards(two, one)];
}

/** A TCP server on loopback, closed with all its connections when the test ends. Returns its port. */
export async function serve(t: ExecutionContext, onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A port on loopback that nobody listens on. */
export async function closedPort(): Promise<number> {
  // Below the ports that the kernel gives out: what another test listens at on every address must not come to lie here meanwhile.
  for (;;) {
    const port = randomInt(12_000, 32_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '0.0.0.0', () => resolve(true));
    });
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A connection as a workload makes it; errors are kept in `errored`. */
export async function dial(t: ExecutionContext, host: string, port = 8080): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Everything until the end; rejects with the socket's error when it is reset. */
export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Sends a line and reads to the end. */
export async function ask(t: ExecutionContext, host: string, text: string, port = 8080): Promise<string> {
  const socket = await dial(t, host, port);
  socket.end(text);
  return readAll(socket);
}

/** A workload that answers with its name once the caller has ended its side. */
export const answering = (name: string) => (socket: Socket) => {
  socket.resume();
  socket.on('end', () => socket.end(name));
};

/** Resolves with the code of the error that ends the socket, also while it still connects. */
export function brokenWith(socket: Socket): Promise<string> {
  socket.resume();
  return new Promise((resolve) => {
    socket.once('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
    socket.once('close', (hadError) => {
      if (!hadError) resolve('a clean end');
    });
  });
}
