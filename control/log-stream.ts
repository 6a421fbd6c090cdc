// Log lines as newline-delimited JSON, pulled one by one so that a slow reader slows the source; a failure with a name is the last line,
// as `{"problem": …}`. Called by api.ts. It must never outlive
// its reader: when that goes, the source's signal aborts.

import type { LogLine } from '../node-runtime/engine.ts';
import { problemOf } from './problems.ts';

export function logStream({
  open,
  signal,
  onEnd,
  report,
}: {
  open: (signal: AbortSignal) => AsyncIterable<LogLine>;
  /** The request's: aborts when the client is gone. */
  signal: AbortSignal;
  /** Called once, however it ends. */
  onEnd: () => void;
  /** Hears why a source failed, where nobody described it. */
  report: (error: unknown) => void;
}): ReadableStream<Uint8Array> {
  const own = new AbortController();
  const encoder = new TextEncoder();
  const iterator = open(own.signal)[Symbol.asyncIterator]();
  let ended = false;
  const end = (): void => {
    if (ended) return;
    ended = true;
    signal.removeEventListener('abort', end);
    own.abort();
    onEnd();
    // A source that ignores its signal must not keep the reader: nothing waits for this.
    Promise.resolve(iterator.return?.()).catch(() => undefined);
  };
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });

  const line = (value: unknown): Uint8Array => encoder.encode(`${JSON.stringify(value)}\n`);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = ended ? { done: true as const, value: undefined } : await iterator.next();
        if (next.done !== true) {
          controller.enqueue(line(next.value));
          return;
        }
      } catch (error) {
        if (!ended) {
          end();
          // The status went out long ago.
          const problem = problemOf(error);
          if (problem !== undefined) {
            controller.enqueue(line({ problem }));
            controller.close();
            return;
          }
          // Breaking off is the only way left to say that this is not the end.
          report(error);
          controller.error(error);
          return;
        }
      }
      end();
      controller.close();
    },
    cancel: end,
  });
}
