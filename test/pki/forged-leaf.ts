// Certificates that our issuing functions refuse to make: what a stolen authority's key could sign.

import type { Asn1 } from '../../pki/asn1.ts';
import { type Extension, keyIdOf, signCertificate } from '../../pki/certificate-builder.ts';
import { alternativeNames, noAuthority, workloadKeyUsage, workloadPurposes } from '../../pki/certificate-extensions.ts';
import { readCertificate } from '../../pki/certificate-reader.ts';
import { dayMs, type Fabric, type Member } from './fabric-fixture.ts';

export interface Forgery {
  names?: Asn1[];
  /** In place of a workload's. */
  extensions?: Extension[];
  commonName?: string;
  userId?: string;
  publicKey?: Uint8Array;
  notBeforeMs?: number;
  notAfterMs?: number;
}

/** The chain of a certificate that `by` signed, whatever it says. */
export function forgeLeaf(fabric: Fabric, by: Member, forgery: Forgery): Uint8Array[] {
  const { names = [], commonName = 'forged', userId } = forgery;
  const extensions = forgery.extensions ?? [
    noAuthority,
    workloadKeyUsage,
    workloadPurposes,
    alternativeNames(...names),
  ];
  const leaf = signCertificate(
    {
      subject: { commonName, ...(userId !== undefined && { userId }) },
      issuerName: readCertificate(by.issuer.certificate).subject,
      issuerKeyId: keyIdOf(by.key.publicKey),
      publicKey: forgery.publicKey ?? fabric.keys.create('P-256').publicKey,
      notBeforeMs: forgery.notBeforeMs ?? fabric.clock.now() - dayMs,
      notAfterMs: forgery.notAfterMs ?? fabric.clock.now() + dayMs,
      extensions,
    },
    by.key,
    fabric.random,
  );
  return [leaf, ...by.chain];
}
