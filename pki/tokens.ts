// The text of a join token: `sv1_<fabric-id>_<secret>`. Called by the CLI, by `up --token`, and by the token book.
// The fabric id in it is the pin of the root: a box that has the token knows whom to trust. Never logged, never stored.

import { fromBase32, toBase32 } from './base32.ts';
import { TokenFormatError } from './errors.ts';
import { tokenSecretBytes } from './limits.ts';
import { isFabricId } from './names.ts';

export interface Token {
  fabricId: string;
  /** 32 base32 characters. */
  secret: string;
}

const version = 'sv1';
const fabricIdCharacters = 52;
const secretCharacters = (tokenSecretBytes * 8) / 5;

export const isTokenSecret = (text: string): boolean => fromBase32(text, tokenSecretBytes) !== undefined;

export const newTokenSecret = (bytes: Uint8Array): string => toBase32(bytes);

export const formatToken = ({ fabricId, secret }: Token): string => `${version}_${fabricId}_${secret}`;

/** Reads what `selvedge token create` printed; blanks around it are allowed. Throws TokenFormatError, without the text. */
export function parseToken(text: string): Token {
  const parts = text.trim().split('_');
  const [prefix = '', fabricId = '', secret = ''] = parts;
  if (prefix !== version) throw new TokenFormatError(`a token begins with ${version}_`);
  if (parts.length !== 3) throw new TokenFormatError('a token has three parts: sv1, the fabric id and the secret');
  if (fabricId.length !== fabricIdCharacters) {
    throw new TokenFormatError(`the fabric id of a token has ${fabricIdCharacters} characters, not ${fabricId.length}`);
  }
  if (!isFabricId(fabricId)) throw new TokenFormatError('the fabric id of the token is mistyped');
  if (secret.length !== secretCharacters) {
    throw new TokenFormatError(`the last part of a token has ${secretCharacters} characters, not ${secret.length}`);
  }
  if (!isTokenSecret(secret))
    throw new TokenFormatError('the last part of the token is mistyped: it has a-z and 2-7 only');
  return { fabricId, secret };
}
