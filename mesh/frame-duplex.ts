// A stream of frames as node:stream's Duplex, for what speaks bytes: TLS of a tunnel that has no address of its own. Called by
// tunnel-over-link.ts. Frame limits are not seen through it; back-pressure, half-close and reset are.

import { Duplex } from 'node:stream';
import { frameDuplexChunkBytes } from './limits.ts';
import type { FrameStream } from './mesh.ts';

/** Destroying it resets the stream; the stream's reset destroys it with that error. */
export function frameDuplex(stream: FrameStream): Duplex {
  let reading = false;

  /** Bytes in frames small enough to share the connection with others. */
  async function sendAll(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; from += frameDuplexChunkBytes)
      await stream.send(bytes.subarray(from, from + frameDuplexChunkBytes));
  }

  const duplex: Duplex = new Duplex({
    allowHalfOpen: true,
    async read() {
      if (reading) return;
      reading = true;
      try {
        for (let wanted = true; wanted; ) {
          const frame = await stream.receive();
          wanted = duplex.push(frame === undefined ? null : Buffer.from(frame)) && frame !== undefined;
        }
      } catch (error) {
        duplex.destroy(error as Error);
      } finally {
        reading = false;
      }
    },
    write(chunk: Buffer, _encoding, done) {
      sendAll(chunk).then(() => done(), done);
    },
    final(done) {
      stream.close().then(() => done(), done);
    },
    destroy(error, done) {
      stream.abort(error ?? new Error('this side has ended the stream'));
      done(error);
    },
  });
  return duplex;
}
