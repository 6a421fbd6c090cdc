// Carries bytes both ways between a local socket and a tunnel stream (or a second socket): end as end, reset as reset, and a slow
// reader slows the writer down. Called for each accepted call, on either side; it decides nothing.

import { constants, type Http2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pump } from './tunnel-pump.ts';

export interface RelayEnd {
  readonly duplex: Duplex;
  /** Whoever reads what is written to it, in this process, keeps it. */
  readonly keeps?: true;
  /** Its far side has reset it: what was read is not all there was. */
  wasReset(): boolean;
  /** Tells its far side that the connection broke. Idempotent. */
  reset(): void;
  /** Frees it at once, whatever is still to be sent. Idempotent. */
  destroy(): void;
}

export interface Relay {
  /** Resets both ends. Idempotent. */
  reset(): void;
  /** Frees both ends at once: for the stop of the node, after `reset`. */
  destroy(): void;
}

export function socketEnd(socket: Socket): RelayEnd {
  return {
    duplex: socket,
    wasReset: () => socket.errored !== null,
    reset: () => resetSocket(socket),
    destroy: () => socket.destroy(),
  };
}

/** A connection that carries a session: however it ends, the session on it has ended, and says itself whether that was well. */
export function secureEnd(socket: Duplex): RelayEnd {
  return {
    duplex: socket,
    wasReset: () => socket.errored !== null,
    reset: () => socket.destroy(),
    destroy: () => socket.destroy(),
  };
}

/** Ends a socket with a TCP reset. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  // While an end is on its way libuv refuses a reset (EINVAL), and Node would lose the descriptor: the end goes first.
  if (socket.writableEnded && !socket.writableFinished) socket.destroySoon();
  else socket.resetAndDestroy();
}

/** An error of the TCP connection is a stream error of type CONNECT_ERROR, and the other way round a TCP reset (RFC 9113, section 8.5). */
export function streamEnd(stream: Http2Stream): RelayEnd {
  return {
    duplex: stream,
    wasReset: () => stream.rstCode !== constants.NGHTTP2_NO_ERROR || stream.errored !== null,
    reset: () => resetStream(stream),
    destroy: () => resetStream(stream),
  };
}

/**
 * Ends a stream with RST_STREAM alone. `close` of node:http2 ends the writable side first, which puts END_STREAM before the reset, and
 * the far side would take half an answer for a whole one; `_final` is what sends it.
 */
export function resetStream(stream: Http2Stream, code: number = constants.NGHTTP2_CONNECT_ERROR): void {
  if (stream.closed || stream.destroyed) return;
  stream._final = (done) => done();
  stream.close(code);
}

/** Starts carrying; `onClosed` is called once, when both ends are closed. */
export function relay(one: RelayEnd, other: RelayEnd, onClosed: () => void): Relay {
  let open = 2;
  const reset = () => {
    one.reset();
    other.reset();
  };
  const closed = () => {
    open -= 1;
    if (open === 0) onClosed();
  };
  carry(one, other, reset, closed);
  carry(other, one, reset, closed);
  return {
    reset,
    destroy() {
      one.destroy();
      other.destroy();
    },
  };
}

function carry(from: RelayEnd, to: RelayEnd, reset: () => void, closed: () => void): void {
  const { duplex } = from;
  duplex.on('error', reset);
  // A reset stream ends its readable side like a complete one (node:http2 pushes null): only the code tells them apart.
  duplex.on('end', () => (from.wasReset() ? reset() : to.duplex.end()));
  duplex.on('close', () => {
    if (from.wasReset() || !duplex.readableEnded || !duplex.writableFinished) reset();
    closed();
  });
  if (duplex.closed) {
    reset();
    closed();
    return;
  }
  pump(duplex, to.duplex, { keeps: to.keeps === true });
}
