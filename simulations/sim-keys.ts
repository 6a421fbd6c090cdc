// The keys adapter of the simulator: every key is Ed25519 from the seeded randomness, so keys, certificates and signatures
// repeat from run to run. Never for a real node: whoever knows the seed knows the keys.

import { createPrivateKey } from 'node:crypto';
import type { Random } from '../node-runtime/random.ts';
import type { Keys } from '../pki/keys.ts';
import { privateKeyFrom, privateKeyFromPem } from '../pki/node-keys.ts';

/** PKCS#8 of an Ed25519 key up to its 32 bytes (RFC 8410, section 7). */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Asks `random` for 32 bytes per key; `create('P-256')` gives an Ed25519 key as well. */
export function createSimKeys(random: Random): Keys {
  return {
    create: () =>
      privateKeyFrom(
        createPrivateKey({ key: Buffer.concat([pkcs8Head, random.bytes(32)]), format: 'der', type: 'pkcs8' }),
      ),
    fromPem: privateKeyFromPem,
  };
}
