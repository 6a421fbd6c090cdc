// What is said in an exec session, as frames: bytes of a stream, or a message. Called by both ends: the command line, and the node that
// runs the command (node-runtime/exec-sessions.ts); who is between them passes frames on as they are.

import { z } from 'zod';
import { hasMoreValues } from './json-values.ts';
import { execArgumentsMax, execCommandBytesMax, execValuesMax, terminalCellsMax } from './limits.ts';
import type { Problem } from './views.ts';

/** What a request on the API's socket asks to go on with. */
export const execProtocolName = 'selvedge-exec';

/** A connection that carries frames; a stream of the mesh is one. */
export interface ExecChannel {
  /** Waits while the far end is slow. Rejects once the connection is gone. */
  send(frame: Uint8Array): Promise<void>;
  /** Undefined when the far end has closed. */
  receive(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  close(): Promise<void>;
  abort(reason: Error): void;
}

const streams = ['stdin', 'stdout', 'stderr'] as const;
export type ExecStream = (typeof streams)[number];

export interface ExecEnd {
  /** Undefined when a signal ended it. */
  status?: number | undefined;
  signal?: string | undefined;
}

/** In characters. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** The terminal that somebody sits at; `type` is its TERM. */
export interface Terminal extends TerminalSize {
  type: string;
}

export interface ExecBegin {
  instance: string;
  command: string[];
  /** With one the command gets a terminal of its own like it, and stdout brings all that it prints. */
  terminal?: Terminal | undefined;
}

export type ExecMessage =
  /** The first frame of a session. */
  | { begin: ExecBegin }
  | { resized: TerminalSize }
  | { inputEnded: true }
  /** Bytes of stdin that the command has taken: the typing end sends so many more. */
  | { taken: number }
  | { ended: ExecEnd }
  | { problem: Problem };

export type ExecFrame = { stream: ExecStream; bytes: Uint8Array } | { message: ExecMessage };

const cells = z.number().int().min(0).max(terminalCellsMax);
const terminal = z.strictObject({ type: z.string().regex(/^[\w.+-]{1,64}$/), columns: cells, rows: cells });

const message = z.union([
  z.strictObject({
    begin: z.strictObject({
      instance: z.string().min(1).max(255),
      command: z
        .array(z.string())
        .min(1)
        .max(execArgumentsMax)
        .refine((words) => words.reduce((sum, word) => sum + word.length, 0) <= execCommandBytesMax),
      terminal: terminal.optional(),
    }),
  }),
  z.strictObject({ resized: z.strictObject({ columns: cells, rows: cells }) }),
  z.strictObject({ inputEnded: z.literal(true) }),
  z.strictObject({ taken: z.number().int().positive() }),
  z.strictObject({ ended: z.object({ status: z.number().int().optional(), signal: z.string().optional() }) }),
  z.strictObject({
    problem: z.looseObject({
      type: z.string(),
      title: z.string(),
      status: z.number(),
      detail: z.string(),
      action: z.string(),
    }),
  }),
]);

/** The first byte: 0 for a message, else the stream's place in the list, counted from 1. */
export function encodeExec(frame: ExecFrame): Uint8Array {
  if ('message' in frame) return Buffer.concat([Buffer.from([0]), Buffer.from(JSON.stringify(frame.message))]);
  return Buffer.concat([Buffer.from([streams.indexOf(frame.stream) + 1]), frame.bytes]);
}

function decodeMessage(bytes: Uint8Array): ExecMessage {
  if (hasMoreValues(bytes, execValuesMax))
    throw new Error(`a message of an exec session has more than ${execValuesMax} values`);
  const said = message.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  if (!said.success) throw new Error('a message of an exec session has an unknown form');
  return said.data as ExecMessage;
}

/** Throws for what is no frame. */
export function decodeExec(frame: Uint8Array): ExecFrame {
  const [kind = 255] = frame;
  const bytes = frame.subarray(1);
  if (kind === 0) return { message: decodeMessage(bytes) };
  const stream = streams[kind - 1];
  if (stream === undefined) throw new Error(`no frame of an exec session begins with ${kind}`);
  return { stream, bytes };
}
