// What this node believes: chains that end in the fabric's root, documents signed by them, and the bulletin that takes trust
// away again. The three need each other, so they are made in one place. Called by member.ts.

import type { Database } from '../control/store.ts';
import type { VerifyChain, VerifySigned } from '../pki/identity.ts';
import { createSignatureVerifier } from '../pki/signature.ts';
import { createChainVerifier } from '../pki/verify-chain.ts';
import { type Bulletin, createBulletin } from './bulletin.ts';
import type { Clock } from './clock.ts';

export interface Trust {
  bulletin: Bulletin;
  verifyChain: VerifyChain;
  verifySigned: VerifySigned;
}

export function createTrust(dependencies: {
  clock: Clock;
  fabricId: string;
  /** DER. */
  root: Uint8Array;
  database: Database;
  onChanged(): void;
  onIgnored(message: string): void;
}): Trust {
  const { clock, fabricId, root } = dependencies;
  const verifyChain = createChainVerifier({
    fabricId,
    clock,
    root,
    revoked: (peerId) => bulletin.isRevoked(peerId),
    authorityFloor: (peerId) => bulletin.authorityFloor(peerId),
  });
  const verifySigned = createSignatureVerifier({ verifyChain });
  const bulletin: Bulletin = createBulletin({ ...dependencies, verifySigned });
  return { bulletin, verifyChain, verifySigned };
}
