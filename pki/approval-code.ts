// The code that a box shows and an operator types: `K7-ABCD-EFGH-JK` in Crockford's base32. Called by the box that makes it,
// by the CLI and by the controller that reads it. Never logged by who reads it: for an hour it is a secret.

import { ApprovalCodeError } from './errors.ts';

/** Without I, L, O and U (Crockford): nothing in it can be mistaken for something else in it. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
export const handleCharacters = 2;
/** 50 bits. */
export const secretCharacters = 10;
const codeCharacters = handleCharacters + secretCharacters;
/** Random bytes that one code takes: one for each character, of which five bits are used. */
export const approvalCodeBytes = codeCharacters;

export interface ApprovalCode {
  /** Two characters, not secret: by them a controller finds the box that is meant. */
  handle: string;
  /** All twelve characters, upper case, nothing between them: what the key is derived from. */
  code: string;
}

/** Makes a code of `approvalCodeBytes` random bytes. */
export function newApprovalCode(bytes: Uint8Array): ApprovalCode {
  const code = Array.from(bytes.subarray(0, codeCharacters), (byte) => alphabet[byte & 31]).join('');
  if (code.length !== codeCharacters) throw new RangeError(`a code takes ${codeCharacters} bytes`);
  return { handle: code.slice(0, handleCharacters), code };
}

/** `K7-ABCD-EFGH-JK`. */
export const formatApprovalCode = (code: string): string =>
  [code.slice(0, 2), code.slice(2, 6), code.slice(6, 10), code.slice(10)].join('-');

/** What a person typed, in the alphabet's own characters: any case, dashes and blanks; O is 0, I and L are 1. */
function plain(text: string): string {
  return text
    .toUpperCase()
    .replace(/[\s\-_.\u2010-\u2015]/g, '')
    .replaceAll('O', '0')
    .replace(/[IL]/g, '1');
}

const inAlphabet = (text: string): boolean => [...text].every((character) => alphabet.includes(character));

/** Reads what was typed. Throws ApprovalCodeError, which never repeats it. */
export function parseApprovalCode(text: string): ApprovalCode {
  // Longer than anybody types, dashes included: not even looked at.
  const code = text.length > 4 * codeCharacters ? '' : plain(text);
  if (code.length !== codeCharacters) throw new ApprovalCodeError(`a code has ${codeCharacters} letters and digits`);
  if (!inAlphabet(code)) throw new ApprovalCodeError('the code has a character that no code has, such as U');
  return { handle: code.slice(0, handleCharacters), code };
}

/** The handle in what was typed, or undefined when it is none. */
export function parseHandle(text: string): string | undefined {
  const handle = text.length > 4 * handleCharacters ? '' : plain(text);
  return handle.length === handleCharacters && inAlphabet(handle) ? handle : undefined;
}

export const isHandle = (text: string): boolean => text.length === handleCharacters && inAlphabet(text);
