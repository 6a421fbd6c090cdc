// Gateways: which services are published on which nodes, and whom they let in. Types only, shared by the fabric's documents, plans and the
// mesh; a gateway without a grant lets nobody in.

import type { CallableService, FileReference } from './plan.ts';

/** `udp` is refused where manifests are read until nodes can publish it. */
export const gatewayProtocols = ['tcp', 'http'] as const;
export type GatewayProtocol = (typeof gatewayProtocols)[number];

/** A service port of the gateway's own project. */
export interface GatewayTarget {
  application: string;
  microservice: string;
  port: number;
}

/** Of HTTP requests: the most exact host, then the longest path. */
export interface GatewayMatch {
  /** A DNS name in lower case; left out: any. */
  host?: string;
  /** Whole segments from the beginning; left out: any. */
  path?: string;
}

export interface GatewayRoute extends GatewayMatch {
  to: GatewayTarget;
}

/** Who is let in: whoever meets all that one grant says. Grants only ever let in. */
export interface GatewayGrant {
  /** DNS label, unique in the gateway. */
  name: string;
  /** Where connections come from; left out: from anywhere. */
  cidrs?: string[];
  /** SHA-256 (hex) of the bearer token that requests have. */
  tokenSha256?: string;
  /** The client's certificate: issued below this authority (PEM), or exactly this one (SHA-256 of its DER, hex). */
  certificate?: { authority: string } | { sha256: string };
  /** Milliseconds since 1970; left out: until it is revoked. */
  until?: number;
}

/** Issued by the node under the fabric's root for these names, or the user's own from a Secret. */
export type GatewayTls = { names: string[] } | { secret: string };

export interface GatewaySpec {
  /** One of the two. */
  on: { nodes: string[] } | { labels: Record<string, string> };
  /** IP address of the nodes that is listened on; left out: all. */
  address?: string;
  port: number;
  protocol: GatewayProtocol;
  tls?: GatewayTls;
  /** Of TCP exactly one, without host and path. */
  routes: GatewayRoute[];
}

/** What a node must publish. */
export interface PlannedGateway {
  project: string;
  name: string;
  generation: number;
  address?: string;
  port: number;
  /** Text: of one that a node's version does not know the node says so. */
  protocol: string;
  /** `missing` says what its Secret is or lacks. */
  tls?: { names: string[] } | { certificate: FileReference; key: FileReference } | { missing: string };
  routes: (GatewayMatch & { to: CallableService })[];
  grants: GatewayGrant[];
}

export const gatewayStates = ['waiting', 'listening', 'failed'] as const;

/** What a node says of one. */
export interface ObservedGateway {
  project: string;
  name: string;
  generation: number;
  state: (typeof gatewayStates)[number];
  /** Why it does not listen; empty when it does. */
  reason: string;
  connections: number;
  /** Since it began to listen: how often somebody was turned away, for want of a grant. */
  refused: number;
}

/** Of the certificates by which gateways call services: no application may have this name. */
export const gatewaysApplication = 'selvedge-gateways';
/** Of the facts by which nodes allow that: no Policy's name may begin so. */
export const gatewayPolicyPrefix = 'selvedge-gateway-';
/** A Secret's keys that have the certificate chain and its key, as in Kubernetes. */
export const tlsSecretKeys = { certificate: 'tls.crt', key: 'tls.key' } as const;
