// Documents of the fabric database (controllers only) and the observed documents of mailboxes. Types only.

import type { CallPolicy } from './call-policy.ts';
import type { DeviceNeed } from './devices.ts';
import type { GatewayGrant, GatewaySpec, ObservedGateway } from './gateway.ts';
import type { Device, Hardware } from './hardware.ts';
import type {
  Balancing,
  EngineSpec,
  PlanVersion,
  PortSpec,
  ProbeKind,
  Probes,
  Resources,
  ServicePort,
  VolumeSpec,
} from './plan.ts';

export type RouterMode = 'interior' | 'edge';

/** `node/<name>` */
export interface NodeRecord {
  _id: `node/${string}`;
  _rev?: string;
  name: string;
  peerId: string;
  router: RouterMode;
  controller: boolean;
  /** Given with the token or `up --label`, and `selvedge/router`, `selvedge/node`, `selvedge/arch`, `selvedge/os` set by Selvedge. */
  labels: Record<string, string>;
  /** Every engine that the node has offered so far: an engine that is restarted takes no work away. */
  engines: string[];
  /** Those of them that cannot be used now, and why: nothing new is placed on them. */
  unavailableEngines?: Record<string, string>;
  /** What of its box placement looks at, as it said last; undefined for nodes that never said. */
  placementHardware?: PlacementHardware;
  /** SubjectPublicKeyInfo of the node's authority key, base64 DER. */
  authorityPublicKey: string;
  issueNumber: number;
  admittedAt: number;
  admittedBy: 'founding' | 'token' | 'approval' | 'window';
  /** Its membership was taken away for good: nothing is placed on it, and it has no mailbox. The bulletin's fact is what others obey. */
  revoked?: { at: number; reason: string };
}

/** Of a node's box. */
export interface PlacementHardware {
  arch: string;
  memoryBytes: number;
  devices: Pick<Device, 'id' | 'kind' | 'paths' | 'links' | 'vendor' | 'product' | 'serial' | 'partOf'>[];
  /** Containers may have devices there. */
  devicesAllowed: boolean;
}
/** A Config or Secret that is mounted: its name alone where nothing more is said of it. */
export type MountReference = string | { name: string; onChange: 'restart' };

export type EnvironmentReference = { key: string; onChange?: 'restart' } & ({ config: string } | { secret: string });

/** A service of another application, as its caller names it. */
export interface DeclaredCall extends ServicePort {
  /** The caller's own where it is left out. */
  project?: string;
  application: string;
  microservice: string;
}

export type MicroserviceSpec = EngineSpec &
  Probes & {
    name: string;
    env: Record<string, string>;
    ports: PortSpec[];
    configs: MountReference[];
    /** Left out where there is none, as is `envFrom`. */
    secrets?: MountReference[];
    envFrom?: Record<string, EnvironmentReference>;
    resources?: Resources;
    volumes?: VolumeSpec[];
    /** Beyond its own application; left out where there is none. */
    calls?: DeclaredCall[];
    replicas: number;
    /** Left out where it is plain round-robin. */
    balancing?: Balancing;
    placement: { node?: string; labels?: Record<string, string>; arch?: string; devices?: DeviceNeed[] };
    healthyAfterMs?: number;
    dependsOn: string[];
    restart: 'always' | 'on-failure' | 'never';
    stopTimeoutMs: number;
  };

/** `application/<project>/<name>` */
export interface ApplicationRecord {
  _id: `application/${string}/${string}`;
  _rev?: string;
  project: string;
  name: string;
  /** Counts up at each change. */
  generation: number;
  microservices: MicroserviceSpec[];
  appliedAt: number;
}

/** `config/<project>/<name>` */
export interface ConfigRecord {
  _id: `config/${string}/${string}`;
  _rev?: string;
  project: string;
  name: string;
  generation: number;
  /** Path inside the config's folder to base64 content. */
  files: Record<string, string>;
}

/** `secret/<project>/<name>` */
export interface SecretRecord {
  _id: `secret/${string}/${string}`;
  _rev?: string;
  project: string;
  name: string;
  generation: number;
  /** Key to salted content in base64 (salted-content.ts). */
  data: Record<string, string>;
}

/** `policy/<project>/<name>` */
export interface PolicyRecord extends CallPolicy {
  _id: `policy/${string}/${string}`;
  _rev?: string;
  generation: number;
}

/** `gateway/<project>/<name>` */
export interface GatewayRecord {
  _id: `gateway/${string}/${string}`;
  _rev?: string;
  project: string;
  name: string;
  generation: number;
  spec: GatewaySpec;
  /** Those of its manifest. */
  grants: GatewayGrant[];
  /** Those that were added beside it: another apply leaves them. */
  added: GatewayGrant[];
}

/**
 * `placement/<project>/<application>`: where the lease holder has put instances; index by instance name. Of an application that was deleted
 * it stays while `leaving` has somebody.
 */
export interface PlacementRecord {
  _id: `placement/${string}/${string}`;
  _rev?: string;
  instances: Record<string, { node: string }>;
  /** Instances with no node: for every node why not. */
  unplaced: Record<string, Record<string, string>>;
  /** By microservice, of those that depend on others: what counts once they are not declared any more. */
  order?: Record<string, StopOrder>;
  /** By instance name: what is not declared any more and has not ended yet, where its order counts across nodes. */
  leaving?: Record<string, Leaving>;
}

/** What the end of a microservice's instances holds up, and for how long at most. */
export interface StopOrder {
  dependsOn: string[];
  stopTimeoutMs: number;
}

export interface Leaving extends StopOrder {
  node: string;
  /** Since when its node's plan has it no longer; undefined while it stays. */
  endingSince?: number;
}

/** `stage/<project>/<application>`: what is fetched ahead of an apply. Goes when the application is applied or deleted, or expires. */
export interface StageRecord {
  _id: `stage/${string}/${string}`;
  _rev?: string;
  project: string;
  name: string;
  microservices: MicroserviceSpec[];
  askedAt: number;
  expiresAt: number;
}

/** `event/<controller>/<sequence>`: hash-chained per controller. */
export interface LedgerEvent {
  _id: `event/${string}/${string}`;
  at: number;
  /** e.g. `node-admitted`, `enrollment-refused`, `application-applied`, `write-refused`. */
  type: string;
  subject: string;
  message: string;
  /** SHA-256 (hex) of the event before, and of this one without this field. */
  previous: string;
  hash: string;
}

export type InstanceState =
  | 'waiting'
  | 'pulling'
  | 'creating'
  | 'starting'
  | 'running'
  | 'backingOff'
  | 'stopping'
  | 'stopped'
  | 'completed'
  | 'failed';

/** Where a port of an instance listens on its own node. */
export interface InstanceAddress {
  /** The name of the PortSpec. */
  port: string;
  host: string;
  hostPort: number;
  protocol?: 'udp';
}

/** `observed/instance/<name>` */
/** A step in the life of an instance. */
export interface InstanceTransition {
  at: number;
  state: InstanceState;
  ready: boolean;
  /** Why, where the state says it. */
  reason: string;
}

export interface ObservedInstance {
  _id: `observed/instance/${string}`;
  _rev?: string;
  instance: string;
  node: string;
  engine: string;
  state: InstanceState;
  ready: boolean;
  /** Why it is not running or not ready; empty when it is. */
  reason: string;
  since: number;
  pid?: number;
  /** Restarts since it was created. */
  restarts: number;
  /** Of them so many in a row that the next wait is longer for it. */
  failures?: number;
  /** The steps up to now, the newest last; bounded. */
  history?: InstanceTransition[];
  /** What its probes found, since when. */
  probes?: Partial<Record<ProbeKind, { judgement: 'passing' | 'failing' | 'failed'; reason: string; since: number }>>;
  nextTryAt?: number;
  /** `outOfMemory`: the kernel ended it, or a part of it, at its memory limit. */
  exit?: { status?: number; signal?: string; outOfMemory?: true; at: number };
  addresses?: InstanceAddress[];
  /** Which of its limits the node cannot hold, and why. */
  limits?: string;
  specHash: string;
  /** The content of configs and secrets that it has: `contentKey` of workload-spec.ts; absent where it has none. */
  content?: string;
  /** The plan that this answers. */
  version: PlanVersion;
}

/** An engine that a node has, or has had since it started. */
export interface ObservedEngine {
  name: string;
  /** Why it cannot be used now. */
  unavailable?: string;
}

/** Something that the plan says to fetch ahead. */
export interface ObservedStage {
  /** Id of the plan's item, and which of its tries this answers. */
  id: string;
  askedAt: number;
  state: 'waiting' | 'pulling' | 'staged' | 'failed';
  /** How far it is, or why it failed. */
  reason: string;
}

export interface ObservedLink {
  peerId: string;
  node: string;
  kind: 'uplink' | 'direct' | 'inbound';
  roundTripMs?: number;
  /** What the far end says it is. The following are absent in what older nodes wrote, and while they are not known. */
  router?: RouterMode;
  /** What crossing it costs routes. */
  costMicroseconds?: number;
  /** By the node's own clock. */
  since?: number;
  /** Of the far end. */
  address?: string;
  /** Peer id of the neighbour that carries it, where it goes through others. */
  through?: string;
  /** Why the node does not reach it directly then; absent until it has tried. */
  indirect?: string;
  sentBytes?: number;
  receivedBytes?: number;
}

/** A peer that the node wants to be linked to and cannot reach. */
export interface ObservedUnreached {
  peerId: string;
  reason: string;
  since: number;
}

/** What is wrong with calls of a node's instances, as that node finds. */
export interface ObservedCalls {
  /** Instances that are announced as ready and did not take a call: others are called in their place until then. */
  ejected: { instance: string; port: number; reason: string; failures: number; until: number }[];
  /** Callers whose last call of a service (`<microservice>:<port>`, of UDP `…/udp`) reached no instance. */
  failing: { caller: string; called: string; reason: string; since: number }[];
}

/** A call that a policy would have had to allow. */
export interface ObservedDenial {
  /** Of this node, another one for each denial. */
  id: string;
  at: number;
  /** `<project>.<application>.<microservice>` */
  caller: string;
  /** Peer id of the caller's node. */
  from: string;
  /** The same of what was called, and `:<port>`. */
  called: string;
  reason: string;
}

/** `observed/node` */
export interface ObservedNode {
  _id: 'observed/node';
  _rev?: string;
  node: string;
  peerId: string;
  software: string;
  startedAt: number;
  /** Absent in what older nodes wrote. */
  engines?: ObservedEngine[];
  /** What it lets workloads have of its box; absent in what older nodes wrote. */
  policy?: { allow: string[]; images?: string[]; processUser?: string | null };
  /** What its box has; absent in what older nodes wrote. */
  hardware?: Hardware;
  /** Where it is, as its operator says. */
  location?: string;
  /** The plan that is obeyed; undefined before the first. */
  version?: PlanVersion;
  /** False when no controller is linked. */
  controllerReachable: boolean;
  links: ObservedLink[];
  /** When this was said, by its own clock; absent in what older nodes wrote. */
  at?: number;
  /** Absent while it reaches whom it wants. */
  unreached?: ObservedUnreached[];
  addresses: string[];
  /** What it fetches ahead; absent when its plan says nothing of that, and in what older nodes write. */
  staged?: ObservedStage[];
  /** Absent while all is well with them. */
  calls?: ObservedCalls;
  /** What it publishes; absent when its plan says nothing of that. */
  gateways?: ObservedGateway[];
  /** Calls that it denied lately, newest first, bounded; absent while there was none. */
  denied?: ObservedDenial[];
  /** What was refused or failed lately, newest first, bounded. */
  problems: { at: number; message: string }[];
}
