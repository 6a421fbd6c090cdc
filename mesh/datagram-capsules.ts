// UDP payloads as capsules of type DATAGRAM with context 0 (RFC 9297, section 3; RFC 9298, section 5), and back out of a stream of bytes.
// Pure; called by datagram-ends.ts. A length is never trusted: what is set aside is at most one datagram.

import { CapsuleError } from './errors.ts';
import { capsuleSkippedBytesMax, datagramBytesMax } from './limits.ts';

const datagramType = 0;
/** The context id of UDP payloads (RFC 9298, section 4), one byte as it is sent here. */
const payloadContext = 0;
/** Integers of QUIC have 1, 2, 4 or 8 bytes (RFC 9000, section 16). */
const integerBytesMax = 8;

/** A payload of at most `datagramBytesMax`, which is as much as UDP has. */
export function encodeDatagram(payload: Uint8Array): Buffer {
  const length = payload.length + 1;
  const lengthBytes = length < 2 ** 6 ? 1 : length < 2 ** 14 ? 2 : 4;
  const capsule = Buffer.allocUnsafe(1 + lengthBytes + length);
  capsule[0] = datagramType;
  if (lengthBytes === 1) capsule.writeUInt8(length, 1);
  else if (lengthBytes === 2) capsule.writeUInt16BE(length + 0x4000, 1);
  else capsule.writeUInt32BE(length + 0x8000_0000, 1);
  capsule[1 + lengthBytes] = payloadContext;
  capsule.set(payload, 2 + lengthBytes);
  return capsule;
}

/** The integer at `at`, and where it ends; undefined when it is not all there. Beyond 2^53 it is not exact: no length is allowed there. */
function readInteger(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  const first = bytes[at];
  if (first === undefined) return undefined;
  const end = at + 2 ** (first >> 6);
  if (end > bytes.length) return undefined;
  let value = first & 0x3f;
  for (const byte of bytes.subarray(at + 1, end)) value = value * 256 + byte;
  return { value, end };
}

export interface CapsuleDecoder {
  /**
   * Takes the next bytes, returns the payloads that are complete; they may lie in the memory of the chunk. Capsules of other types, and
   * datagrams of other contexts, are passed over. Throws CapsuleError, after which it must not be used.
   */
  push(chunk: Uint8Array): Uint8Array[];
  /** The stream has ended: throws CapsuleError when that was within a capsule (RFC 9297, section 3.3). */
  end(): void;
}

export function createCapsuleDecoder(): CapsuleDecoder {
  /** Type and length of the capsule that begins, as far as they are there. */
  const head = Buffer.alloc(2 * integerBytesMax);
  let headBytes = 0;
  /** Of the datagram that has begun, and how much of it there is when it comes in pieces. */
  let wantedBytes = 0;
  let pieces = new Uint8Array(0);
  let pieceBytes = 0;
  /** Of a capsule that is passed over. */
  let skipBytes = 0;

  /** What a DATAGRAM capsule holds; nothing for another context. */
  function payloadOf(bytes: Uint8Array): Uint8Array[] {
    const context = readInteger(bytes, 0);
    if (context === undefined) throw new CapsuleError('a datagram is too short for its context');
    if (context.value !== payloadContext) return [];
    const payload = bytes.subarray(context.end);
    if (payload.length > datagramBytesMax) throw new CapsuleError('a datagram is longer than UDP allows');
    return [payload];
  }

  /** Type and length once both are there. */
  function readHead(byte: number): { type: number; length: number } | undefined {
    head[headBytes] = byte;
    headBytes += 1;
    const known = head.subarray(0, headBytes);
    const type = readInteger(known, 0);
    const length = type && readInteger(known, type.end);
    if (type === undefined || length === undefined) return undefined;
    headBytes = 0;
    return { type: type.value, length: length.value };
  }

  function begin({ type, length }: { type: number; length: number }): void {
    if (type !== datagramType) {
      if (length > capsuleSkippedBytesMax) throw new CapsuleError('a capsule of an unknown type is too long');
      skipBytes = length;
      return;
    }
    if (length > integerBytesMax + datagramBytesMax) throw new CapsuleError('a datagram is longer than UDP allows');
    if (length === 0) throw new CapsuleError('a datagram is too short for its context');
    wantedBytes = length;
  }

  /** One piece more; all of it once it is whole. */
  function gather(piece: Uint8Array): Uint8Array[] {
    if (pieceBytes === 0) pieces = new Uint8Array(wantedBytes);
    pieces.set(piece, pieceBytes);
    pieceBytes += piece.length;
    if (pieceBytes < wantedBytes) return [];
    const whole = pieces;
    pieces = new Uint8Array(0);
    pieceBytes = 0;
    return payloadOf(whole);
  }

  return {
    push(chunk) {
      const payloads: Uint8Array[] = [];
      let at = 0;
      while (at < chunk.length) {
        if (skipBytes > 0) {
          const passed = Math.min(skipBytes, chunk.length - at);
          skipBytes -= passed;
          at += passed;
        } else if (wantedBytes > 0) {
          const piece = chunk.subarray(at, at + wantedBytes - pieceBytes);
          at += piece.length;
          if (piece.length === wantedBytes) payloads.push(...payloadOf(piece));
          else payloads.push(...gather(piece));
          if (pieceBytes === 0) wantedBytes = 0;
        } else {
          const capsule = readHead(chunk[at] as number);
          at += 1;
          if (capsule !== undefined) begin(capsule);
        }
      }
      return payloads;
    },
    end() {
      if (headBytes > 0 || skipBytes > 0 || wantedBytes > 0)
        throw new CapsuleError('the stream ended within a capsule');
    },
  };
}
