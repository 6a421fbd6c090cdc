// The machine and terminal that a command runs on, as a port: every command takes a Host and touches nothing global.
// Adapter: system-host.ts; tests make their own.

import type { styleText } from 'node:util';
import type { Clock } from '../../node-runtime/clock.ts';

export type Style = Parameters<typeof styleText>[0];
export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

export interface HostTerminal {
  /** Hands every key on as it is typed, Ctrl-C too; returns how to undo it, which the end of the process does in any case. */
  raw(): () => void;
  /** Calls at each change of its size; returns how to undo it. */
  onResize(run: () => void): () => void;
}

export interface Host {
  readonly clock: Clock;
  readonly env: Record<string, string | undefined>;
  /** 0 is root. */
  readonly userId: number;
  readonly homeFolder: string;
  readonly workingFolder: string;
  /** Columns of the terminal on stdout; undefined when it is none. */
  readonly columns: number | undefined;
  /** Rows of it. */
  readonly rows: number | undefined;
  /** Text for stdout or stderr, without its last newline. */
  out(text: string): void;
  error(text: string): void;
  /** Writes to stderr as it is, for a line that moves; undefined where stdout or stderr is no terminal. */
  readonly progress: ((text: string) => void) | undefined;
  /** Coloured where stdout is a terminal and NO_COLOR is not set; as it is elsewhere. */
  style(format: Style, text: string): string;
  /** All of stdin; rejects beyond `bytesMax`. */
  readInput(bytesMax: number): Promise<string>;
  /** Stdin as it comes. */
  input(): AsyncIterable<Uint8Array>;
  /** The terminal that stdin and stdout are; undefined when one of them is none. */
  readonly terminal: HostTerminal | undefined;
  /** Bytes as they are; resolves when more may come. */
  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>;
  /** Calls once stdin has ended. */
  onInputEnd(run: () => void): void;
  /** Calls at each SIGINT, SIGTERM and SIGHUP, which then no longer end the process; returns how to undo it. */
  onSignal(run: (signal: StopSignal) => void): () => void;
  /** Calls when nobody reads stdout or stderr any more, instead of ending the process; returns how to undo it. */
  onOutputClosed(run: () => void): () => void;
  /** Ends the process at once. */
  exit(status: number): never;
}
