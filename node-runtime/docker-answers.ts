// Answers of Docker's API that need a second look: which image it is, streams that end with a signal, logs as bytes. Called by
// docker-client.ts alone.

import type { Readable } from 'node:stream';

/** An image says its variant only where it has one. */
export function isFor(
  platform: string | undefined,
  facts: { Os: string; Architecture: string; Variant?: string | undefined },
): boolean {
  if (platform === undefined) return true;
  const [os, architecture, variant] = platform.split('/');
  const other =
    variant !== undefined && facts.Variant !== undefined && facts.Variant !== '' && facts.Variant !== variant;
  return facts.Os === os && facts.Architecture === architecture && !other;
}

/** dockerode's own way to abort reports an error that nobody can catch while the stream is not being read. */
export function untilAborted(stream: NodeJS.ReadableStream, signal: AbortSignal): Readable {
  const readable = stream as Readable;
  const end = (): void => void readable.destroy();
  readable.on('error', () => undefined);
  readable.once('close', () => signal.removeEventListener('abort', end));
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  return readable;
}

/** dockerode gives parsed JSON when a body happens to be JSON; frames with their binary head never are. */
export function asBuffer(body: unknown): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : '');
}
