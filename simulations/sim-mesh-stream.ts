// One simulated stream: two ends whose frames reach each other after a delay, in order, with a window like the real one's.
// Made by sim-mesh.ts. An end that is cut off stays silent until it is told that the link is gone.

import { FrameTooLargeError, StreamResetError } from '../mesh/errors.ts';
import { createFrameQueue } from '../mesh/frame-queue.ts';
import { frameBytesMax, unreadBytesMax } from '../mesh/limits.ts';
import type { FrameStream } from '../mesh/mesh.ts';
import type { Clock } from '../node-runtime/clock.ts';

export interface SimStream extends FrameStream {
  /** The link is gone: this end fails, the other one is not told. */
  fail(error: Error): void;
  /** Resolves when this end has failed, or both sides are closed. */
  readonly finished: Promise<void>;
}

export interface SimStreamOptions {
  protocol: string;
  clock: Clock;
  delayMs(): number;
  /** Whether anything gets through now. */
  passes(): boolean;
  /** The largest frame that each end takes. */
  frameBytesMax: { toFar: number; toNear: number };
  onFrame(toFar: boolean, frame: Uint8Array): void;
}

interface End {
  stream: SimStream;
  /** What the other end's deliveries call, in order. */
  arrive(frame: Uint8Array): void;
  arriveEnd(): void;
  arriveReset(): void;
  /** The other end has read so many bytes that were in flight. */
  credit(bytes: number): void;
}

export function createSimStreamPair(options: SimStreamOptions): { near: SimStream; far: SimStream } {
  const near: End = createEnd(options, true, () => far);
  const far: End = createEnd(options, false, () => near);
  return { near: near.stream, far: far.stream };
}

function createEnd(options: SimStreamOptions, isNear: boolean, other: () => End): End {
  const { clock, protocol } = options;
  const takesBytesMax = isNear ? options.frameBytesMax.toNear : options.frameBytesMax.toFar;
  const finished = Promise.withResolvers<void>();
  const unread: number[] = [];
  const arrived = createFrameQueue(() => giveBack());
  let failure: Error | undefined;
  let closed = false;
  let farClosed = false;
  let inFlightBytes = 0;
  let waiting: PromiseWithResolvers<void>[] = [];
  let lastDeliveryAt = 0;

  /** Later than everything sent before: order is kept whatever the delays are. */
  function deliver(run: () => void): void {
    const now = clock.now();
    lastDeliveryAt = Math.max(lastDeliveryAt, now + options.delayMs());
    clock.setTimeout(() => {
      if (options.passes()) run();
    }, lastDeliveryAt - now);
  }

  /** A frame was read: the sender may send as much again. */
  function giveBack(): void {
    const bytes = unread.shift() ?? 0;
    deliver(() => other().credit(bytes));
  }

  function release(settle: (waiter: PromiseWithResolvers<void>) => void): void {
    const released = waiting;
    waiting = [];
    for (const waiter of released) settle(waiter);
  }

  function fail(error: Error): void {
    if (failure !== undefined) return;
    failure = error;
    unread.length = 0;
    arrived.fail(error);
    release((waiter) => waiter.reject(error));
    finished.resolve();
  }

  function abort(reason: Error): void {
    if (failure !== undefined) return;
    const over = closed && farClosed;
    fail(reason);
    if (!over) deliver(() => other().arriveReset());
  }

  function checkFinished(): void {
    if (closed && farClosed) finished.resolve();
  }

  return {
    arrive(frame) {
      if (failure !== undefined) return;
      options.onFrame(!isNear, frame);
      if (frame.length > takesBytesMax) {
        abort(new FrameTooLargeError(`a frame of ${frame.length} bytes; ${takesBytesMax} are allowed`));
        return;
      }
      const before = arrived.bytes();
      arrived.push(frame);
      // A reader that was waiting has it already.
      if (arrived.bytes() === before) deliver(() => other().credit(frame.length));
      else unread.push(frame.length);
    },
    arriveEnd() {
      farClosed = true;
      arrived.end();
      checkFinished();
    },
    arriveReset: () => fail(new StreamResetError('the stream was reset')),
    credit(bytes) {
      inFlightBytes -= bytes;
      if (inFlightBytes < unreadBytesMax) release((waiter) => waiter.resolve());
    },
    stream: {
      protocol,
      finished: finished.promise,
      fail,
      async send(frame) {
        if (frame.length > frameBytesMax) {
          throw new FrameTooLargeError(`a frame of ${frame.length} bytes; ${frameBytesMax} are allowed`);
        }
        if (failure !== undefined) throw failure;
        if (closed) throw new StreamResetError('this side of the stream is closed');
        const copy = frame.slice();
        inFlightBytes += copy.length;
        deliver(() => other().arrive(copy));
        if (inFlightBytes < unreadBytesMax) return;
        const waiter = Promise.withResolvers<void>();
        waiting.push(waiter);
        await waiter.promise;
      },
      receive: (signal) => arrived.take(signal),
      async close() {
        if (closed || failure !== undefined) return;
        closed = true;
        deliver(() => other().arriveEnd());
        checkFinished();
      },
      abort,
    },
  };
}
