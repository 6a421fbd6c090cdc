// A chain to go back to. A certificate that was issued by a clock far ahead is believed by nobody once the clock is right, and without a
// link no better one arrives: so the node keeps the oldest chain that is still valid beside the newest. Pure; called by member.ts.

import { validityOf } from '../pki/rotation.ts';
import type { Membership } from './membership.ts';

function isValid(chain: readonly string[], nowMs: number): boolean {
  try {
    const validities = chain.map((certificate) => validityOf(Buffer.from(certificate, 'base64')));
    return validities.every(({ notBeforeMs, notAfterMs }) => notBeforeMs <= nowMs && nowMs <= notAfterMs);
  } catch {
    // Damaged: the newest one is told to be where it is read; a former one is of no use.
    return false;
  }
}

function isAhead(chain: readonly string[], nowMs: number): boolean {
  try {
    return chain.some((certificate) => validityOf(Buffer.from(certificate, 'base64')).notBeforeMs > nowMs);
  } catch {
    return false;
  }
}

/** With a new chain; the one to go back to is the one that it had, or an older one while that is valid. */
export function withNewChain(membership: Membership, chain: readonly string[], nowMs: number): Membership {
  const { formerChain = membership.chain } = membership;
  return {
    ...membership,
    chain: [...chain],
    formerChain: isValid(formerChain, nowMs) ? formerChain : membership.chain,
  };
}

/** The same one, unless its chain is not valid yet and the former one is. */
export function withUsableChain(membership: Membership, nowMs: number): Membership {
  const { formerChain, ...others } = membership;
  if (formerChain === undefined || !isAhead(membership.chain, nowMs) || !isValid(formerChain, nowMs)) return membership;
  return { ...others, chain: formerChain };
}
