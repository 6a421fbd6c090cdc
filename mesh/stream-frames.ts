// Frames on one libp2p stream: length-prefixed, with back-pressure both ways, and an accepting byte in front so that the
// opener knows whether it is served. Called by libp2p-mesh.ts. It decides nothing about who may open what.

import { FrameTooLargeError, ProtocolRefusedError, StreamResetError } from './errors.ts';
import { createFrameDecoder, encodeFrame } from './frame-codec.ts';
import { createFrameQueue } from './frame-queue.ts';
import type { Stream } from './libp2p-node.ts';
import { frameBytesMax, unreadBytesMax, unsentBufferBytesMax, unsentBytesMax } from './limits.ts';
import type { FrameStream } from './mesh.ts';

/** What the serving side sends first. A stream that is refused is reset before it. */
const ACCEPTED = Uint8Array.of(1);

export interface LinkStream extends FrameStream {
  /** Resolves once the far end serves the stream (at once on the serving side); rejects when it refused. */
  readonly accepted: Promise<void>;
  /** Resolves when both sides are closed, or it was reset. */
  readonly finished: Promise<void>;
}

/** `side`: who opened it. `receiveBytesMax`: the largest frame that is taken. */
export function createLinkStream(
  stream: Stream,
  side: 'serving' | 'opening',
  receiveBytesMax: number = frameBytesMax,
): LinkStream {
  const decoder = createFrameDecoder(receiveBytesMax);
  const accepted = Promise.withResolvers<void>();
  const finished = Promise.withResolvers<void>();
  // Nobody needs to wait for it: a reader or writer gets the same error.
  accepted.promise.catch(() => {});
  const arrived = createFrameQueue(() => {
    if (arrived.bytes() < unreadBytesMax) resume();
  });
  let awaitsAccept = side === 'opening';
  let failure: Error | undefined;
  let closing: Promise<void> | undefined;
  let paused = false;
  let gone = false;
  let unsentBytes = 0;
  let lastSend: Promise<void> = Promise.resolve();

  function fail(error: Error): void {
    if (failure !== undefined) return;
    failure = error;
    accepted.reject(error);
    arrived.fail(error);
  }

  function abort(error: Error): void {
    fail(error);
    stream.abort(error);
    finished.resolve();
  }

  function resume(): void {
    if (!paused) return;
    paused = false;
    try {
      stream.resume();
    } catch {
      // The stream has closed meanwhile; its event says so.
    }
  }

  function take(data: Uint8Array): void {
    let bytes = data;
    if (awaitsAccept && bytes.length > 0) {
      if (bytes[0] !== ACCEPTED[0])
        throw new ProtocolRefusedError(`the peer does not speak ${stream.protocol} as we do`);
      awaitsAccept = false;
      accepted.resolve();
      bytes = bytes.subarray(1);
    }
    for (const frame of decoder.push(bytes)) arrived.push(frame);
    if (arrived.bytes() >= unreadBytesMax && !paused && stream.readStatus === 'readable') {
      paused = true;
      stream.pause();
    }
  }

  /** The far end has closed and everything it sent is here. */
  function endWhenRead(): void {
    if (!arrived.isOpen() || stream.readBufferLength > 0) return;
    if (awaitsAccept) fail(new ProtocolRefusedError(`the peer does not serve ${stream.protocol} to this node`));
    else if (decoder.pendingBytes() > 0) fail(new StreamResetError('the stream ended within a frame'));
    else arrived.end();
  }

  /** Something of what we sent has moved on, or never will. */
  let moved = Promise.withResolvers<void>();
  function onMoved(): void {
    moved.resolve();
    moved = Promise.withResolvers();
  }
  stream.addEventListener('drain', onMoved);
  stream.addEventListener('idle', onMoved);

  let farEndClosed = stream.remoteWriteStatus === 'closed';
  stream.addEventListener('message', (event) => {
    if (failure !== undefined) return;
    try {
      take(event.data instanceof Uint8Array ? event.data : event.data.subarray());
    } catch (error) {
      abort(error as Error);
      return;
    }
    if (farEndClosed) endWhenRead();
  });
  stream.addEventListener('remoteCloseWrite', () => {
    farEndClosed = true;
    endWhenRead();
  });
  // Without the far end's own close before it, even a quiet `close` means that frames may be missing.
  stream.addEventListener('close', (event) => {
    if (awaitsAccept) {
      fail(new ProtocolRefusedError(`the peer does not serve ${stream.protocol} to this node`));
    } else if (!farEndClosed || event.error !== undefined) {
      fail(new StreamResetError('the stream was reset', { cause: event.error }));
    }
    gone = true;
    finished.resolve();
    onMoved();
  });

  if (side === 'serving') {
    stream.send(ACCEPTED);
    accepted.resolve();
  }
  if (farEndClosed) endWhenRead();

  async function write(frame: Uint8Array): Promise<void> {
    if (failure !== undefined) throw failure;
    try {
      // One piece: two would be sealed and sent one by one. The copy also lets the caller use its buffer again.
      stream.send(encodeFrame(frame));
      // A drained socket is no sign that this stream's window has room: only its own buffer tells.
      while (stream.writeBufferLength > unsentBufferBytesMax) {
        await moved.promise;
        if (failure !== undefined || gone) throw failure ?? new Error('the stream has closed');
      }
    } catch (cause) {
      throw failure ?? new StreamResetError('the stream is closed', { cause });
    }
  }

  return {
    protocol: stream.protocol,
    accepted: accepted.promise,
    finished: finished.promise,
    async send(frame) {
      if (frame.length > frameBytesMax) {
        throw new FrameTooLargeError(`a frame of ${frame.length} bytes; ${frameBytesMax} are allowed`);
      }
      if (failure !== undefined) throw failure;
      if (closing !== undefined) throw new StreamResetError('this side of the stream is closed');
      if (unsentBytes + frame.length > unsentBytesMax) {
        throw new FrameTooLargeError(`more than ${unsentBytesMax} bytes wait to be sent: wait for send`);
      }
      unsentBytes += frame.length;
      const sent = lastSend.then(() => write(frame));
      lastSend = sent.catch(() => {});
      try {
        await sent;
      } finally {
        unsentBytes -= frame.length;
      }
    },
    receive: (signal) => arrived.take(signal),
    close() {
      closing ??= lastSend
        .then(() => stream.close())
        .catch(() => {
          // Reset or lost meanwhile: closed all the same.
        });
      return closing;
    },
    abort(reason) {
      if (failure === undefined) abort(reason);
    },
  };
}
