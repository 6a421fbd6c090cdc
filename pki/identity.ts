// Who somebody is, as read from a verified certificate chain. Types only; verify-chain.ts makes them.

import type { CallPolicy } from '../control/call-policy.ts';
import type { MicroserviceName } from '../control/plan.ts';

interface CertifiedBy {
  fabricId: string;
  /** Name of the node that holds (controller, node) or runs (workload) it. */
  node: string;
  /** libp2p peer id of that node, from the authority's certificate (subject UID). */
  peerId: string;
  /** SHA-256 (hex) of the public key of the authority that holds or issued it. */
  authorityKeySha256: string;
  /** Milliseconds since 1970: the earliest end in the chain. */
  notAfter: number;
}

/** An issuing authority; may sign plans, tickets, facts and node authorities. */
export interface ControllerIdentity extends CertifiedBy {
  kind: 'controller';
}

/** A node's authority; may sign announcements and issue workload certificates for the services it covers. */
export interface NodeIdentity extends CertifiedBy {
  kind: 'node';
  issueNumber: number;
  covers: MicroserviceName[];
  /** DNS names outside the fabric by which its gateways may show themselves; absent where there are none. */
  publicNames?: string[];
}

/** A workload's certificate: what the tunnel sees. */
export interface WorkloadIdentity extends CertifiedBy, MicroserviceName {
  kind: 'workload';
  issueNumber: number;
}

export type Identity = ControllerIdentity | NodeIdentity | WorkloadIdentity;

/** Certificates in DER, leaf first, the root last or left out. Throws CertificateError with the reason. */
export type VerifyChain = (chain: readonly Uint8Array[]) => Identity;

/** Verifies a JWS (RFC 7515, with x5c) of the given `typ`; throws SignatureError with the reason. */
export type VerifySigned = (jws: string, type: string) => { payload: unknown; signer: Identity };

/** Signs a payload as JWS (RFC 7515, compact, with x5c). */
export type SignPayload = (type: string, payload: unknown) => string;

/** A fact of the bulletin, the payload of a JWS of type `selvedge-fact+jws`. Immutable. */
export interface Fact {
  fabricId: string;
  /** What it is about: `revocation/<peer-id>`, `authority-floor/<peer-id>`, `controller/<peer-id>`, `window/<peer-id>`, `policy/<project>/<name>`. */
  subject: string;
  sequence: number;
  /** Peer id of the controller that signed it. */
  issuer: string;
  /** Milliseconds since 1970. */
  issuedAt: number;
  expiresAt: number;
  body: RevocationBody | AuthorityFloorBody | ControllerBody | WindowBody | PolicyBody;
}

export interface RevocationBody {
  kind: 'revocation';
  peerId: string;
  node: string;
  reason: string;
}

/** Authorities of the peer with a lower issue number are refused in new handshakes. */
export interface AuthorityFloorBody {
  kind: 'authority-floor';
  peerId: string;
  issueNumber: number;
}

/** This controller admits boxes without proof; nobody acts on it, and everybody can see it. */
export interface WindowBody {
  kind: 'window';
  /** The controller that says so: the issuer. */
  peerId: string;
  node: string;
  /** False once it was closed before its time. */
  open: boolean;
  until: number;
  cidrs: string[];
  max: number;
}

export interface ControllerBody {
  kind: 'controller';
  peerId: string;
  node: string;
  addresses: string[];
}

/** Who may call services of the policy's project. One that allows nothing says that the policy is gone. */
export interface PolicyBody extends CallPolicy {
  kind: 'policy';
}
