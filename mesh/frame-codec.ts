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
  let chunks: Uint8Array[] = [];
  let pending = 0;

  /** Takes `count` bytes off the front, copied: a small frame must not keep a whole socket buffer alive. */
  function take(count: number): Uint8Array {
    const taken = new Uint8Array(count);
    let filled = 0;
    while (filled < count) {
      const first = chunks[0] as Uint8Array;
      const part = first.subarray(0, count - filled);
      taken.set(part, filled);
      filled += part.length;
      if (part.length === first.length) chunks.shift();
      else chunks[0] = first.subarray(part.length);
    }
    pending -= count;
    return taken;
  }

  let awaited: number | undefined;
  return {
    push(chunk) {
      const frames: Uint8Array[] = [];
      if (chunk.length > 0) chunks.push(chunk);
      pending += chunk.length;
      for (;;) {
        if (awaited === undefined) {
          if (pending < HEADER_BYTES) return frames;
          const header = take(HEADER_BYTES);
          awaited = new DataView(header.buffer).getUint32(0);
          if (awaited > bytesMax) {
            chunks = [];
            throw new FrameTooLargeError(`a frame of ${awaited} bytes was announced; ${bytesMax} are allowed`);
          }
        }
        if (pending < awaited) return frames;
        frames.push(take(awaited));
        awaited = undefined;
      }
    },
    pendingBytes: () => pending + (awaited === undefined ? 0 : HEADER_BYTES),
  };
}
