// The two proofs of an approval (design, section 5.1). Called by both ends. A proof is about one pair of peers, as Noise
// authenticated them, one pair of nonces and one root: relayed to anybody else, or sent back, it proves nothing.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromBase32 } from './base32.ts';
import { NameError } from './errors.ts';
import { approvalNonceBytes } from './limits.ts';

/** scrypt of a code with the box's nonce for that code as salt; 32 bytes. Adapters: scrypt.ts and simulations/sim-scrypt.ts. */
export type DeriveKey = (code: string, salt: Uint8Array) => Promise<Uint8Array>;

/** RFC 7914: 32 MiB and about 0.1 s for each guess. Both adapters use these. */
export const scryptParameters = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
export const approvalKeyBytes = 32;

const version = 'selvedge-approval/1';
const rootHashBytes = 32;

export interface ProofContext {
  controllerPeerId: string;
  nodePeerId: string;
  /** Fresh for each try. */
  controllerNonce: Uint8Array;
  /** The box's nonce for its code: also the salt of the key. */
  nodeNonce: Uint8Array;
  /** Its text is the hash of the root key. */
  fabricId: string;
}

/** Each field behind its length: no two lists of fields have the same bytes. */
function encode(fields: readonly (string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    fields.flatMap((field) => {
      const bytes = Buffer.from(field);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** HMAC-SHA-256 over role, version, both peer ids, both nonces and the root's hash; 32 bytes. */
export function approvalProof(key: Uint8Array, role: 'controller' | 'node', context: ProofContext): Uint8Array {
  const { controllerPeerId, nodePeerId, controllerNonce, nodeNonce, fabricId } = context;
  const rootHash = fromBase32(fabricId, rootHashBytes);
  if (rootHash === undefined) throw new NameError('the fabric id is none');
  if (controllerNonce.length !== approvalNonceBytes || nodeNonce.length !== approvalNonceBytes) {
    throw new RangeError(`a nonce has ${approvalNonceBytes} bytes`);
  }
  const fields = [role, version, controllerPeerId, nodePeerId, controllerNonce, nodeNonce, rootHash];
  return new Uint8Array(createHmac('sha256', key).update(encode(fields)).digest());
}

/** In constant time. */
export const isSameProof = (given: Uint8Array, expected: Uint8Array): boolean =>
  given.length === expected.length && timingSafeEqual(given, expected);
