// The two forms of a P-256 signature: the DER sequence that keys.ts makes, and r‖s as JWS wants it (RFC 7518, section 3.4).
// Ours always have the lower s: of (r, s) and (r, n − s), both valid, only one is accepted, so that nobody without the key
// can make a second text of a signed document (documents of the bulletin are addressed by content).

import * as asn1 from './asn1.ts';

const scalarBytes = 32;
const groupOrder = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const toScalar = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const toBytes = (scalar: bigint): Buffer => Buffer.from(scalar.toString(16).padStart(2 * scalarBytes, '0'), 'hex');

/** DER sequence to r‖s, with the lower s. */
export function toRawSignature(der: Uint8Array): Uint8Array {
  const [r, s] = asn1.elements(asn1.decode(der), 'sequence').map((part) => toScalar(asn1.integerBytes(part)));
  if (r === undefined || s === undefined) throw new Error('a signature has r and s');
  return new Uint8Array(Buffer.concat([toBytes(r), toBytes(s > groupOrder / 2n ? groupOrder - s : s)]));
}

/** 64 bytes with the lower s. */
export function isRawSignature(raw: Uint8Array): boolean {
  return raw.length === 2 * scalarBytes && toScalar(raw.subarray(scalarBytes)) <= groupOrder / 2n;
}
