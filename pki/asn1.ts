// DER structures: the only file that imports node-forge, and of it only the ASN.1 part (it loads in a tenth of the time
// of the whole). Called by the builders and readers of this folder. No cryptography here: node-forge never sees a key.

import asn1, { type Asn1 } from 'node-forge/lib/asn1.js';
import { asn1DepthMax } from './limits.ts';

export type { Asn1 };

const universal = 0x00;
const contextSpecific = 0x80;

export const asn1Types = {
  boolean: 1,
  integer: 2,
  bitString: 3,
  octetString: 4,
  oid: 6,
  utf8String: 12,
  sequence: 16,
  set: 17,
  printableString: 19,
  ia5String: 22,
  utcTime: 23,
  generalizedTime: 24,
} as const;

const toBinary = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
const fromBinary = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

const primitive = (type: number, content: Uint8Array): Asn1 => asn1.create(universal, type, false, toBinary(content));

export const sequence = (...elements: Asn1[]): Asn1 => asn1.create(universal, asn1Types.sequence, true, elements);
export const setOf = (...elements: Asn1[]): Asn1 => asn1.create(universal, asn1Types.set, true, elements);
export const octetString = (content: Uint8Array): Asn1 => primitive(asn1Types.octetString, content);
export const utf8String = (text: string): Asn1 => primitive(asn1Types.utf8String, new TextEncoder().encode(text));
export const boolean = (value: boolean): Asn1 => primitive(asn1Types.boolean, Uint8Array.of(value ? 0xff : 0));

/** `[tag]` around elements, or in place of a constructed type. */
export const contextConstructed = (tag: number, ...elements: Asn1[]): Asn1 =>
  asn1.create(contextSpecific, tag, true, elements);
/** `[tag]` in place of a primitive type. */
export const contextPrimitive = (tag: number, content: Uint8Array): Asn1 =>
  asn1.create(contextSpecific, tag, false, toBinary(content));

/** Non-negative; bytes are big-endian, unsigned. */
export function integer(value: number | Uint8Array): Asn1 {
  let hex = typeof value === 'number' ? value.toString(16) : Buffer.from(value).toString('hex');
  hex = hex.replace(/^0+(?=.)/, '');
  if (hex.length % 2 === 1) hex = `0${hex}`;
  if (hex >= '8') hex = `00${hex}`;
  return primitive(asn1Types.integer, Buffer.from(hex, 'hex'));
}

export function bitString(content: Uint8Array, unusedBits = 0): Asn1 {
  const bytes = new Uint8Array(content.length + 1);
  bytes[0] = unusedBits;
  bytes.set(content, 1);
  return primitive(asn1Types.bitString, bytes);
}

/** Dotted text. Arcs may be larger than 2^53 (2.25.<uuid>, X.667), which node-forge's own encoder cannot do. */
export function oid(dotted: string): Asn1 {
  const [first = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  const bytes: number[] = [];
  for (const arc of [first * 40n + second, ...rest]) {
    const base128 = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) base128.unshift(Number(left & 0x7fn) | 0x80);
    bytes.push(...base128);
  }
  return primitive(asn1Types.oid, Uint8Array.from(bytes));
}

/** RFC 5280, section 4.1.2.5: UTCTime through 2049, GeneralizedTime after; whole seconds, rounded down. */
export function time(atMs: number): Asn1 {
  const digits = new Date(atMs)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '');
  const year = Number(digits.slice(0, 4));
  const short = year >= 1950 && year < 2050;
  const text = short ? digits.slice(2) : digits;
  return primitive(short ? asn1Types.utcTime : asn1Types.generalizedTime, new TextEncoder().encode(text));
}

export function encode(value: Asn1): Uint8Array {
  return fromBinary(asn1.toDer(value).getBytes());
}

/** One DER value and nothing after it. Throws an Error when it is not DER: what is read is what was signed, bit for bit. */
export function decode(der: Uint8Array): Asn1 {
  const value = asn1.fromDer(toBinary(der), {
    strict: true,
    parseAllBytes: true,
    decodeBitStrings: false,
    maxDepth: asn1DepthMax,
  });
  if (!Buffer.from(encode(value)).equals(der)) throw new Error('the structure is not DER');
  return value;
}

/** The elements of a constructed universal value; throws when it is something else. */
export function elements(value: Asn1 | undefined, type: 'sequence' | 'set'): Asn1[] {
  if (
    value === undefined ||
    value.tagClass !== universal ||
    value.type !== asn1Types[type] ||
    !Array.isArray(value.value)
  ) {
    throw new Error(`a ${type} was expected`);
  }
  return value.value;
}

/** The content octets of a primitive universal value; throws when it is something else. */
export function content(value: Asn1 | undefined, type: keyof typeof asn1Types): Uint8Array {
  if (
    value === undefined ||
    value.tagClass !== universal ||
    value.type !== asn1Types[type] ||
    typeof value.value !== 'string'
  ) {
    throw new Error(`a value of type ${type} was expected`);
  }
  return fromBinary(value.value);
}

/** The number of a context-specific tag, undefined for any other value. */
export function contextTag(value: Asn1 | undefined): number | undefined {
  return value?.tagClass === contextSpecific ? value.type : undefined;
}

/** What is inside a context-specific value: elements, or content octets. */
export function contextContent(value: Asn1): { elements: Asn1[] } | { bytes: Uint8Array } {
  return Array.isArray(value.value) ? { elements: value.value } : { bytes: fromBinary(value.value) };
}

export function isType(value: Asn1 | undefined, type: keyof typeof asn1Types): boolean {
  return value?.tagClass === universal && value.type === asn1Types[type];
}

/** The bytes of a bit string that has whole bytes only: keys and signatures. */
export function bits(value: Asn1 | undefined): Uint8Array {
  const bytes = content(value, 'bitString');
  if (bytes[0] !== 0) throw new Error('a bit string of whole bytes was expected');
  return bytes.subarray(1);
}

/** The first eight flags of a bit string, the first one highest. */
export function flags(value: Asn1 | undefined): number {
  const [unusedBits = 8, first = 0] = content(value, 'bitString');
  if (unusedBits > 7) throw new Error('a bit string was expected');
  return first;
}

/** Big-endian bytes of a non-negative integer. */
export function integerBytes(value: Asn1 | undefined): Uint8Array {
  const bytes = content(value, 'integer');
  if (bytes[0] === undefined || bytes[0] > 0x7f) throw new Error('a non-negative integer was expected');
  return bytes;
}

/** A non-negative integer that a number can hold. */
export function integerValue(value: Asn1 | undefined): number {
  const number = Number(`0x${Buffer.from(integerBytes(value)).toString('hex')}`);
  if (!Number.isSafeInteger(number)) throw new Error('the integer is too large');
  return number;
}

export function booleanValue(value: Asn1 | undefined): boolean {
  return content(value, 'boolean')[0] !== 0;
}

/** UTF-8, printable or IA5 text. */
export function text(value: Asn1 | undefined): string {
  const type = (['utf8String', 'printableString', 'ia5String'] as const).find((name) => isType(value, name));
  return new TextDecoder('utf-8', { fatal: true }).decode(content(value, type ?? 'utf8String'));
}

export function oidText(value: Asn1 | undefined): string {
  const arcs: bigint[] = [];
  let arc = 0n;
  for (const byte of content(value, 'oid')) {
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    if (byte < 0x80) {
      arcs.push(arc);
      arc = 0n;
    }
  }
  const [joined = 0n, ...rest] = arcs;
  const first = joined < 80n ? joined / 40n : 2n;
  return [first, joined - first * 40n, ...rest].join('.');
}
