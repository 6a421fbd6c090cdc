// This node's own authority: the key, the newest chain, and what is signed with them. Called by member.ts. Replaced in place
// when the controllers send a newer one; the key stays.

import type { MicroserviceName } from '../control/plan.ts';
import type { GatewayTlsMaterial } from '../mesh/gateway.ts';
import { issueGateway, issueWorkload } from '../pki/certificates.ts';
import { CertificateError } from '../pki/errors.ts';
import type { Identity, NodeIdentity, SignPayload, VerifyChain } from '../pki/identity.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import { chainToPem } from '../pki/pem.ts';
import { renewAt, validityOf } from '../pki/rotation.ts';
import { createSigner } from '../pki/signature.ts';
import type { Clock } from './clock.ts';
import { DamagedFileError } from './errors.ts';
import { unusableRetryMs } from './limits.ts';
import type { Random } from './random.ts';
import type { IssuedCredential } from './workload-certificates.ts';

export interface NodeAuthority {
  /** Authority, issuing authority, root: DER. */
  chain(): Uint8Array[];
  identity(): NodeIdentity;
  sign(): SignPayload;
  replace(chain: readonly string[]): void;
  /** Its time has come and is not over. */
  isUsable(): boolean;
  /** When it is valid: milliseconds since 1970. */
  span(): { beginMs: number; endMs: number };
  covers(name: MicroserviceName): boolean;
  /** A key and certificate for one workload. */
  issue(name: MicroserviceName): IssuedCredential;
  /** Gateways may show themselves by these DNS names. */
  allows(publicNames: readonly string[]): boolean;
  /** A key and certificate by which a gateway shows itself to clients, for as long as a workload's. */
  issuePublic(names: readonly string[]): GatewayTlsMaterial;
}

export function createNodeAuthority(dependencies: {
  clock: Clock;
  random: Random;
  keys: Keys;
  key: PrivateKey;
  /** Base64 DER, as in the membership. */
  chain: readonly string[];
  verifyChain: VerifyChain;
  verifyOwnChain: VerifyChain;
  /** The chain at start is genuine and not valid now; says why and what to do. */
  onUnusable(message: string): void;
}): NodeAuthority {
  const { clock, random, keys, key, verifyChain, verifyOwnChain, onUnusable } = dependencies;
  let chain: Uint8Array[] = [];
  let identity: NodeIdentity;
  let sign: SignPayload;
  /** Read once: it is asked for at each look at the box. */
  let valid: { beginMs: number; endMs: number };

  function take(next: Uint8Array[], verified: Identity): void {
    if (verified.kind !== 'node')
      throw new DamagedFileError('membership.json', `it holds the chain of a ${verified.kind}`);
    chain = next;
    identity = verified;
    valid = {
      beginMs: Math.max(...next.map((certificate) => validityOf(certificate).notBeforeMs)),
      endMs: verified.notAfter,
    };
    sign = createSigner({ key, chain });
  }

  const decode = (base64: readonly string[]): Uint8Array[] =>
    base64.map((certificate): Uint8Array => Buffer.from(certificate, 'base64'));

  /** The chain that this node has. One whose time is over ends calls and links, and nothing else. */
  function takeOwn(own: Uint8Array[]): void {
    try {
      take(own, verifyOwnChain(own));
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      throw new DamagedFileError('membership.json', error.message, { cause: error });
    }
    const { beginMs, endMs } = valid;
    const nowMs = clock.now();
    const date = (at: number): string => new Date(at).toISOString();
    if (nowMs > endMs) {
      onUnusable(
        `the certificate of this node expired on ${date(endMs)} (its clock says ${date(nowMs)}): what it runs goes on, but no other ` +
          'node talks to it. Set the clock if it is wrong; else make a token on a controller and start this node with it (selvedge up --token)',
      );
    } else if (nowMs < beginMs) {
      onUnusable(
        `the clock of this box says ${date(nowMs)}, but the certificate of this node is valid from ${date(beginMs)} on: what it runs ` +
          'goes on, but no other node talks to it until the clock is set',
      );
    }
  }

  /** Outside its time the authority certifies as at the edge of it: workloads start, and who calls them sees that it is over. */
  function issuedAt(): number {
    const { beginMs, endMs } = valid;
    return Math.min(Math.max(clock.now(), beginMs), endMs - 1000);
  }

  takeOwn(decode(dependencies.chain));

  return {
    chain: () => chain,
    identity: () => identity,
    sign: () => sign,
    replace(base64) {
      const next = decode(base64);
      take(next, verifyChain(next));
    },
    span: () => valid,
    isUsable() {
      const { beginMs, endMs } = valid;
      return clock.now() >= beginMs && clock.now() <= endMs;
    },
    covers: ({ project, application, microservice }) =>
      identity.covers.some(
        (name) => name.project === project && name.application === application && name.microservice === microservice,
      ),
    allows: (names) => names.every((name) => identity.publicNames?.includes(name)),
    issuePublic(names) {
      const [certificate = new Uint8Array()] = chain;
      const { publicKey, toPem } = keys.create('P-256');
      const { fabricId } = identity;
      const leaf = issueGateway({
        ...{ issuer: { key, certificate }, publicKey, names, fabricId, random },
        nowMs: issuedAt(),
      });
      // Clients have the root, or do not trust it.
      return { keyPem: toPem(), chainPem: chainToPem([leaf, ...chain.slice(0, -1)]) };
    },
    issue(name) {
      const [certificate = new Uint8Array()] = chain;
      const workloadKey = keys.create('P-256');
      const nowMs = issuedAt();
      const leaf = issueWorkload({
        issuer: { key, certificate },
        publicKey: workloadKey.publicKey,
        name,
        fabricId: identity.fabricId,
        random,
        nowMs,
      });
      const jitter = random.next();
      return {
        credential: { keyPem: workloadKey.toPem(), chainPem: chainToPem([leaf, ...chain]) },
        renewAt: nowMs === clock.now() ? renewAt(validityOf(leaf), jitter) : clock.now() + unusableRetryMs,
      };
    },
  };
}
