// The keys adapter of real nodes: node:crypto. Called by node-runtime, which stores what `toPem` gives with mode 0600.
// Never logs, prints or sends a private key: the key object is closed over, so that inspecting a PrivateKey shows none.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { KeyFormatError } from './errors.ts';
import type { Keys, PrivateKey } from './keys.ts';
import { algorithmOf, spkiOf } from './public-key.ts';

/** Wraps a key of node:crypto; throws KeyFormatError for anything but P-256 and Ed25519. */
export function privateKeyFrom(key: KeyObject): PrivateKey {
  const publicKey = spkiOf(createPublicKey(key));
  const algorithm = algorithmOf(publicKey);
  return {
    algorithm,
    publicKey,
    sign: (data) => new Uint8Array(sign(algorithm === 'P-256' ? 'sha256' : null, data, key)),
    toPem: () => key.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

/** PKCS#8, PEM. Throws KeyFormatError, never with the text in it. */
export function privateKeyFromPem(pem: string): PrivateKey {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, format: 'pem' });
  } catch {
    throw new KeyFormatError('the private key cannot be read');
  }
  return privateKeyFrom(key);
}

export function createNodeKeys(): Keys {
  return {
    create: (algorithm) =>
      privateKeyFrom(
        algorithm === 'P-256'
          ? generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
          : generateKeyPairSync('ed25519').privateKey,
      ),
    fromPem: privateKeyFromPem,
  };
}
