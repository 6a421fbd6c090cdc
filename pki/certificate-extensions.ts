// The extensions that our certificates carry, as values for the builder. Called by certificates.ts and by tests.

import * as asn1 from './asn1.ts';
import type { Extension } from './certificate-builder.ts';
import { objectIds } from './object-ids.ts';

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Tags of GeneralName (RFC 5280, section 4.2.1.6). */
export const generalNameTags = { dnsName: 2, uri: 6, ipAddress: 7 } as const;

export const uriName = (uri: string): asn1.Asn1 => asn1.contextPrimitive(generalNameTags.uri, ascii(uri));
export const dnsName = (name: string): asn1.Asn1 => asn1.contextPrimitive(generalNameTags.dnsName, ascii(name));

/** No path length when undefined. */
export function authority(pathLength: number | undefined): Extension {
  const value =
    pathLength === undefined
      ? asn1.sequence(asn1.boolean(true))
      : asn1.sequence(asn1.boolean(true), asn1.integer(pathLength));
  return { id: objectIds.basicConstraints, critical: true, value };
}

export const noAuthority: Extension = { id: objectIds.basicConstraints, critical: true, value: asn1.sequence() };

/** digitalSignature, keyCertSign, cRLSign: authorities sign certificates and documents. */
export const authorityKeyUsage: Extension = {
  id: objectIds.keyUsage,
  critical: true,
  value: asn1.bitString(Uint8Array.of(0b1000_0110), 1),
};

/** digitalSignature alone. */
export const workloadKeyUsage: Extension = {
  id: objectIds.keyUsage,
  critical: true,
  value: asn1.bitString(Uint8Array.of(0b1000_0000), 7),
};

export const workloadPurposes: Extension = {
  id: objectIds.extendedKeyUsage,
  critical: false,
  value: asn1.sequence(asn1.oid(objectIds.serverAuth), asn1.oid(objectIds.clientAuth)),
};

/** Of what only answers. */
export const serverPurpose: Extension = {
  id: objectIds.extendedKeyUsage,
  critical: false,
  value: asn1.sequence(asn1.oid(objectIds.serverAuth)),
};

export const alternativeNames = (...names: asn1.Asn1[]): Extension => ({
  id: objectIds.subjectAlternativeName,
  critical: false,
  value: asn1.sequence(...names),
});

/**
 * Permits the URI host and the DNS names; excludes every IP address, which the permitted forms alone would leave open to
 * a foreign verifier (RFC 5280, section 4.2.1.10: a form that is not mentioned is not constrained).
 */
export function nameConstraints(uriHost: string, dnsNames: readonly string[]): Extension {
  const subtree = (name: asn1.Asn1): asn1.Asn1 => asn1.sequence(name);
  const everyAddress = (bytes: number): asn1.Asn1 =>
    subtree(asn1.contextPrimitive(generalNameTags.ipAddress, new Uint8Array(2 * bytes)));
  return {
    id: objectIds.nameConstraints,
    critical: true,
    value: asn1.sequence(
      asn1.contextConstructed(0, subtree(uriName(uriHost)), ...dnsNames.map((name) => subtree(dnsName(name)))),
      asn1.contextConstructed(1, everyAddress(4), everyAddress(16)),
    ),
  };
}

export const controllerRole: Extension = {
  id: objectIds.role,
  critical: false,
  value: asn1.utf8String('controller'),
};

export const issueNumberOf = (issueNumber: number): Extension => ({
  id: objectIds.issueNumber,
  critical: false,
  value: asn1.integer(issueNumber),
});
