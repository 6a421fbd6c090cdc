// When a certificate is renewed: pure functions of the certificate. Called by the certificate actors and the warnings.

import { readCertificate } from './certificate-reader.ts';
import { backdatingMs } from './limits.ts';

export interface Validity {
  kind: 'authority' | 'workload';
  /** Milliseconds since 1970, all three. */
  notBeforeMs: number;
  issuedAtMs: number;
  notAfterMs: number;
}

/** Authorities renew up to this part of their life early, so that nodes admitted together do not all ask at once. */
const authorityJitter = 1 / 30;
/** Workloads of one node were often started together too; there the signer is the node itself. */
const workloadJitter = 1 / 10;

/** Reads it from a certificate that we issued (DER): issue lies `backdatingMs` after notBefore. Throws CertificateError. */
export function validityOf(certificate: Uint8Array): Validity {
  const { notBeforeMs, notAfterMs, authority } = readCertificate(certificate);
  return {
    kind: authority ? 'authority' : 'workload',
    notBeforeMs,
    issuedAtMs: notBeforeMs + backdatingMs,
    notAfterMs,
  };
}

/**
 * Milliseconds since 1970 at which to renew: at half of the time that was left at issue, earlier by the jitter's part.
 * `jitter0to1` is drawn once per certificate.
 */
export function renewAt({ kind, issuedAtMs, notAfterMs }: Omit<Validity, 'notBeforeMs'>, jitter0to1: number): number {
  const leftMs = Math.max(0, notAfterMs - issuedAtMs);
  const earlier = (kind === 'authority' ? authorityJitter : workloadJitter) * Math.min(1, Math.max(0, jitter0to1));
  return issuedAtMs + Math.floor(leftMs * (0.5 - earlier));
}

/** Issued by a clock that was far ahead: its own time of renewal would never come. */
export const isIssuedAhead = ({ notBeforeMs }: Pick<Validity, 'notBeforeMs'>, nowMs: number): boolean =>
  notBeforeMs > nowMs;
