// This node's own authority: the key, the newest chain, and what is signed with them. Called by member.ts. Replaced in place
// when the controllers send a newer one; the key stays.

import type { MicroserviceName } from '../control/plan.ts';
import { issueWorkload } from '../pki/certificates.ts';
import type { NodeIdentity, SignPayload, VerifyChain } from '../pki/identity.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import { chainToPem } from '../pki/pem.ts';
import { renewAt, validityOf } from '../pki/rotation.ts';
import { createSigner } from '../pki/signature.ts';
import type { Clock } from './clock.ts';
import { DamagedFileError } from './errors.ts';
import type { Random } from './random.ts';
import type { IssuedCredential } from './workload-certificates.ts';

export interface NodeAuthority {
  /** Authority, issuing authority, root: DER. */
  chain(): Uint8Array[];
  identity(): NodeIdentity;
  sign(): SignPayload;
  replace(chain: readonly string[]): void;
  covers(name: MicroserviceName): boolean;
  /** A key and certificate for one workload. */
  issue(name: MicroserviceName): IssuedCredential;
}

export function createNodeAuthority(dependencies: {
  clock: Clock;
  random: Random;
  keys: Keys;
  key: PrivateKey;
  /** Base64 DER, as in the membership. */
  chain: readonly string[];
  verifyChain: VerifyChain;
}): NodeAuthority {
  const { clock, random, keys, key, verifyChain } = dependencies;
  let chain: Uint8Array[] = [];
  let identity: NodeIdentity;
  let sign: SignPayload;

  function replace(base64: readonly string[]): void {
    const next = base64.map((certificate): Uint8Array => Buffer.from(certificate, 'base64'));
    const verified = verifyChain(next);
    if (verified.kind !== 'node')
      throw new DamagedFileError('membership.json', `it holds the chain of a ${verified.kind}`);
    chain = next;
    identity = verified;
    sign = createSigner({ key, chain });
  }

  replace(dependencies.chain);

  return {
    chain: () => chain,
    identity: () => identity,
    sign: () => sign,
    replace,
    covers: ({ project, application, microservice }) =>
      identity.covers.some(
        (name) => name.project === project && name.application === application && name.microservice === microservice,
      ),
    issue(name) {
      const [certificate = new Uint8Array()] = chain;
      const workloadKey = keys.create('P-256');
      const leaf = issueWorkload({
        issuer: { key, certificate },
        publicKey: workloadKey.publicKey,
        name,
        fabricId: identity.fabricId,
        random,
        nowMs: clock.now(),
      });
      return {
        credential: { keyPem: workloadKey.toPem(), chainPem: chainToPem([leaf, ...chain]) },
        renewAt: renewAt(validityOf(leaf), random.next()),
      };
    },
  };
}
