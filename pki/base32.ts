// Base32 (RFC 4648) in lower case without padding: fabric ids, token secrets, fact ids. Strict when reading: one text for
// one value, so that two spellings never name the same thing.

import { base32 } from 'multiformats/bases/base32';

export const toBase32 = (bytes: Uint8Array): string => base32.baseEncode(bytes);

/** The bytes, or undefined when the text is not exactly what `toBase32` makes of `byteCount` bytes. */
export function fromBase32(text: string, byteCount: number): Uint8Array | undefined {
  if (text.length !== Math.ceil((byteCount * 8) / 5) || !/^[a-z2-7]*$/.test(text)) return undefined;
  try {
    const bytes = base32.baseDecode(text);
    return bytes.length === byteCount && toBase32(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
}
