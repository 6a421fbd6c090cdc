// Certificate requests (PKCS#10, RFC 2986): the only thing about a key that travels. Made by the node that holds the key,
// read by a controller. A request proves that its sender holds the key; it says nothing about who the sender may be.

import * as asn1 from './asn1.ts';
import { nameOf, signatureAlgorithmOf } from './certificate-builder.ts';
import { CertificateRequestError } from './errors.ts';
import type { PrivateKey } from './keys.ts';
import { signingRequestBytesMax } from './limits.ts';
import { objectIds } from './object-ids.ts';
import { algorithmOf, isSignedBy, readPublicKey } from './public-key.ts';

/** DER, signed with the key that it is about. */
export function createSigningRequest({ key, commonName }: { key: PrivateKey; commonName: string }): Uint8Array {
  const info = asn1.sequence(
    asn1.integer(0),
    nameOf({ commonName }),
    asn1.decode(key.publicKey),
    asn1.contextConstructed(0),
  );
  const signature = key.sign(asn1.encode(info));
  return asn1.encode(asn1.sequence(info, signatureAlgorithmOf(key), asn1.bitString(signature)));
}

function read(der: Uint8Array): Uint8Array {
  const [info, algorithm, signature, ...more] = asn1.elements(asn1.decode(der), 'sequence');
  const [version, , keyInfo, ...attributes] = asn1.elements(info, 'sequence');
  if (info === undefined || keyInfo === undefined || more.length > 0 || attributes.length > 1) {
    throw new Error('it has fields that we do not know');
  }
  if (asn1.integerValue(version) !== 0) throw new Error('its version is not 1');
  const publicKey = asn1.encode(keyInfo);
  const key = readPublicKey(publicKey);
  const [algorithmId, ...parameters] = asn1.elements(algorithm, 'sequence');
  const expected = algorithmOf(publicKey) === 'P-256' ? objectIds.ecdsaWithSha256 : objectIds.ed25519;
  if (asn1.oidText(algorithmId) !== expected || parameters.length > 0)
    throw new Error('its algorithm does not fit its key');
  if (!isSignedBy(key, asn1.encode(info), asn1.bits(signature))) throw new Error('it is not signed by its own key');
  return publicKey;
}

/** The key (SubjectPublicKeyInfo) that signed the request. Throws CertificateRequestError. */
export function readSigningRequest(der: Uint8Array): { publicKey: Uint8Array } {
  if (der.length > signingRequestBytesMax) throw new CertificateRequestError('the request is too large');
  try {
    return { publicKey: read(der) };
  } catch (cause) {
    throw new CertificateRequestError(`the request is refused: ${cause instanceof Error ? cause.message : ''}`, {
      cause,
    });
  }
}
