// Builds and signs one X.509 version 3 certificate (RFC 5280) from plain values. Called by certificates.ts, which knows
// what each kind of certificate holds, and by tests that need a wrong one. Signing is synchronous, by the key given.

import type { Random } from '../node-runtime/random.ts';
import * as asn1 from './asn1.ts';
import type { PrivateKey } from './keys.ts';
import { serialBytes } from './limits.ts';
import { objectIds } from './object-ids.ts';
import { sha256 } from './public-key.ts';

export interface Subject {
  organization?: string;
  commonName: string;
  /** Peer id; in the attribute UID. */
  userId?: string;
}

export interface Extension {
  id: string;
  critical: boolean;
  value: asn1.Asn1;
}

export interface CertificateContent {
  subject: Subject;
  /** Name in DER, as the issuer's certificate has it; undefined when the certificate signs itself. */
  issuerName: Uint8Array | undefined;
  /** Subject key identifier of the issuer. */
  issuerKeyId: Uint8Array;
  /** SubjectPublicKeyInfo. */
  publicKey: Uint8Array;
  notBeforeMs: number;
  notAfterMs: number;
  /** Beyond the two key identifiers, which every certificate gets. */
  extensions: Extension[];
}

const attribute = (id: string, text: string): asn1.Asn1 =>
  asn1.setOf(asn1.sequence(asn1.oid(id), asn1.utf8String(text)));

export function nameOf({ organization, commonName, userId }: Subject): asn1.Asn1 {
  const attributes = [attribute(objectIds.commonName, commonName)];
  if (organization !== undefined) attributes.unshift(attribute(objectIds.organization, organization));
  if (userId !== undefined) attributes.push(attribute(objectIds.userId, userId));
  return asn1.sequence(...attributes);
}

/** RFC 7093, section 2, method 1: the first 160 bits of SHA-256 of the key's bits. */
export function keyIdOf(publicKeySpki: Uint8Array): Uint8Array {
  const [, key] = asn1.elements(asn1.decode(publicKeySpki), 'sequence');
  return sha256(asn1.bits(key)).subarray(0, 20);
}

/** AlgorithmIdentifier of what `key.sign` makes (RFC 5758 section 3.2, RFC 8410 section 3): no parameters. */
export const signatureAlgorithmOf = (key: PrivateKey): asn1.Asn1 =>
  asn1.sequence(asn1.oid(key.algorithm === 'P-256' ? objectIds.ecdsaWithSha256 : objectIds.ed25519));

function serialOf(random: Random): asn1.Asn1 {
  const bytes = random.bytes(serialBytes);
  // Positive, and never zero nor shorter than the others.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return asn1.integer(bytes);
}

function encodeExtension({ id, critical, value }: Extension): asn1.Asn1 {
  const content = asn1.octetString(asn1.encode(value));
  return critical ? asn1.sequence(asn1.oid(id), asn1.boolean(true), content) : asn1.sequence(asn1.oid(id), content);
}

/** The certificate in DER, signed by `key`. */
export function signCertificate(content: CertificateContent, key: PrivateKey, random: Random): Uint8Array {
  const subject = nameOf(content.subject);
  const algorithm = signatureAlgorithmOf(key);
  const extensions: Extension[] = [
    ...content.extensions,
    {
      id: objectIds.subjectKeyIdentifier,
      critical: false,
      value: asn1.octetString(keyIdOf(content.publicKey)),
    },
    {
      id: objectIds.authorityKeyIdentifier,
      critical: false,
      value: asn1.sequence(asn1.contextPrimitive(0, content.issuerKeyId)),
    },
  ];
  const toBeSigned = asn1.sequence(
    asn1.contextConstructed(0, asn1.integer(2)),
    serialOf(random),
    algorithm,
    content.issuerName === undefined ? subject : asn1.decode(content.issuerName),
    asn1.sequence(asn1.time(content.notBeforeMs), asn1.time(content.notAfterMs)),
    subject,
    asn1.decode(content.publicKey),
    asn1.contextConstructed(3, asn1.sequence(...extensions.map(encodeExtension))),
  );
  const signature = key.sign(asn1.encode(toBeSigned));
  return asn1.encode(asn1.sequence(toBeSigned, algorithm, asn1.bitString(signature)));
}
