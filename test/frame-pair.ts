// Two ends of one FrameStream in memory, for tests of protocols that run over the mesh without one.

import type { FrameStream } from '../mesh/mesh.ts';

/** More unread frames than this make `send` wait, like a slow far end does. */
const unreadFramesMax = 64;

class Direction {
  readonly frames: Uint8Array[] = [];
  ended = false;
  failure: Error | undefined;
  #wake = Promise.withResolvers<void>();

  changed(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  async untilChanged(signal?: AbortSignal): Promise<void> {
    if (signal === undefined) return this.#wake.promise;
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
      await Promise.race([this.#wake.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }
}

function end(
  protocol: string,
  outgoing: Direction,
  incoming: Direction,
  onSend: (frame: Uint8Array) => void,
): FrameStream {
  return {
    protocol,
    async send(frame) {
      while (outgoing.failure === undefined && !outgoing.ended && outgoing.frames.length >= unreadFramesMax) {
        await outgoing.untilChanged();
      }
      if (outgoing.failure !== undefined) throw outgoing.failure;
      if (outgoing.ended) throw new Error('this side of the stream is closed');
      onSend(frame);
      outgoing.frames.push(frame.slice());
      outgoing.changed();
    },
    async receive(signal) {
      for (;;) {
        signal?.throwIfAborted();
        if (incoming.failure !== undefined) throw incoming.failure;
        const frame = incoming.frames.shift();
        if (frame !== undefined) {
          incoming.changed();
          return frame;
        }
        if (incoming.ended) return undefined;
        await incoming.untilChanged(signal);
      }
    },
    async close() {
      outgoing.ended = true;
      outgoing.changed();
    },
    abort(reason) {
      for (const direction of [outgoing, incoming]) {
        direction.failure ??= reason;
        direction.changed();
      }
    },
  };
}

export interface FramePair {
  near: FrameStream;
  far: FrameStream;
  /** Every frame that `near` has sent, in order. */
  sentByNear: Uint8Array[];
  /** Every frame that `far` has sent, in order. */
  sentByFar: Uint8Array[];
}

/** What one end sends the other receives. `abort` on either end resets both, unread frames included. */
export function createFramePair(protocol: string): FramePair {
  const forth = new Direction();
  const back = new Direction();
  const sentByNear: Uint8Array[] = [];
  const sentByFar: Uint8Array[] = [];
  return {
    near: end(protocol, forth, back, (frame) => sentByNear.push(frame.slice())),
    far: end(protocol, back, forth, (frame) => sentByFar.push(frame.slice())),
    sentByNear,
    sentByFar,
  };
}
