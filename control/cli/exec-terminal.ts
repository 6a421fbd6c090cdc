// The terminal of `selvedge exec --tty` on this side: what it is like, its sizes as they change, and all its keys while a session lasts.
// Called by exec.ts. It is as it was before once the session is over, however that ends.

import type { Terminal, TerminalSize } from '../exec-frames.ts';
import type { Host } from './host.ts';

/** What a program may expect of a terminal that nobody described. */
const unknown = { type: 'dumb', columns: 80, rows: 24 };
/** A window that is dragged has dozens of sizes a second, of which the last counts. */
const resizeMs = 50;

export interface OpenTerminal {
  described: Terminal;
  resizes: AsyncIterable<TerminalSize>;
  close(): void;
}

/** `typing`: each key is handed on, as far as stdin is a terminal at all. */
export function openTerminal(host: Host, typing: boolean): OpenTerminal {
  const size = (): TerminalSize => ({ columns: host.columns || unknown.columns, rows: host.rows || unknown.rows });
  const type = host.env['TERM'] ?? '';
  let changed = Promise.withResolvers<void>();
  let closed = false;
  const undoResize = host.terminal?.onResize(() => changed.resolve());
  const undoRaw = typing ? host.terminal?.raw() : undefined;

  async function* resizes(): AsyncGenerator<TerminalSize> {
    for (;;) {
      await changed.promise;
      await host.clock.sleep(resizeMs);
      changed = Promise.withResolvers();
      if (closed) return;
      yield size();
    }
  }

  return {
    described: { type: /^[\w.+-]{1,64}$/.test(type) ? type : unknown.type, ...size() },
    resizes: resizes(),
    close() {
      closed = true;
      undoResize?.();
      undoRaw?.();
    },
  };
}
