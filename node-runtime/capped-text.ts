// The beginning of what streams bring, as text. Called by process-exec.ts and docker-exec.ts. What comes beyond is read and dropped,
// so that nobody waits for a reader.

import type { Readable } from 'node:stream';

/** Resolves when all streams have ended or failed. */
export async function cappedText(streams: readonly Readable[], bytesMax: number): Promise<string> {
  const kept: Buffer[] = [];
  let bytes = 0;
  const ended = streams.map((stream) => {
    const end = Promise.withResolvers<void>();
    stream.on('data', (chunk: Buffer) => {
      if (bytes < bytesMax) kept.push(chunk.subarray(0, bytesMax - bytes));
      bytes += chunk.byteLength;
    });
    stream.once('close', () => end.resolve());
    stream.once('error', () => end.resolve());
    return end.promise;
  });
  await Promise.all(ended);
  return Buffer.concat(kept).toString('utf8');
}
