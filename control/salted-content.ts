// A secret's value as it is stored, delivered and hashed: chance before it, so that the SHA-256 in a plan tells nobody anything about a
// short password. Used by apply.ts when it writes a Secret and by the node when it lays one down. It must never print a value.

import { timingSafeEqual } from 'node:crypto';
import { secretSaltBytes } from './limits.ts';

/** In base64. */
export function saltContent(value: Uint8Array, salt: Uint8Array): string {
  return Buffer.concat([salt, value]).toString('base64');
}

export function isSalted(text: string): boolean {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length >= secretSaltBytes && bytes.toString('base64') === text;
}

/** The value of what was delivered. */
export function unsaltContent(content: Uint8Array): Uint8Array {
  return content.subarray(secretSaltBytes);
}

/** Whether a stored text holds this value. */
export function holdsValue(salted: string, value: Uint8Array): boolean {
  const held = unsaltContent(Buffer.from(salted, 'base64'));
  return held.length === value.length && timingSafeEqual(held, value);
}

export const saltedBytes = (salted: string): number => Buffer.from(salted, 'base64').length - secretSaltBytes;
