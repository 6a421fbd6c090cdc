// Peer ids: the name of a node's identity key in the mesh. Called wherever a key and a peer id are compared.
// Source: libp2p specification, peer-ids (identity multihash of the protobuf-encoded Ed25519 key, base58btc).

import { base58btc } from 'multiformats/bases/base58';
import { KeyFormatError } from './errors.ts';
import { readPublicKey } from './public-key.ts';

/** Ed25519 SubjectPublicKeyInfo up to its 32 bytes (RFC 8410, section 4). */
const spkiHead = Buffer.from('302a300506032b6570032100', 'hex');
/** Multihash `identity`, 36 bytes; protobuf: Type = Ed25519 (1), Data of 32 bytes. */
const multihashHead = Buffer.from('002408011220', 'hex');
const keyBytes = 32;
/** 38 bytes that begin with 0x00 0x24 make 52 characters of base58. */
const peerIdCharacters = 52;

/** `12D3KooW…` of an Ed25519 key (SubjectPublicKeyInfo, DER). Throws KeyFormatError for another key. */
export function peerIdOf(publicKeySpki: Uint8Array): string {
  const bytes = Buffer.from(publicKeySpki);
  if (bytes.length !== spkiHead.length + keyBytes || !bytes.subarray(0, spkiHead.length).equals(spkiHead)) {
    throw new KeyFormatError('a peer id is made of an Ed25519 key only');
  }
  return base58btc.baseEncode(Buffer.concat([multihashHead, bytes.subarray(spkiHead.length)]));
}

/** SubjectPublicKeyInfo (DER) of the Ed25519 key that a peer id is made of. Throws KeyFormatError for another text. */
export function publicKeyOfPeerId(peerId: string): Uint8Array {
  if (peerId.length !== peerIdCharacters) throw new KeyFormatError('this is no peer id of an Ed25519 key');
  let bytes: Buffer;
  try {
    bytes = Buffer.from(base58btc.baseDecode(peerId));
  } catch (cause) {
    throw new KeyFormatError('this is no peer id of an Ed25519 key', { cause });
  }
  if (
    bytes.length !== multihashHead.length + keyBytes ||
    !bytes.subarray(0, multihashHead.length).equals(multihashHead)
  ) {
    throw new KeyFormatError('this is no peer id of an Ed25519 key');
  }
  const spki = new Uint8Array(Buffer.concat([spkiHead, bytes.subarray(multihashHead.length)]));
  readPublicKey(spki);
  return spki;
}

export function isPeerId(text: string): boolean {
  try {
    publicKeyOfPeerId(text);
    return true;
  } catch {
    return false;
  }
}
