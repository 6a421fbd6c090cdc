// Frames on a byte stream: a length of four bytes (big-endian), then that many bytes. Called by stream-frames.ts.
// Never trusts a length: nothing is set aside for bytes that have not arrived.

import { FrameTooLargeError } from './errors.ts';

const HEADER_BYTES = 4;

/** Header and frame in memory of its own. */
export function encodeFrame(frame: Uint8Array): Uint8Array {
  const encoded = new Uint8Array(HEADER_BYTES + frame.length);
  new DataView(encoded.buffer).setUint32(0, frame.length);
  encoded.set(frame, HEADER_BYTES);
  return encoded;
}

export interface FrameDecoder {
  /** Takes the next bytes and returns the frames that are complete, each in memory of its own. Throws FrameTooLargeError. */
  push(chunk: Uint8Array): Uint8Array[];
  /** Bytes of a frame that is not complete yet, its header included. */
  pendingBytes(): number;
}

export function createFrameDecoder(bytesMax: number): FrameDecoder {
  // One buffer that grows as bytes arrive, not a list of pieces: a sender of single bytes must cost no more than others.
  let buffer = new Uint8Array(0);
  let filled = 0;

  function append(chunk: Uint8Array): void {
    if (filled + chunk.length > buffer.length) {
      const grown = new Uint8Array(Math.max(filled + chunk.length, 2 * buffer.length));
      grown.set(buffer.subarray(0, filled));
      buffer = grown;
    }
    buffer.set(chunk, filled);
    filled += chunk.length;
  }

  /** Forgets the first `count` bytes. What is left gets memory of its own size, so an idle decoder holds next to none. */
  function drop(count: number): void {
    buffer = buffer.slice(count, filled);
    filled -= count;
  }

  return {
    push(chunk) {
      append(chunk);
      const frames: Uint8Array[] = [];
      let at = 0;
      while (filled - at >= HEADER_BYTES) {
        const length = new DataView(buffer.buffer, at).getUint32(0);
        if (length > bytesMax)
          throw new FrameTooLargeError(`a frame of ${length} bytes was announced; ${bytesMax} are allowed`);
        const end = at + HEADER_BYTES + length;
        if (end > filled) break;
        frames.push(buffer.slice(at + HEADER_BYTES, end));
        at = end;
      }
      if (at > 0) drop(at);
      return frames;
    },
    pendingBytes: () => filled,
  };
}
