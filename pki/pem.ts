// PEM text (RFC 7468) of certificates, for files and TLS. Everything inside this folder works on DER.

import { CertificateError } from './errors.ts';
import { certificateBytesMax, chainLengthMax } from './limits.ts';

const pemCharactersMax = chainLengthMax * certificateBytesMax * 2;

export function certificateToPem(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** One after the other, in the order given. */
export const chainToPem = (chain: readonly Uint8Array[]): string => chain.map(certificateToPem).join('');

/** Every certificate of a PEM text, in order; text between them is ignored. Throws CertificateError (too-large). */
export function chainFromPem(pem: string): Uint8Array[] {
  if (pem.length > pemCharactersMax) throw new CertificateError('too-large', 'the PEM text is too large');
  const blocks = pem.matchAll(/-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g);
  return [...blocks].map(([, body = '']) => new Uint8Array(Buffer.from(body, 'base64')));
}
