// The plan: the one signed document that says everything a node must run. Types only: what is signed, what is compared.

import type { DeviceNeed } from './devices.ts';
import type { PlannedGateway } from './gateway.ts';

/** Which plan is newer: compared in this order. */
export interface PlanVersion {
  epoch: number;
  term: number;
  generation: number;
}

/** Who a microservice is: `spiffe://<fabric-id>/project/<project>/app/<application>/ms/<microservice>`. */
export interface MicroserviceName {
  project: string;
  application: string;
  microservice: string;
}

export interface ServicePort {
  /** That callers use; the same number may be one of each protocol. */
  port: number;
  /** Left out where it is TCP: specifications of what runs already stay as they are. */
  protocol?: 'udp';
}

export interface PortSpec extends ServicePort {
  /** DNS label, unique in the microservice; `http` and the like. */
  name: string;
}

export type ProbeSpec = {
  periodMs: number;
  timeoutMs: number;
  failureThreshold: number;
  successThreshold: number;
  initialDelayMs: number;
} & ({ http: { path: string; port: string } } | { tcp: { port: string } } | { exec: { command: string[] } });

/**
 * Startup: the other two begin when it has passed; it is restarted when that takes too long. Readiness: no traffic without it.
 * Liveness: restarted when it fails.
 */
export const probeKinds = ['startup', 'readiness', 'liveness'] as const;
export type ProbeKind = (typeof probeKinds)[number];

export type Probes = Partial<Record<ProbeKind, ProbeSpec>>;

/** Where a file's content is delivered, and the SHA-256 (hex) of what is delivered there; see salted-content.ts for secrets. */
export interface FileReference {
  slot: string;
  sha256: string;
}

/** A Config or a Secret as files: under `configs/<name>/` or `secrets/<name>/` in the instance's folder. */
export interface ConfigMount {
  name: string;
  files: (FileReference & { path: string })[];
  /** A changed content replaces the instance; without it a running one gets the new files. */
  onChange?: 'restart';
}

/** A variable whose value is one file of a Config or a Secret, as it was when the instance started. */
export type EnvironmentSource = FileReference & { key: string; onChange?: 'restart' } & (
    | { config: string }
    | { secret: string }
  );

/** The most that an instance may use; what is not said is not limited. */
export interface Resources {
  /** A quantity, as in the manifest: `128Mi`. */
  memory?: string;
  /** Cores; 0.5 is half of one. */
  cpus?: number;
  /** Processes and threads. */
  pids?: number;
}

/** What outlives an instance's runs: a volume of its own on its node, or a folder of the node. */
export interface VolumeSpec {
  /** DNS label, unique in the microservice. */
  name: string;
  /** Absolute, in a container; a program is told where its volume is. */
  path?: string;
  /** Absolute, on the node; in place of a volume. */
  hostPath?: string;
  readOnly?: boolean;
}

/** What is run, in the words of the engine that runs it. */
export type EngineSpec = ProcessSpec | DockerSpec | WasmSpec;

export interface ProcessSpec {
  engine: 'process';
  command: string[];
  /** `user` or `user:group` of the node, by name or number; left out: the node's default. */
  user?: string;
  /** Absolute; undefined is the instance's own folder. */
  workingDirectory?: string;
  /** It shares the node's network, in place of one of its own where the node has those for programs. */
  hostNetwork?: boolean;
}

/** What a container has of its box; all of it as in the manifest, and left out where nothing is said. */
export interface DockerOptions {
  /** `user` or `user:group`, by name or number. */
  user?: string;
  readOnlyRoot?: boolean;
  /** Names without CAP_. */
  capabilities?: { add?: string[]; drop?: string[] };
  privileged?: boolean;
  /** It shares the node's network in place of one of its own. */
  hostNetwork?: boolean;
  /** Paths of the node's devices, the same inside. */
  devices?: string[];
  /** Graphics processors by Docker's device requests: all, how many, or which by their ids. */
  gpus?: 'all' | number | string[];
  /** Of its output: how large a file (a quantity), and how many; the driver is the one that can be read back. */
  logging?: { maxSize?: string; maxFiles?: number };
  /** When the registry is asked for the image; `ifNotPresent` where nothing is said. */
  pullPolicy?: 'ifNotPresent' | 'always' | 'never';
  /** `os/architecture`, with a variant as wanted. */
  platform?: string;
  /** By the kernel's names without RLIMIT_, in small letters. */
  ulimits?: Record<string, { soft: number; hard: number }>;
  /** Of the container, for other programs. */
  labels?: Record<string, string>;
  /** Lines of its /etc/hosts: name to IP address. */
  extraHosts?: Record<string, string>;
}

export interface DockerSpec extends DockerOptions {
  engine: 'docker';
  /** Reference as `docker run` takes it. */
  image: string;
  /** In place of the image's ENTRYPOINT, and then its CMD does not count either. */
  command?: string[];
  /** In place of the image's CMD. */
  args?: string[];
  /** Absolute; undefined is what the image says. */
  workingDirectory?: string;
}

/** Where a module comes from; what it must be is said with it, or with its Config. */
export type WasmModule =
  | { url: string; sha256: string }
  /** Absolute, on the node. */
  | { hostPath: string; sha256: string }
  /** A file of a Config of the microservice. */
  | { config: string; file: string };

export interface WasmOptions {
  /** Run for each request; without it once, for as long as it lives. */
  trigger?: 'http';
  /** Of one request; limits.ts of node-runtime has what holds where nothing is said. */
  requestTimeoutMs?: number;
  /** Requests that are in the module at a time. */
  concurrency?: number;
}

export interface WasmSpec extends WasmOptions {
  engine: 'wasm';
  module: WasmModule;
  args?: string[];
  /** A module has neither. */
  command?: undefined;
  workingDirectory?: undefined;
}

/** What an engine needs to run one instance. */
export type WorkloadSpec = EngineSpec &
  Probes & {
    env: Record<string, string>;
    /** By name of the variable; left out where there is none. */
    envFrom?: Record<string, EnvironmentSource>;
    ports: PortSpec[];
    configs: ConfigMount[];
    /** Left out where there is none. */
    secrets?: ConfigMount[];
    resources?: Resources;
    volumes?: VolumeSpec[];
    /** It starts when these are there, and stops when one goes. */
    deviceNeeds?: DeviceNeed[];
    /** Left out where it is the default: a specification's hash outlives versions of the program. */
    healthyAfterMs?: number;
    restart: 'always' | 'on-failure' | 'never';
    stopTimeoutMs: number;
  };

/** What an engine fetches ahead of a start, and what the node's policy judges before: the rest of a workload is left out. */
export type StageSpec = EngineSpec & Pick<WorkloadSpec, 'volumes' | 'deviceNeeds'>;

/** Something that a node fetches and does not start. */
export interface StageItem {
  /** SHA-256 (hex) of the spec. */
  id: string;
  /** Milliseconds since 1970, by the controller: later than what was tried means try again. */
  askedAt: number;
  spec: StageSpec;
}

/** What chooses among the ready instances of a service: for each new connection, on the node of the caller. */
export const balancingPolicies = ['round-robin', 'closest', 'least-connections', 'sticky'] as const;
export type BalancingPolicy = (typeof balancingPolicies)[number];

export type Balancing =
  /** `localFirst`: instances on the caller's own node as long as one of them is ready. */
  | { policy: BalancingPolicy; localFirst?: true }
  /** The instance of this index, and no other. */
  | { instance: number };

/** A service port that an instance may call by name. */
export interface CallableService extends MicroserviceName, ServicePort {
  /** As the called microservice declares it; left out where it is plain round-robin. */
  balancing?: Balancing;
}

export interface PlannedInstance extends MicroserviceName {
  /** `<project>.<application>.<microservice>.<index>`; unique in the fabric. */
  name: string;
  index: number;
  spec: WorkloadSpec;
  /** Another value means replace. A SHA-256 (hex) over the spec, without the content that a running instance can be given. */
  specHash: string;
  calls: CallableService[];
  dependsOn: string[];
  /** JWS of a Ticket. */
  ticket: string;
}

/** The lease holder's word that a peer may serve an instance; carried by announcements. */
export interface Ticket extends PlanVersion, MicroserviceName {
  fabricId: string;
  instance: string;
  peerId: string;
  ports: number[];
  /** Left out where there is none; nodes that do not know it serve none. */
  udpPorts?: number[];
}

export interface Plan extends PlanVersion {
  fabricId: string;
  node: string;
  peerId: string;
  instances: PlannedInstance[];
  files: { slot: string; sha256: string }[];
  /** Left out when there is nothing to fetch ahead; versions that do not know it let it be. */
  stage?: StageItem[];
  /** Left out when it publishes nothing. */
  gateways?: PlannedGateway[];
}

/** The document `desired/plan`: one JWS of type `selvedge-plan+jws`. */
export interface PlanDocument {
  _id: 'desired/plan';
  jws: string;
}

/** The document `desired/authority`: chain of the node's authority, leaf first, base64 DER. */
export interface AuthorityDocument {
  _id: 'desired/authority';
  chain: string[];
}

/** The document `desired/file/<slot>`. */
export interface FileDocument {
  _id: `desired/file/${string}`;
  contentBase64: string;
}
