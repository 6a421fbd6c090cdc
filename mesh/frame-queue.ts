// Frames that have arrived and were not read yet, and the readers that wait for one. Called by stream-frames.ts and
// simulations/sim-mesh.ts. It bounds nothing by itself: its owner stops the sender when `bytes` grows.

export interface FrameQueue {
  /** Bytes that nobody has taken yet. */
  bytes(): number;
  push(frame: Uint8Array): void;
  /** No more will come: readers get what is left, then undefined. */
  end(): void;
  /** Drops what is left; readers, also later ones, get the error. The first end or failure counts. */
  fail(error: Error): void;
  /** The next frame, or undefined after the end. Rejects with the failure, or with the signal's reason. */
  take(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Neither ended nor failed. */
  isOpen(): boolean;
}

/** `taken` is called after each frame that a reader takes. */
export function createFrameQueue(taken: () => void): FrameQueue {
  let frames: Uint8Array[] = [];
  let waiting: PromiseWithResolvers<Uint8Array | undefined>[] = [];
  let bytes = 0;
  let ended = false;
  let failure: Error | undefined;

  function release(settle: (waiter: PromiseWithResolvers<Uint8Array | undefined>) => void): void {
    const released = waiting;
    waiting = [];
    for (const waiter of released) settle(waiter);
  }

  return {
    bytes: () => bytes,
    isOpen: () => !ended && failure === undefined,
    push(frame) {
      if (ended || failure !== undefined) return;
      const waiter = waiting.shift();
      if (waiter !== undefined) {
        waiter.resolve(frame);
        return;
      }
      frames.push(frame);
      bytes += frame.length;
    },
    end() {
      if (ended || failure !== undefined) return;
      ended = true;
      release((waiter) => waiter.resolve(undefined));
    },
    fail(error) {
      // What arrived whole before a clean end stays readable.
      if (failure !== undefined || ended) return;
      failure = error;
      frames = [];
      bytes = 0;
      release((waiter) => waiter.reject(error));
    },
    take(signal) {
      if (signal?.aborted === true) return Promise.reject(signal.reason);
      const frame = frames.shift();
      if (frame !== undefined) {
        bytes -= frame.length;
        taken();
        return Promise.resolve(frame);
      }
      if (failure !== undefined) return Promise.reject(failure);
      if (ended) return Promise.resolve(undefined);
      const waiter = Promise.withResolvers<Uint8Array | undefined>();
      waiting.push(waiter);
      if (signal !== undefined) {
        const abort = () => {
          waiting = waiting.filter((other) => other !== waiter);
          waiter.reject(signal.reason);
        };
        signal.addEventListener('abort', abort, { once: true });
        const forget = () => signal.removeEventListener('abort', abort);
        waiter.promise.then(forget, forget);
      }
      return waiter.promise;
    },
  };
}
