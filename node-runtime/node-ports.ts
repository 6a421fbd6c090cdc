// Everything that a node needs from outside: the daemon gives the real adapters, the simulator its own. Types only.

import type { ObservedCalls } from '../control/fabric.ts';
import type { Replicate, Store } from '../control/store.ts';
import type { Authorize } from '../mesh/authorization.ts';
import type { DroppedDatagrams } from '../mesh/datagram-drops.ts';
import type { DeniedCall } from '../mesh/denied-calls.ts';
import type { OpenGateway } from '../mesh/gateway.ts';
import type { Address, FindStep, Mesh, PeerId } from '../mesh/mesh.ts';
import type { ServiceNetwork, WorkloadCredential } from '../mesh/service-network.ts';
import type { DeriveKey } from '../pki/approval-proof.ts';
import type { VerifyChain } from '../pki/identity.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import type { Trace } from './actor-system.ts';
import type { Box } from './box.ts';
import type { Clock } from './clock.ts';
import type { CreateController } from './controller.ts';
import type { Disk } from './disk.ts';
import type { Engines } from './engines.ts';
import type { BoxHardware } from './hardware/hardware.ts';
import type { Probe } from './instance-effects.ts';
import type { Random } from './random.ts';

/** What the service network must know of the node and the fabric. */
export interface ServiceNetworkNeeds {
  fabricId: string;
  /** Carries calls to nodes of which nothing but the mesh is reached. */
  mesh: Pick<Mesh, 'open' | 'handle' | 'connection'>;
  localPeerId: PeerId;
  /** Of the mesh: where others reach this node. */
  advertisedAddresses(): Address[];
  verifyChain: VerifyChain;
  /** For the credentials of instances here: their time aside, which only the other end judges. */
  verifyOwnChain: VerifyChain;
  /** Key and chain of this node's own authority, as they are now. */
  nodeCredential(): WorkloadCredential;
  /** Which way to other nodes. */
  step: FindStep;
  isPeerAdmitted(peerId: PeerId): boolean;
  isPeerRevoked(peerId: PeerId): boolean;
  /** Of a call to an instance there, in microseconds; undefined where nothing is known. */
  costOf(peerId: PeerId): number | undefined;
  /** What is wrong with calls of instances here is something else than before. */
  onTroubles(troubles: ObservedCalls): void;
  /** By the policies that this node knows of now. */
  authorize: Authorize;
  onDenied(denied: DeniedCall): void;
  onDropped(drops: DroppedDatagrams): void;
}

export interface NodePorts {
  clock: Clock;
  random: Random;
  keys: Keys;
  /** scrypt, for approval codes. */
  deriveKey: DeriveKey;
  disk: Disk;
  /** Absent where there is no real one. */
  box?: Box;
  engines: Engines;
  hardware: BoxHardware;
  probe: Probe;
  /** A port of this box that nobody has, TCP or UDP, and that is not among `taken`. */
  freePort: (taken: ReadonlySet<number>) => Promise<number>;
  replicate: Replicate;
  /** Opened once per start; closed by the node. */
  openStore(): Promise<Store>;
  createMesh(identity: PrivateKey): Promise<Mesh>;
  createServiceNetwork(needs: ServiceNetworkNeeds): ServiceNetwork;
  openGateway: OpenGateway;
  /** The deciding half of a controller; a worker never calls it, and need not load it. */
  createController: CreateController;
  /** As `process.arch` and `process.platform` say. */
  platform: { arch: string; os: string };
  hostName: string;
  /** Where the box is, in its operator's words. */
  location?: string;
  /** What links cost routes where its operator says so, in milliseconds, by the name of the node at the other end. */
  linkCostsMs?: ReadonlyMap<string, number>;
  /** How long links are believed in although nothing is heard, in the same way; `*` is all others. Both ends keep to the longer time. */
  keepAlivesMs?: ReadonlyMap<string, number>;
  /** Version of this program. */
  software: string;
  trace?: Trace;
}

export interface NodeSettings {
  name?: string;
  labels: Record<string, string>;
  router?: 'interior' | 'edge';
  found: boolean;
  fabricName?: string;
  /** Multiaddrs, or `host:port`. */
  join: string[];
  token?: string;
  /** Join without proof when exactly one fabric answers and its operator has opened a window. */
  trustLan?: boolean;
}

export type NodeEventType =
  | 'options'
  | 'listening'
  | 'searching'
  | 'found'
  | 'code'
  | 'waiting'
  | 'founded'
  | 'joining'
  | 'joined'
  | 'refused'
  | 'linked'
  | 'unlinked'
  | 'plan-obeyed'
  | 'instance'
  | 'device'
  | 'exec'
  | 'gateway'
  | 'problem'
  | 'mended'
  | 'removed'
  | 'stopping'
  | 'stopped';

/** What `up` prints as it happens. */
export interface NodeEvent {
  at: number;
  type: NodeEventType;
  message: string;
  [detail: string]: unknown;
}

export type Report = (type: NodeEventType, message: string, detail?: Record<string, unknown>) => void;
