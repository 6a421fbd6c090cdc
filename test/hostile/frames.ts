// Hostile bytes where frames are cut out of streams: the mesh's own frames, DNS over TCP, and the messages of replication. Each beside a
// second, slower reading of the same bytes.

import { ReplicationProtocolError } from '../../control/errors.ts';
import { replicationFrameBytesMax, replicationMessageBytesMax, replicationValuesMax } from '../../control/limits.ts';
import { createMessageChannel } from '../../control/message-channel.ts';
import { FrameTooLargeError } from '../../mesh/errors.ts';
import { createFrameDecoder, encodeFrame } from '../../mesh/frame-codec.ts';
import { createFrames, frameOf } from '../../node-runtime/dns-frames.ts';
import { createFramePair } from '../frame-pair.ts';
import type { Draw } from './draw.ts';
import { mutateBytes, mutateJson } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';

const bytesMax = 2_000;
const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const filled = (count: number, value: number): Uint8Array => new Uint8Array(count).fill(value);

/** In pieces of any size, often of one byte. */
function pieces(bytes: Uint8Array, draw: Draw): Uint8Array[] {
  const cut: Uint8Array[] = [];
  const sizeMax = draw.pick([1, 7, 100, 10_000]);
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + draw.below(sizeMax);
    cut.push(bytes.subarray(at, end));
    at = end;
  }
  return cut;
}

/** By the description alone: `head` bytes of length, big-endian, then the frame. */
export function cutFrames(bytes: Uint8Array, head: number, longest: number) {
  const frames: Uint8Array[] = [];
  let at = 0;
  while (bytes.length - at >= head) {
    let length = 0;
    for (const byte of bytes.subarray(at, at + head)) length = length * 256 + byte;
    if (length > longest) return { frames, tooLarge: true, left: bytes.length - at };
    if (bytes.length - at - head < length) break;
    frames.push(bytes.subarray(at + head, at + head + length));
    at += head + length;
  }
  return { frames, tooLarge: false, left: bytes.length - at };
}

const alike = (one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean =>
  one.length === other.length && one.every((frame, index) => Buffer.compare(frame, other[index] ?? filled(0, 0)) === 0);

const meshFrames: HostileKind = {
  name: 'mesh-frames',
  share: 150,
  open: () => ({
    valid: [
      encodeFrame(filled(3, 1)),
      joined(encodeFrame(filled(0, 0)), encodeFrame(filled(bytesMax, 7)), encodeFrame(filled(1, 0xff))),
    ],
    take(bytes, draw): Verdict {
      const decoder = createFrameDecoder(bytesMax);
      const got: Uint8Array[] = [];
      let refused = false;
      let heldMax = 0;
      try {
        for (const piece of pieces(bytes, draw)) {
          got.push(...decoder.push(piece));
          heldMax = Math.max(heldMax, decoder.pendingBytes());
        }
      } catch (error) {
        if (!(error instanceof FrameTooLargeError)) throw error;
        refused = true;
      }
      const expected = cutFrames(bytes, 4, bytesMax);
      if (refused !== expected.tooLarge) return { accepted: !refused, wrong: 'a length is judged otherwise' };
      // Of the piece in which the refusal came, the frames before it are lost with the stream.
      if (refused ? !alike(got, expected.frames.slice(0, got.length)) : !alike(got, expected.frames))
        return { accepted: !refused, wrong: 'other frames came out' };
      if (!refused && decoder.pendingBytes() !== expected.left)
        return { accepted: true, wrong: 'another rest is held' };
      return heldMax > bytesMax + 4
        ? { accepted: !refused, wrong: `${heldMax} bytes are held` }
        : { accepted: !refused };
    },
  }),
};

const dnsFrames: HostileKind = {
  name: 'dns-frames',
  share: 50,
  open: () => ({
    valid: [frameOf(filled(30, 1)), joined(frameOf(filled(0, 0)), frameOf(filled(500, 2)), frameOf(filled(12, 3)))],
    take(bytes, draw): Verdict {
      const frames = createFrames();
      const got = pieces(bytes, draw).flatMap((piece) => frames(Buffer.from(piece)));
      const expected = cutFrames(bytes, 2, 65_535);
      const whole = got.length > 0;
      return alike(got, expected.frames) ? { accepted: whole } : { accepted: whole, wrong: 'other messages came out' };
    },
  }),
};

/** Frames of one message, each behind its length: so that a frame's bounds can be mutated as well. */
const asMessage = (json: string, pieceBytes: number): Uint8Array => {
  const bytes = Buffer.from(json);
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const last = at + pieceBytes >= bytes.length;
    frames.push(encodeFrame(joined(Buffer.from(last ? '.' : '+'), bytes.subarray(at, at + pieceBytes))));
  }
  return joined(...frames);
};

function readMessage(frames: readonly Uint8Array[]): { value: unknown } | undefined {
  const parts: Uint8Array[] = [];
  let size = 0;
  for (const frame of frames) {
    const kind = String.fromCharCode(frame[0] ?? 0);
    size += frame.length - 1;
    if (!'+.'.includes(kind) || frame.length < 2 || frame.length > replicationFrameBytesMax) return undefined;
    if (size > replicationMessageBytesMax) return undefined;
    parts.push(frame.subarray(1));
    if (kind === '+') continue;
    try {
      return {
        value: JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(joined(...parts))),
      };
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** Of a value that is nested too deep for that: undefined. */
function textOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const replicationMessages: HostileKind = {
  name: 'replication-messages',
  share: 50,
  open() {
    const text = JSON.stringify({
      id: 1,
      method: 'bulkDocs',
      args: [{ docs: [{ _id: 'observed/node', text: 'é𐀀'.repeat(40) }] }],
    });
    const valid = [asMessage(text, 10_000), asMessage(text, 50), asMessage('{"open":"mailbox"}', 1)];
    return {
      valid,
      hostile(draw) {
        if (draw.oneIn(2)) return mutateBytes(draw.pick(valid), valid, draw);
        const mutated = mutateJson(text, draw);
        return asMessage(mutated, mutated.length > 50_000 ? replicationFrameBytesMax - 1 : draw.pick([40, 5_000]));
      },
      async take(bytes): Promise<Verdict> {
        const { frames } = cutFrames(bytes, 4, replicationFrameBytesMax + 10);
        const { near, far } = createFramePair('/hostile');
        const channel = createMessageChannel(far);
        const expected = readMessage(frames);
        const received = channel.receive().then(
          (value) => ({ value }),
          (error: unknown) => ({ error }),
        );
        for (const frame of frames) await Promise.race([near.send(frame), received]);
        await near.close();
        const outcome = await received;
        near.abort(new Error('the case is over'));
        if ('error' in outcome) {
          if (!(outcome.error instanceof ReplicationProtocolError)) throw outcome.error;
          // One with very many values is refused unread.
          if (expected === undefined || bytes.length >= replicationValuesMax) return { accepted: false };
          return { accepted: false, wrong: 'a message is refused' };
        }
        if (outcome.value === undefined && expected === undefined)
          return frames.length === 0 ? { accepted: false } : { accepted: false, wrong: 'an end came within a message' };
        const same = textOf(outcome.value) === textOf(expected?.value);
        return same ? { accepted: true } : { accepted: true, wrong: 'another message came out' };
      },
    };
  },
};

export const frameKinds: readonly HostileKind[] = [meshFrames, dnsFrames, replicationMessages];
