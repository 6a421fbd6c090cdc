// The two kinds of ends that a UDP flow has: a stream of the tunnel, on which datagrams are capsules, and a UDP socket that knows one
// address alone. Called by datagram-calls.ts and datagram-server.ts. Nothing is queued beyond a bound: what does not fit is dropped, as
// a network would.

import { createSocket, type Socket } from 'node:dgram';
import { constants, type Http2Stream } from 'node:http2';
import { isIPv6 } from 'node:net';
import { createCapsuleDecoder, encodeDatagram } from './datagram-capsules.ts';
import { CapsuleError } from './errors.ts';
import {
  datagramReceiveBytes,
  datagramUnsentBytesMax,
  datagramUnsentBytesMin,
  datagramUnsentInAllBytesMax,
} from './limits.ts';
import { resetStream } from './tunnel-relay.ts';

export interface DatagramEnd {
  /** False when it was dropped: what came before it is not on its way yet, or the end is closed. */
  send(payload: Uint8Array): boolean;
  /** In order. Idempotent. */
  close(): void;
  /** Tells its far side that it broke. Idempotent. */
  reset(): void;
}

export interface DatagramEvents {
  onDatagram(payload: Uint8Array): void;
  /** Once, also after `close` and `reset`. Why, unless it ended in order. */
  onClosed(broken: string | undefined): void;
}

/** What all streams of one node hold together for slow ways. */
export interface UnsentBytes {
  /** False when there is no room. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export function createUnsentBytes(bytesMax = datagramUnsentInAllBytesMax): UnsentBytes {
  let taken = 0;
  return {
    take(bytes) {
      if (taken + bytes > bytesMax) return false;
      taken += bytes;
      return true;
    },
    give(bytes) {
      taken -= bytes;
    },
  };
}

/** Bound or connected by whoever made it. */
export function createDatagramSocket(family: 4 | 6): Socket {
  return createSocket({ type: family === 6 ? 'udp6' : 'udp4', recvBufferSize: datagramReceiveBytes });
}

/** The stream is answered; what comes on it is read from now on. */
export function streamDatagrams(stream: Http2Stream, unsent: UnsentBytes, events: DatagramEvents): DatagramEnd {
  const decoder = createCapsuleDecoder();
  let broken: string | undefined;
  let closed = false;
  let unsentBytes = 0;

  function decode(read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof CapsuleError)) throw error;
      broken = error.message;
      resetStream(stream, constants.NGHTTP2_PROTOCOL_ERROR);
    }
  }

  function onClose(): void {
    if (closed) return;
    closed = true;
    unsent.give(unsentBytes);
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) broken ??= 'the other node broke it off';
    events.onClosed(broken);
  }

  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => {
    if (broken !== undefined) return;
    decode(() => {
      for (const payload of decoder.push(chunk)) events.onDatagram(payload);
    });
  });
  stream.on('end', () => {
    // A reset stream ends its readable side like a complete one: only the code tells them apart.
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    decode(() => decoder.end());
    if (broken === undefined) stream.end();
  });
  stream.once('close', onClose);
  if (stream.destroyed) queueMicrotask(onClose);

  return {
    send(payload) {
      if (stream.destroyed || stream.closed || stream.writableEnded) return false;
      const capsule = encodeDatagram(payload);
      const costBytes = Math.max(capsule.length, datagramUnsentBytesMin);
      if (unsentBytes + costBytes > datagramUnsentBytesMax || !unsent.take(costBytes)) return false;
      unsentBytes += costBytes;
      stream.write(capsule, () => {
        if (closed) return;
        unsentBytes -= costBytes;
        unsent.give(costBytes);
      });
      return true;
    },
    close() {
      if (!stream.destroyed && !stream.writableEnded) stream.end();
    },
    reset: () => resetStream(stream),
  };
}

/**
 * A socket of its own for one flow to a port of this box: it takes datagrams from there alone. Rejects with the system's error. That
 * nobody listens there is known only once something was sent, and then breaks it.
 */
export async function connectDatagrams(host: string, port: number, events: DatagramEvents): Promise<DatagramEnd> {
  const socket = createDatagramSocket(isIPv6(host) ? 6 : 4);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let closed = false;

  function close(broken?: string): void {
    if (closed) return;
    closed = true;
    socket.close(() => events.onClosed(broken));
  }

  function failed(error: NodeJS.ErrnoException): void {
    // Too long for the way, or no memory for it: as if it had been lost on a network.
    if (['EMSGSIZE', 'ENOBUFS', 'EAGAIN', 'ENOMEM'].includes(error.code ?? '')) return;
    close(error.code === 'ECONNREFUSED' ? 'the instance does not take datagrams' : error.message);
  }

  socket.once('error', reject);
  // Called with the error when there is no way there: to send on such a socket throws.
  socket.connect(port, host, (error?: Error) => (error === undefined ? resolve() : reject(error)));
  try {
    await promise;
  } catch (error) {
    closed = true;
    socket.close();
    throw error;
  }
  socket.removeListener('error', reject);
  socket.on('error', failed);
  socket.on('message', (payload) => {
    if (!closed) events.onDatagram(payload);
  });
  return {
    send: (payload) => !closed && sendFrom(socket, payload, failed),
    close: () => close(),
    reset: () => close(),
  };
}

/**
 * False when the socket has too much to send already. Without an address it must be connected. Who sends from port 0 wants no answer (RFC 768),
 * and gets none.
 */
export function sendFrom(
  socket: Socket,
  payload: Uint8Array,
  onError: (error: NodeJS.ErrnoException) => void,
  to?: { port: number; address: string },
): boolean {
  if (to?.port === 0) return true;
  const waitingBytes = Math.max(socket.getSendQueueSize(), socket.getSendQueueCount() * datagramUnsentBytesMin);
  if (waitingBytes + payload.length > datagramUnsentBytesMax) return false;
  const done = (error: Error | null) => {
    if (error !== null) onError(error);
  };
  if (to === undefined) socket.send(payload, done);
  else socket.send(payload, to.port, to.address, done);
  return true;
}
