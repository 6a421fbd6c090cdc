// What a command beside a workload reads and prints. Called by process-exec.ts and docker-exec.ts. Without a session the beginning of its
// output is kept and the rest dropped, so that nobody waits; with one, a slow reader slows the command.

import type { Readable, Writable } from 'node:stream';
import type { ExecOptions, LogLine } from './engine.ts';

export interface ExecOutput {
  /** Resolves when more may come. */
  take(stream: LogLine['stream'], bytes: Uint8Array): Promise<void>;
  /** Whether a reader is being waited for. */
  waiting(): boolean;
  /** Bytes that came so far. */
  bytes(): number;
  /** The beginning of it; empty in a session. */
  text(): string;
}

export function createExecOutput({ session, outputBytesMax }: ExecOptions): ExecOutput {
  const kept: Uint8Array[] = [];
  let bytesTaken = 0;
  let waiting = 0;
  return {
    async take(stream, bytes) {
      const before = bytesTaken;
      bytesTaken += bytes.byteLength;
      if (session === undefined) {
        if (before < outputBytesMax) kept.push(bytes.subarray(0, outputBytesMax - before));
        return;
      }
      waiting++;
      try {
        await session.output(stream, bytes);
      } finally {
        waiting--;
      }
    },
    waiting: () => waiting > 0,
    bytes: () => bytesTaken,
    text: () => Buffer.concat(kept).toString('utf8'),
  };
}

/** Resolves when the stream has ended or failed, or nobody takes what it brings. */
export async function readOutput(from: Readable, stream: LogLine['stream'], output: ExecOutput): Promise<void> {
  try {
    for await (const chunk of from) await output.take(stream, chunk as Buffer);
  } catch {
    // Destroyed: by us when the command has ended, or because the reader is gone, which whoever reads tells by its signal.
  }
}

/** The same for Docker's stream format: a head of 8 bytes (stream, length), then the bytes; frames are passed on in pieces as they come. */
export async function readFrames(from: Readable, output: ExecOutput): Promise<void> {
  let head: Buffer = Buffer.alloc(0);
  let left = 0;
  let stream: LogLine['stream'] = 'stdout';
  try {
    for await (const chunk of from) {
      let rest = chunk as Buffer;
      while (rest.byteLength > 0) {
        if (left === 0) {
          const wanted = 8 - head.byteLength;
          head = Buffer.concat([head, rest.subarray(0, wanted)]);
          rest = rest.subarray(wanted);
          if (head.byteLength < 8) break;
          stream = head[0] === 2 ? 'stderr' : 'stdout';
          left = head.readUInt32BE(4);
          head = Buffer.alloc(0);
          continue;
        }
        const piece = rest.subarray(0, left);
        left -= piece.byteLength;
        rest = rest.subarray(piece.byteLength);
        await output.take(stream, piece);
      }
    }
  } catch {
    // As above.
  }
}

/** Writes what comes until it ends, and then says that it has ended. A command that reads no more is no error. */
export async function feedInput(input: AsyncIterable<Uint8Array>, to: Writable): Promise<void> {
  const gone = Promise.withResolvers<void>();
  to.on('error', () => gone.resolve());
  to.once('close', () => gone.resolve());
  try {
    for await (const bytes of input) {
      if (to.destroyed) return;
      if (to.write(bytes)) continue;
      const drained = Promise.withResolvers<void>();
      to.once('drain', drained.resolve);
      await Promise.race([drained.promise, gone.promise]);
    }
  } finally {
    to.end();
  }
}
