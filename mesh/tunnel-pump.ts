// Moves the bytes of one direction of a call, with fewer and larger writes than `pipe` makes. Called by tunnel-relay.ts, which deals
// with ends, errors and resets; it must never hold back a short message.

import type { Duplex } from 'node:stream';
import { gatheredBytesMax, gatheredChunkBytesMin, unwrittenBytesMax } from './limits.ts';

/**
 * node:http2 hands a frame over in two pieces, because a frame of 16 KiB and its header are longer than a TLS record: one system
 * call each would cost more than all encryption. What arrives in one turn of the event loop is therefore written at once; what is
 * short and comes alone is written as it comes.
 */
export function pump(from: Duplex, to: Duplex): void {
  let gathering = false;
  let gatheredBytes = 0;

  function flush(): void {
    if (!gathering) return;
    gathering = false;
    gatheredBytes = 0;
    to.uncork();
  }

  from.on('data', (chunk: Buffer) => {
    if (!gathering && chunk.length >= gatheredChunkBytesMin && chunk.length < gatheredBytesMax) {
      gathering = true;
      to.cork();
      setImmediate(flush);
    }
    to.write(chunk);
    if (gathering) {
      gatheredBytes += chunk.length;
      if (gatheredBytes >= gatheredBytesMax) flush();
    }
    // More than what streams hold by default: a pause costs system calls at both ends of it.
    if (to.writableLength >= unwrittenBytesMax) from.pause();
  });
  to.on('drain', () => from.resume());
  from.resume();
}
