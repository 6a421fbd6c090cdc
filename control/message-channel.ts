// JSON messages over a stream of frames: cut into frames of bounded size and put together again. Called by both ends of
// replication. A frame is one byte, '+' when more of the message follows and '.' when not, and then bytes of JSON in UTF-8.

import type { FrameStream } from '../mesh/mesh.ts';
import { ReplicationProtocolError } from './errors.ts';
import { hasMoreValues } from './json-values.ts';
import { replicationFrameBytesMax, replicationMessageBytesMax, replicationValuesMax } from './limits.ts';

const moreFollows = 0x2b;
const lastFrame = 0x2e;

export interface MessageChannel {
  /** Resolves when the whole message is handed on. Messages of concurrent calls are never mixed. */
  send(json: string): Promise<void>;
  /** The next message, parsed; undefined at the end. Rejects with ReplicationProtocolError on what is no message. */
  receive(): Promise<unknown>;
}

export function createMessageChannel(stream: FrameStream): MessageChannel {
  const payloadBytes = replicationFrameBytesMax - 1;
  const encoder = new TextEncoder();
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let sending: Promise<void> = Promise.resolve();

  async function sendFrames(json: string): Promise<void> {
    const bytes = encoder.encode(json);
    if (bytes.length > replicationMessageBytesMax)
      throw new ReplicationProtocolError(`a message of ${bytes.length} bytes is too large`);
    for (let start = 0; start < bytes.length; start += payloadBytes) {
      const part = bytes.subarray(start, start + payloadBytes);
      const frame = new Uint8Array(part.length + 1);
      frame[0] = start + payloadBytes < bytes.length ? moreFollows : lastFrame;
      frame.set(part, 1);
      await stream.send(frame);
    }
  }

  return {
    send(json) {
      const sent = sending.then(() => sendFrames(json));
      sending = sent.catch(() => {});
      return sent;
    },

    async receive() {
      const parts: Uint8Array[] = [];
      let size = 0;
      for (;;) {
        const frame = await stream.receive();
        if (frame === undefined) {
          if (parts.length > 0) throw new ReplicationProtocolError('the stream ended within a message');
          return undefined;
        }
        size += frame.length;
        if (frame.length > replicationFrameBytesMax || size > replicationMessageBytesMax + parts.length + 1)
          throw new ReplicationProtocolError('a message is too large');
        if (frame[0] !== moreFollows && frame[0] !== lastFrame)
          throw new ReplicationProtocolError('a frame has an unknown kind');
        // Empty parts would let a message of no bytes have frames without end.
        if (frame.length < 2) throw new ReplicationProtocolError('a frame is empty');
        parts.push(frame.subarray(1));
        if (frame[0] === lastFrame) return parse(parts);
      }
    },
  };

  function parse([first = new Uint8Array(), ...more]: Uint8Array[]): unknown {
    const bytes = more.length === 0 ? first : Buffer.concat([first, ...more]);
    if (hasMoreValues(bytes, replicationValuesMax))
      throw new ReplicationProtocolError(`a message has more than ${replicationValuesMax} values`);
    try {
      return JSON.parse(decoder.decode(bytes));
    } catch (error) {
      throw new ReplicationProtocolError('a message is no JSON', error);
    }
  }
}
