// The service-network port: names and local addresses for calls, and the tunnel that carries them to another node.
// Adapter: tunnel-network.ts (real sockets); simulations/sim-service-network.ts hands out addresses and carries nothing.

import type { CallableService, MicroserviceName, ServicePort } from '../control/plan.ts';
import type { DatagramCall, DatagramCallEvents } from './datagram-call.ts';
import type { PeerId } from './mesh.ts';
import type { RelayEnd } from './tunnel-relay.ts';

/** A workload's own key and certificate chain, PEM, leaf first. */
export interface WorkloadCredential {
  keyPem: string;
  /** Leaf, node authority, issuing authority. */
  chainPem: string;
}

export interface AttachedInstance extends MicroserviceName {
  instance: string;
  credential: WorkloadCredential;
  calls: CallableService[];
  /** Where its own service ports are reached on this node. */
  listens: { port: number; host: string; hostPort: number; protocol?: 'udp' }[];
  /**
   * Of an instance with a network of its own: its service addresses are from `serviceRange` (CIDR), and answer nobody but its own
   * `address`. Else they are 127.x.y.z, which only this box reaches.
   */
  network?: { address: string; serviceRange: string };
  /** It calls by `carry` alone: it has no addresses, by which others of this box could call as it. */
  unaddressed?: true;
  /**
   * Of an adopted workload: the environment it was launched with, from which the service addresses that it holds are read. They are
   * used, or `attach` rejects.
   */
  adoptedEnv?: Record<string, string>;
}

/** Where a tunnel's server is reached; delivered over an admitted link only. */
export interface TunnelOffer {
  /** `host:port`, IPv6 hosts in brackets. */
  addresses: string[];
  /** SHA-256 (hex) of the public key (SPKI) of the node authority that issues its workloads' certificates. */
  authorityKeySha256: string;
}

/** One instance that serves one port, as announced by its node and checked against its ticket. */
export interface Endpoint extends MicroserviceName, ServicePort {
  instance: string;
  peerId: PeerId;
  ready: boolean;
}

export interface ServiceNetwork {
  start(): Promise<void>;
  stop(): Promise<void>;
  /** What others need to call this node; undefined before `start` has bound. */
  offer(): Omit<TunnelOffer, 'authorityKeySha256'> | undefined;
  /**
   * Makes the instance's service addresses (again the same ones for an instance that was adopted). For one that is attached already it
   * replaces calls, ports and credential. Rejects with ServicePortNotPermittedError, ServiceAddressTakenError, ServiceAddressError,
   * WorkloadCredentialError, ServiceNetworkLimitError or ServiceNetworkStoppedError; what was attached before is then unchanged.
   */
  attach(
    instance: AttachedInstance,
  ): Promise<{ env: Record<string, string>; hosts: { address: string; names: string[] }[] }>;
  /** New credential for an attached instance (no error when there is none); open connections live on. Throws WorkloadCredentialError. */
  renew(instance: string, credential: WorkloadCredential): void;
  /** Closes its addresses and connections. No error when there is none. */
  detach(instance: string): Promise<void>;
  /**
   * Carries a connection that an attached instance accepted to a service that it calls, as one to a service address is carried; reset when
   * it may not, or nobody answers. Nothing of it may have been read.
   */
  carry(near: RelayEnd, instance: string, wanted: CallableService): void;
  /** The same of a flow of datagrams; undefined when it calls no such thing, or begins too many. */
  carryDatagrams(instance: string, wanted: CallableService, events: DatagramCallEvents): DatagramCall | undefined;
  /** The whole current table, own instances included. */
  setEndpoints(endpoints: readonly Endpoint[]): void;
  /** Where to reach a linked peer's tunnel; undefined when the link is gone. */
  setOffer(peerId: PeerId, offer: TunnelOffer | undefined): void;
  /** The link went through others and is gone without the will of either end. What the peer offered holds for a moment, by other ways. */
  loseWay(peerId: PeerId): void;
  /** Calls are carried on what this node has with that neighbour, to or from anybody. */
  carries(neighbour: PeerId): boolean;
  /** Policies are others than before: open calls that they deny are reset now, and not only when the next look comes. */
  recheck(): void;
}
