// Says what is going on, on stderr of a terminal, once it takes longer than a moment; the line is gone when the answer comes.
// Called by commands that may take a second. Nothing is shown where nobody looks: in a pipe, or with -o json.

import type { Host } from './host.ts';
import { progressAfterMs, progressEveryMs } from './limits.ts';

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const clearLine = '\r\u001b[K';

/** `what` says what is waited for, now: it is asked anew for each frame. */
export async function withProgress<T>(host: Host, what: string | (() => string), work: () => Promise<T>): Promise<T> {
  if (host.progress === undefined) return await work();
  const { progress, clock } = host;
  const startedAt = clock.now();
  let shown = 0;
  let timer: unknown;
  const draw = (): void => {
    const text = typeof what === 'string' ? what : what();
    const seconds = Math.round((clock.now() - startedAt) / 1000);
    const line = `${frames[shown % frames.length]} ${text} (${seconds} s)`;
    shown += 1;
    progress(`${clearLine}${line.slice(0, (host.columns ?? 80) - 1)}`);
    timer = clock.setTimeout(draw, progressEveryMs);
  };
  timer = clock.setTimeout(draw, progressAfterMs);
  try {
    return await work();
  } finally {
    clock.clearTimeout(timer);
    if (shown > 0) progress(clearLine);
  }
}
