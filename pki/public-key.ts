// Public keys of the two algorithms that Selvedge uses: reading, hashing, checking signatures. Called by everything here
// that verifies. Refuses any other algorithm, so that no weaker key slips in with a certificate from outside.

import { createHash, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import { KeyFormatError } from './errors.ts';
import type { KeyAlgorithm } from './keys.ts';

/** SubjectPublicKeyInfo up to the key itself (RFC 5480 with an uncompressed point; RFC 8410), and the key's length. */
const forms = [
  {
    algorithm: 'P-256',
    head: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
    keyBytes: 64,
  },
  { algorithm: 'Ed25519', head: Buffer.from('302a300506032b6570032100', 'hex'), keyBytes: 32 },
] as const;

/** Algorithm of a SubjectPublicKeyInfo in its one canonical form; throws KeyFormatError for anything else. */
export function algorithmOf(spki: Uint8Array): KeyAlgorithm {
  const form = forms.find(
    ({ head, keyBytes }) => spki.length === head.length + keyBytes && head.equals(spki.subarray(0, head.length)),
  );
  if (form === undefined) throw new KeyFormatError('the key is neither P-256 nor Ed25519 in its canonical form');
  return form.algorithm;
}

/** Reads a SubjectPublicKeyInfo (DER, RFC 5280 section 4.1.2.7). Throws KeyFormatError, also for a point off the curve. */
export function readPublicKey(spki: Uint8Array): KeyObject {
  algorithmOf(spki);
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new KeyFormatError('the public key cannot be read', { cause });
  }
}

/** SubjectPublicKeyInfo of a key, by way of JWK: OpenSSL's own encoder takes four times as long. Throws KeyFormatError. */
export function spkiOf(key: KeyObject): Uint8Array {
  const ours = key.asymmetricKeyType === 'ec' || key.asymmetricKeyType === 'ed25519';
  const { crv, x = '', y = '' }: JsonWebKey = ours ? key.export({ format: 'jwk' }) : {};
  const form = forms.find(({ algorithm }) => algorithm === crv);
  if (form === undefined) throw new KeyFormatError('the key is neither P-256 nor Ed25519');
  return new Uint8Array(Buffer.concat([form.head, Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]));
}

/** `signature` as PrivateKey.sign makes it: ECDSA as a DER sequence, or Ed25519. */
export function isSignedBy(key: KeyObject, data: Uint8Array, signature: Uint8Array): boolean {
  return verify(key.asymmetricKeyType === 'ec' ? 'sha256' : null, data, key, signature);
}

export const sha256 = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

export const sha256Hex = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');
