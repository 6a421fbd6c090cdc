// Reads one certificate into plain values: node:crypto for key, validity and signature, our own reading of the extensions
// that it does not show. Called by verify-chain.ts, certificates.ts and rotation.ts's callers. Judges nothing but the form.

import { type KeyObject, X509Certificate } from 'node:crypto';
import * as asn1 from './asn1.ts';
import { generalNameTags } from './certificate-extensions.ts';
import { CertificateError } from './errors.ts';
import { certificateBytesMax, readAuthoritiesMax } from './limits.ts';
import { objectIds } from './object-ids.ts';
import { algorithmOf, sha256Hex } from './public-key.ts';

/** GeneralNames, told apart by form; `others` counts every form that is neither URI nor DNS name. */
export interface GeneralNames {
  uris: string[];
  dnsNames: string[];
  others: number;
}

export interface NameConstraints {
  permitted: GeneralNames;
  /** Excluded forms other than IP addresses; we issue none. */
  otherExclusions: number;
}

export interface ReadCertificate {
  x509: X509Certificate;
  /** SHA-256 (hex) of the certificate. */
  fingerprint: string;
  publicKey: KeyObject;
  /** SubjectPublicKeyInfo. */
  publicKeySpki: Uint8Array;
  /** Object identifier of the algorithm that it was signed with. */
  signatureAlgorithm: string;
  /** The subject name in DER. */
  subject: Uint8Array;
  commonName: string | undefined;
  userId: string | undefined;
  keyId: Uint8Array | undefined;
  notBeforeMs: number;
  notAfterMs: number;
  authority: boolean;
  pathLength: number | undefined;
  /** First byte of the key usage bits: 0x80 digitalSignature, 0x04 keyCertSign. */
  keyUsage: number | undefined;
  purposes: string[] | undefined;
  alternativeNames: GeneralNames | undefined;
  constraints: NameConstraints | undefined;
  constraintsCritical: boolean;
  role: string | undefined;
  issueNumber: number | undefined;
  /** Critical extensions that we do not know: a reason to refuse (RFC 5280, section 4.2). */
  unknownCritical: string[];
}

interface RawExtension {
  critical: boolean;
  value: Uint8Array;
}

const ascii = (bytes: Uint8Array): string => {
  const text = Buffer.from(bytes).toString('latin1');
  if (!/^[\x21-\x7e]*$/.test(text)) throw new Error('a name has characters that are not printable ASCII');
  return text;
};

function readGeneralNames(names: asn1.Asn1[]): GeneralNames {
  const result: GeneralNames = { uris: [], dnsNames: [], others: 0 };
  for (const name of names) {
    const content = asn1.contextContent(name);
    const tag = asn1.contextTag(name);
    if (tag === generalNameTags.uri && 'bytes' in content) result.uris.push(ascii(content.bytes));
    else if (tag === generalNameTags.dnsName && 'bytes' in content) result.dnsNames.push(ascii(content.bytes));
    else result.others += 1;
  }
  return result;
}

function readConstraints(value: asn1.Asn1): NameConstraints {
  const permitted: asn1.Asn1[] = [];
  let otherExclusions = 0;
  for (const part of asn1.elements(value, 'sequence')) {
    const content = asn1.contextContent(part);
    const tag = asn1.contextTag(part);
    if (!('elements' in content) || (tag !== 0 && tag !== 1)) throw new Error('the name constraints are malformed');
    for (const subtree of content.elements) {
      const [base, ...distances] = asn1.elements(subtree, 'sequence');
      if (base === undefined || distances.length > 0) throw new Error('the name constraints have distances');
      if (tag === 0) permitted.push(base);
      else if (asn1.contextTag(base) !== generalNameTags.ipAddress) otherExclusions += 1;
    }
  }
  return { permitted: readGeneralNames(permitted), otherExclusions };
}

function readExtensions(block: asn1.Asn1 | undefined): Map<string, RawExtension> {
  const found = new Map<string, RawExtension>();
  if (block === undefined) return found;
  const wrapped = asn1.contextContent(block);
  const list = asn1.contextTag(block) === 3 && 'elements' in wrapped ? wrapped.elements[0] : undefined;
  for (const element of asn1.elements(list, 'sequence')) {
    const [id, second, third] = asn1.elements(element, 'sequence');
    const critical = asn1.isType(second, 'boolean') && asn1.booleanValue(second);
    const value = asn1.content(asn1.isType(second, 'boolean') ? third : second, 'octetString');
    const name = asn1.oidText(id);
    if (found.has(name)) throw new Error('an extension is there twice');
    found.set(name, { critical, value });
  }
  return found;
}

function readAttribute(subject: asn1.Asn1 | undefined, id: string): string | undefined {
  const values: string[] = [];
  for (const set of asn1.elements(subject, 'sequence')) {
    for (const pair of asn1.elements(set, 'set')) {
      const [type, value] = asn1.elements(pair, 'sequence');
      if (asn1.oidText(type) === id) values.push(asn1.text(value));
    }
  }
  if (values.length > 1) throw new Error('a subject attribute is there twice');
  return values[0];
}

function read(der: Uint8Array): ReadCertificate {
  const x509 = new X509Certificate(der);
  const [toBeSigned] = asn1.elements(asn1.decode(der), 'sequence');
  // Version, serial, algorithm, issuer, validity, subject, key, extensions: version 3 without unique ids has these eight.
  const [, , algorithm, , , subject, keyInfo, extensionBlock, ...more] = asn1.elements(toBeSigned, 'sequence');
  if (more.length > 0 || subject === undefined || keyInfo === undefined)
    throw new Error('the certificate has fields that we do not know');
  const publicKeySpki = asn1.encode(keyInfo);
  algorithmOf(publicKeySpki);
  const extensions = readExtensions(extensionBlock);
  const known = new Set<string>(Object.values(objectIds));
  const value = (id: string): asn1.Asn1 | undefined => {
    const extension = extensions.get(id);
    return extension && asn1.decode(extension.value);
  };
  const basic = value(objectIds.basicConstraints);
  const [authority, pathLength] = basic === undefined ? [] : asn1.elements(basic, 'sequence');
  const usage = value(objectIds.keyUsage);
  const purposes = value(objectIds.extendedKeyUsage);
  const names = value(objectIds.subjectAlternativeName);
  const constraints = value(objectIds.nameConstraints);
  const role = value(objectIds.role);
  const issueNumber = value(objectIds.issueNumber);
  const keyId = value(objectIds.subjectKeyIdentifier);
  return {
    x509,
    fingerprint: sha256Hex(der),
    publicKey: x509.publicKey,
    publicKeySpki,
    signatureAlgorithm: asn1.oidText(asn1.elements(algorithm, 'sequence')[0]),
    subject: asn1.encode(subject),
    commonName: readAttribute(subject, objectIds.commonName),
    userId: readAttribute(subject, objectIds.userId),
    keyId: keyId && asn1.content(keyId, 'octetString'),
    notBeforeMs: x509.validFromDate.getTime(),
    notAfterMs: x509.validToDate.getTime(),
    authority: authority !== undefined && asn1.booleanValue(authority),
    pathLength: pathLength && asn1.integerValue(pathLength),
    keyUsage: usage && asn1.flags(usage),
    purposes: purposes && asn1.elements(purposes, 'sequence').map(asn1.oidText),
    alternativeNames: names && readGeneralNames(asn1.elements(names, 'sequence')),
    constraints: constraints && readConstraints(constraints),
    constraintsCritical: extensions.get(objectIds.nameConstraints)?.critical === true,
    role: role && asn1.text(role),
    issueNumber: issueNumber && asn1.integerValue(issueNumber),
    unknownCritical: [...extensions].filter(([id, { critical }]) => critical && !known.has(id)).map(([id]) => id),
  };
}

/** Authorities that were read lately, by fingerprint: the same few are in every chain. */
const authorities = new Map<string, Readonly<ReadCertificate>>();

function remember(certificate: ReadCertificate): void {
  const [oldest] = authorities.keys();
  if (authorities.size >= readAuthoritiesMax && oldest !== undefined) authorities.delete(oldest);
  authorities.set(certificate.fingerprint, certificate);
}

/** DER of one certificate, nothing before or after it. Throws CertificateError (too-large, algorithm, malformed). */
export function readCertificate(der: Uint8Array): Readonly<ReadCertificate> {
  if (der.length > certificateBytesMax) throw new CertificateError('too-large', 'a certificate is too large');
  const known = authorities.get(sha256Hex(der));
  if (known !== undefined) return known;
  try {
    const certificate = read(der);
    if (certificate.authority) remember(certificate);
    return certificate;
  } catch (cause) {
    const unfit = cause instanceof Error && cause.name === 'KeyFormatError';
    throw new CertificateError(
      unfit ? 'algorithm' : 'malformed',
      `a certificate cannot be read: ${cause instanceof Error ? cause.message : 'not DER'}`,
      { cause },
    );
  }
}
