// What this node believes: chains that end in the fabric's root, documents signed by them, and the bulletin that takes trust
// away again. The three need each other, so they are made in one place. Called by member.ts.

import type { Database } from '../control/store.ts';
import type { VerifyChain, VerifySigned } from '../pki/identity.ts';
import { validityOf } from '../pki/rotation.ts';
import { createSignatureVerifier } from '../pki/signature.ts';
import { createChainVerifier } from '../pki/verify-chain.ts';
import { type Bulletin, createBulletin } from './bulletin.ts';
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';

export interface Trust {
  bulletin: Bulletin;
  verifyChain: VerifyChain;
  /** For this node's own certificates alone: that their time is over, or has not come, makes them no less its own. */
  verifyOwnChain: VerifyChain;
  verifySigned: VerifySigned;
}

export function createTrust(dependencies: {
  clock: Clock;
  fabricId: string;
  /** DER. */
  root: Uint8Array;
  database: Database;
  /** Keeps revocations beside the database. */
  disk: Disk;
  onChanged(): void;
  onIgnored(message: string): void;
}): Trust {
  const { clock, fabricId, root } = dependencies;
  const rules = {
    fabricId,
    root,
    revoked: (peerId: string) => bulletin.isRevoked(peerId),
    authorityFloor: (peerId: string) => bulletin.authorityFloor(peerId),
  };
  const verifyChain = createChainVerifier({ ...rules, clock });
  const verifyOwnChain: VerifyChain = (chain) => {
    const validities = chain.map(validityOf);
    const beginMs = Math.max(...validities.map(({ notBeforeMs }) => notBeforeMs));
    const endMs = Math.min(...validities.map(({ notAfterMs }) => notAfterMs));
    const now = (): number => Math.min(Math.max(clock.now(), beginMs), endMs);
    return createChainVerifier({ ...rules, clock: { ...clock, now } })(chain);
  };
  const verifySigned = createSignatureVerifier({ verifyChain });
  const bulletin: Bulletin = createBulletin({ ...dependencies, verifySigned });
  return { bulletin, verifyChain, verifyOwnChain, verifySigned };
}
