// What the API answers with: shapes that the CLI prints. Types only. Errors are RFC 9457 problem documents.

import type { CallPolicy } from './call-policy.ts';
import type {
  InstanceAddress,
  InstanceState,
  InstanceTransition,
  LedgerEvent,
  ObservedInstance,
  ObservedLink,
  RouterMode,
} from './fabric.ts';
import type { GatewaySpec, ObservedGateway } from './gateway.ts';
import type { Hardware } from './hardware.ts';
import type { PlanVersion, PortSpec } from './plan.ts';

export interface InstanceView {
  name: string;
  project: string;
  application: string;
  microservice: string;
  /** Undefined while it has no place. */
  node?: string;
  engine: string;
  state: InstanceState | 'unplaced' | 'planned';
  ready: boolean;
  reason: string;
  since?: number;
  pid?: number;
  restarts: number;
  nextTryAt?: number;
  /** How it ended, while it does not run. */
  exit?: NonNullable<ObservedInstance['exit']>;
  /** Failures in a row: how often it was tried since it ran well. */
  failures?: number;
  /** The steps up to now, the newest last. */
  history?: InstanceTransition[];
  /** What its probes found, and since when. */
  probes?: NonNullable<ObservedInstance['probes']>;
  /** Where its ports listen on its own node: reachable from that box, not from others. */
  addresses?: InstanceAddress[];
  /** Which of its limits the node cannot hold, and why. */
  limits?: string;
  /** Services (`<microservice>:<port>`) that its last call did not reach, and why. */
  failingCalls?: { called: string; reason: string; since: number }[];
  /** Nodes whose calls go to others until then, because it did not take them. */
  passedOver?: { by: string; port: number; reason: string; failures: number; until: number }[];
}

export interface NodeView {
  name: string;
  peerId: string;
  router: RouterMode;
  controller: boolean;
  labels: Record<string, string>;
  engines: string[];
  /** Those of them that cannot be used now, and why. */
  unavailableEngines?: Record<string, string>;
  /** What it lets workloads have of its box, the only images it runs, and whom programs run as that name nobody; null: the daemon's user. */
  policy?: { allow: string[]; images?: string[]; processUser?: string | null };
  /** What its box has, as it said last. */
  hardware?: Hardware;
  /** Where it is, in its operator's words. */
  location?: string;
  state: 'connected' | 'unreachable' | 'revoked';
  revoked?: { at: number; reason: string };
  admittedAt?: number;
  lastSeenAt?: number;
  version?: PlanVersion;
  /** The newest plan written for it is the one it obeys. */
  upToDate: boolean;
  links: ObservedLink[];
  addresses: string[];
  problems: { at: number; message: string }[];
  /** What stands in its way on its box now: a full disk, no descriptors. */
  conditions?: string[];
  instances: InstanceView[];
}

/** An instance that was removed, and whose last lines its node still has. */
export interface GoneInstanceView {
  name: string;
  node: string;
  goneAt: number;
}

/** Something that is fetched ahead on one node. */
export interface StagedView {
  microservice: string;
  engine: string;
  /** The image or module. */
  thing: string;
  /** Undefined where its instances have no place. */
  node?: string;
  state: 'waiting' | 'pulling' | 'staged' | 'failed';
  /** How far it is, whether it was there already, or why it failed. */
  reason: string;
}

/** What an application needs, fetched ahead without starting it. */
export interface StageView {
  project: string;
  application: string;
  askedAt: number;
  expiresAt: number;
  /** Empty when it needs nothing that a box may lack. */
  things: StagedView[];
}

export interface ApplicationView {
  project: string;
  name: string;
  generation: number;
  /** All instances of this generation are ready (or completed) on nodes that obey the newest plan. */
  ready: boolean;
  reason: string;
  appliedAt: number;
  microservices: { name: string; engine: string; replicas: number; ports: PortSpec[]; ready: number }[];
  instances: InstanceView[];
  /** What is fetched ahead for it, or for its next version. */
  staged?: StagedView[];
}

/** `GET /v1/status`: on a controller the fabric, on a worker that node alone. */
export interface StatusView {
  scope: 'fabric' | 'node';
  fabric: { id: string; name: string };
  /** The node that answers. */
  node: string;
  ok: boolean;
  /** One line each: what is not well and why. */
  problems: string[];
  controllerReachable: boolean;
  /** What everybody should see although nothing is wrong: an open window. */
  notices?: string[];
  /** Only on a box that belongs to no fabric and has no token. */
  approval?: ApprovalView;
  nodes: NodeView[];
  applications: ApplicationView[];
}

/** A box that shows a code and waits. */
export interface ApprovalView {
  /** `K7-ABCD-EFGH-JK`; for an operator of the fabric, who types it at a controller. */
  code: string;
  expiresAt: number;
  /** Fabrics that hold its request. Anybody may call a fabric anything: the code decides. */
  waitingAt: { fabricId: string; fabricName: string; peerId: string }[];
  /** Started with --trust-lan. */
  trustLan: boolean;
}

/** A box that waits for approval, as a controller sees it. Name and platform are what it says of itself. */
export interface PendingView {
  handle: string;
  name: string;
  peerId: string;
  /** IP address. */
  address: string;
  platform: { os: string; arch: string; software: string };
  labels: Record<string, string>;
  trustLan: boolean;
  since: number;
}

export interface ApprovedView {
  node: string;
  peerId: string;
  router: RouterMode;
}

/** A node whose labels were changed. */
export interface LabelledView {
  node: string;
  labels: Record<string, string>;
  /** False when it had them so already. */
  changed: boolean;
}

/** A node whose membership was taken away. */
export interface RevokedView {
  node: string;
  peerId: string;
  revokedAt: number;
  reason: string;
  /** It was revoked before. */
  already: boolean;
  /** Its record is gone, too. */
  removed: boolean;
  /** What was placed on it, and where that is now; without a node: `describe` says why not. */
  instances: { name: string; node?: string }[];
}

/** Boxes started with --trust-lan are admitted without proof while it is open. */
export interface WindowView {
  open: boolean;
  openedAt?: number;
  until?: number;
  cidrs?: string[];
  max?: number;
  router?: RouterMode;
  labels?: Record<string, string>;
  /** Names of the nodes that it admitted. */
  admitted?: string[];
}

export interface AppliedView {
  kind: 'Application' | 'Config' | 'Secret' | 'Policy' | 'Gateway';
  project: string;
  name: string;
  generation: number;
  change: 'created' | 'changed' | 'unchanged';
}

/** A Config or a Secret, without what it holds. */
export interface ContentView {
  project: string;
  name: string;
  generation: number;
  keys: { key: string; bytes: number }[];
  /** `<application>/<microservice>` */
  usedBy: string[];
}

/** Which calls between applications are allowed. */
export interface PolicyView extends CallPolicy {
  generation: number;
  /** What its rules name and nobody has applied: `application default/shop`. */
  missing: string[];
}

/** Whom a gateway lets in. Never a token. */
export interface GrantView {
  name: string;
  cidrs?: string[];
  /** It takes one. */
  token?: true;
  certificate?: { issuedBy: string } | { sha256: string };
  until?: number;
  expired: boolean;
  /** By the Gateway's manifest. */
  declared: boolean;
}

/** A grant that was just added. */
export interface GrantedView extends GrantView {
  /** The token: this answer alone has it. */
  secret?: string;
}

/** What is published, for whom, and what nodes say of it. */
export interface GatewayView extends GatewaySpec {
  project: string;
  name: string;
  generation: number;
  grants: GrantView[];
  nodes: {
    node: string;
    /** `planned`: it has not said anything yet. */
    state: ObservedGateway['state'] | 'planned' | 'unreachable';
    /** Why it does not listen, or what is not as it should be. */
    reason: string;
    connections?: number;
    /** So often somebody was turned away since it listens. */
    refused?: number;
    /** It has heard of this generation. */
    current: boolean;
    /** Services that its last call did not reach, and why. */
    failing: { called: string; reason: string }[];
  }[];
  /** What its routes name and nobody has applied. */
  missing: string[];
}

export interface ApplyView {
  applied: AppliedView[];
  durability: 'local' | 'durable';
}

export interface TokenView {
  token: string;
  id: string;
  uses: number;
  expiresAt: number;
  labels: Record<string, string>;
  router: RouterMode;
}

export type EventView = Omit<LedgerEvent, '_id'> & { id: string };

/** RFC 9457. */
export interface Problem {
  /** `urn:selvedge:error:<id>`; `id` is listed in docs/troubleshooting.md. */
  type: string;
  title: string;
  status: number;
  detail: string;
  /** The field that is wrong and the accepted form, where it is about input. */
  field?: string;
  accepted?: string;
  /** Refused manifests: everything that was wrong, as in `ManifestIssue`. */
  issues?: { document: number; source?: string; path: string; reason: string; accepted: string; didYouMean?: string }[];
  /** What to do next. */
  action: string;
}
