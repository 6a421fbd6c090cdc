// Moves the bytes of one direction of a call, with fewer and larger writes than `pipe` makes. Called by tunnel-relay.ts, which deals
// with ends, errors and resets; it must never hold back a short message.

import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { gatheredBytesMax, gatheredChunkBytesMin, unwrittenBytesMax } from './limits.ts';

/**
 * node:http2 hands a frame over in two pieces, because a frame of 16 KiB and its header are longer than a TLS record: one system
 * call each would cost more than all encryption. What arrives in one turn of the event loop is therefore written at once; what is
 * short and comes alone is written as it comes. `keeps`: who reads what is written keeps it, so that it is never freed here.
 */
export function pump(from: Duplex, to: Duplex, { keeps = false }: { keeps?: boolean } = {}): void {
  const isFreed = from instanceof Socket && !keeps;
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
    if (isFreed && chunk.length >= gatheredChunkBytesMin) {
      // What was destroyed may still have it in hand, and calls back without an error.
      to.write(chunk, (error) => {
        if (!error && !to.destroyed) release(chunk);
      });
    } else to.write(chunk);
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

/**
 * Frees what a socket has read and somebody else has written. V8 counts this memory, and after some tens of megabytes collects all of
 * the heap for its sake: in a daemon that took two thirds of the time of a long transfer. Never called for what came from an HTTP/2
 * stream, whose session may still read on in the same memory.
 */
function release({ buffer, length }: Buffer): void {
  // A socket's read has its memory for itself; a part of some other memory is left to the garbage collector.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
}
