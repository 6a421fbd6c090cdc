// The typing end of an exec session: sends what is typed, as much as the command takes, and hands on what it prints. Called by client.ts.

import { constants } from 'node:os';
import { decodeExec, type ExecBegin, type ExecChannel, encodeExec, type TerminalSize } from '../exec-frames.ts';
import { execInputBytesMax } from '../limits.ts';
import type { Problem } from '../views.ts';

export interface ExecTyping {
  /** Undefined when nobody types: the command waits for more, as at a terminal that is left alone. */
  input: AsyncIterable<Uint8Array> | undefined;
  /** Of the terminal that the command gets, as they come. */
  resizes?: AsyncIterable<TerminalSize> | undefined;
  /** Resolves when more may come. */
  output(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>;
}

/** Of one frame: half of what may be on its way. */
const pieceBytesMax = execInputBytesMax / 2;

/** Resolves with the exit status; rejects with what `refusal` makes of the node's problem. */
export async function holdSession(
  channel: ExecChannel,
  begin: ExecBegin,
  { input, resizes, output }: ExecTyping,
  refusal: (problem: Problem) => Error,
): Promise<number> {
  let ahead = 0;
  let taken = Promise.withResolvers<void>();

  async function type(): Promise<void> {
    if (input === undefined) return;
    for await (const bytes of input) {
      for (let at = 0; at < bytes.byteLength; at += pieceBytesMax) {
        const piece = bytes.subarray(at, at + pieceBytesMax);
        while (ahead + piece.byteLength > execInputBytesMax) await taken.promise;
        ahead += piece.byteLength;
        await channel.send(encodeExec({ stream: 'stdin', bytes: piece }));
      }
    }
    await channel.send(encodeExec({ message: { inputEnded: true } }));
  }

  async function resize(): Promise<void> {
    for await (const resized of resizes ?? []) await channel.send(encodeExec({ message: { resized } }));
  }

  await channel.send(encodeExec({ message: { begin } }));
  // A connection that goes is told by receiving.
  type().catch(() => undefined);
  resize().catch(() => undefined);
  for (;;) {
    const frame = await channel.receive();
    if (frame === undefined) throw new Error('the session broke off');
    const said = decodeExec(frame);
    if ('stream' in said) {
      if (said.stream !== 'stdin') await output(said.stream, said.bytes);
    } else if ('taken' in said.message) {
      ahead -= said.message.taken;
      taken.resolve();
      taken = Promise.withResolvers<void>();
    } else if ('problem' in said.message) {
      throw refusal(said.message.problem);
    } else if ('ended' in said.message) {
      await channel.close();
      const { status, signal = '' } = said.message.ended;
      return status ?? 128 + (constants.signals[signal as NodeJS.Signals] ?? 0);
    }
  }
}
