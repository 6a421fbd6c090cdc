// Frames on a socket: a length of four bytes (big-endian), then so many bytes. Called by exec-upgrade.ts and by the command line. Never
// holds more than one frame and what the socket brought with it.

import type { Duplex } from 'node:stream';
import type { ExecChannel } from './exec-frames.ts';
import { execFrameBytesMax } from './limits.ts';

const headBytes = 4;

/** `head` is what was read of the socket already. */
export function createSocketChannel(socket: Duplex, head: Buffer): ExecChannel {
  if (head.byteLength > 0) socket.unshift(head);
  const gone = Promise.withResolvers<never>();
  gone.promise.catch(() => undefined);
  let held: Buffer = Buffer.alloc(0);
  socket.on('error', gone.reject);
  socket.once('close', () => gone.reject(new Error('the connection is gone')));
  const chunks = socket[Symbol.asyncIterator]();

  return {
    async send(frame) {
      const length = Buffer.alloc(headBytes);
      length.writeUInt32BE(frame.byteLength);
      if (socket.destroyed || socket.writableEnded) throw new Error('the connection is gone');
      if (socket.write(Buffer.concat([length, frame]))) return;
      const drained = Promise.withResolvers<void>();
      socket.once('drain', drained.resolve);
      await Promise.race([drained.promise, gone.promise]);
    },
    async receive() {
      for (;;) {
        if (held.byteLength >= headBytes) {
          const length = held.readUInt32BE(0);
          if (length > execFrameBytesMax) throw new Error(`a frame of ${length} bytes is too large`);
          if (held.byteLength >= headBytes + length) {
            const frame = held.subarray(headBytes, headBytes + length);
            held = held.subarray(headBytes + length);
            return frame;
          }
        }
        const next = await chunks.next();
        if (next.done === true) return undefined;
        held = Buffer.concat([held, next.value as Buffer]);
      }
    },
    async close() {
      socket.end();
    },
    abort: (reason) => void socket.destroy(reason),
  };
}
