// What somebody between two nodes did to a connection, by the error that ended it: Noise refuses what is not, byte for byte and in order, what the
// far end sent, and whoever cannot prove the key that was dialled. Pure; called by libp2p-links.ts and libp2p-dials.ts, and by
// node-runtime/member.ts for the words.

/** `altered`: flipped, left out, repeated, in another order, or of another connection. `impersonated`: somebody answered in the peer's name. */
export type Harm = 'altered' | 'impersonated';

/** In the words of @chainsafe/libp2p-noise, its two ciphers and its handshake: they have no class of their own for it. */
const altered =
  /chacha20poly1305 decryption|unable to authenticate data|Invalid chunk|handshake stage \d validation fail/;
const impersonated = /identity key .* does not match expected|Invalid payload signature/;

/** For an operator; `through` is the neighbour, beyond which there may be others. */
export function harmText(harm: Harm, peer: string, through: string | undefined): string {
  const way = through === undefined ? '' : ` through ${through}`;
  return harm === 'altered'
    ? `what came from ${peer}${way} was altered on the way: nothing of it was used, and the connection was ended`
    : `somebody else than ${peer} was met${way} in its name, and got nothing`;
}

/** Undefined for what may have been an accident. */
export function harmOf(error: Error | undefined): Harm | undefined {
  const message = error?.message ?? '';
  if (impersonated.test(message)) return 'impersonated';
  return altered.test(message) ? 'altered' : undefined;
}
