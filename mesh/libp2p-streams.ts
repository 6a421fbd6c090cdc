// The streams of one node: served to whom they may be, opened, and ended when a peer is expelled or gone. Called by
// libp2p-mesh.ts. Admission is asked for, never decided here.

import type { Clock } from '../node-runtime/clock.ts';
import { NotConnectedError, ProtocolRefusedError } from './errors.ts';
import type { Connection, Stream } from './libp2p-node.ts';
import {
  frameBytesMax,
  openTimeoutMs,
  streamLingerMs,
  streamsPerProtocolMax,
  unadmittedFrameBytesMax,
} from './limits.ts';
import type { Audience, PeerId, StreamHandler } from './mesh.ts';
import { createLinkStream, type LinkStream } from './stream-frames.ts';

export interface StreamsOptions {
  clock: Clock;
  /** The connection that a stream to the peer is opened on. */
  connectionTo(peerId: PeerId): Connection | undefined;
  mayOpen(peerId: PeerId, audience: Audience): boolean;
  onHandlerFailed(fields: { peerId: PeerId; protocol: string; error: unknown }): void;
}

export interface Streams {
  serve(stream: Stream, peerId: PeerId, audience: Audience, handler: StreamHandler): Promise<void>;
  open(peerId: PeerId, protocol: string, signal: AbortSignal): Promise<LinkStream>;
  /** Resets the peer's streams; with `kept`, those of that audience stay. */
  reset(peerId: PeerId, reason: Error, kept?: Audience): void;
  resetAll(reason: Error): void;
}

export function createStreams({ clock, connectionTo, mayOpen, onHandlerFailed }: StreamsOptions): Streams {
  const streams = new Map<PeerId, Set<{ stream: LinkStream; audience: Audience }>>();

  function track(peerId: PeerId, stream: LinkStream, audience: Audience): void {
    const entry = { stream, audience };
    const ofPeer = streams.get(peerId) ?? new Set();
    streams.set(peerId, ofPeer.add(entry));
    void stream.finished.then(() => {
      ofPeer.delete(entry);
      if (ofPeer.size === 0 && streams.get(peerId) === ofPeer) streams.delete(peerId);
    });
  }

  async function openNow(peerId: PeerId, protocol: string, signal: AbortSignal): Promise<LinkStream> {
    const connection = connectionTo(peerId);
    if (connection === undefined) throw new NotConnectedError(`there is no connection to ${peerId}`);
    const gone = (cause?: unknown) => new NotConnectedError(`the connection to ${peerId} is gone`, { cause });
    let stream: Stream;
    try {
      stream = await connection.newStream(protocol, { signal, maxOutboundStreams: streamsPerProtocolMax });
    } catch (cause) {
      signal.throwIfAborted();
      if (connectionTo(peerId) === undefined) throw gone(cause);
      throw new ProtocolRefusedError(`${peerId} does not serve ${protocol} to this node`, { cause });
    }
    const opened = createLinkStream(stream, 'opening');
    const abort = () => opened.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    try {
      await opened.accepted;
    } finally {
      signal.removeEventListener('abort', abort);
    }
    if (connectionTo(peerId) === undefined) {
      opened.abort(gone());
      throw gone();
    }
    track(peerId, opened, 'admitted');
    return opened;
  }

  return {
    async serve(stream, peerId, audience, handler) {
      if (!mayOpen(peerId, audience)) {
        stream.abort(new ProtocolRefusedError(`${stream.protocol} is not served to ${peerId}`));
        return;
      }
      const bytesMax = audience === 'anyone' ? unadmittedFrameBytesMax : frameBytesMax;
      const served = createLinkStream(stream, 'serving', bytesMax);
      track(peerId, served, audience);
      try {
        await handler(served, peerId);
        await served.close();
        const left = () => served.abort(new Error('the far end left the stream open'));
        const timer = clock.setTimeout(left, streamLingerMs);
        void served.finished.then(() => clock.clearTimeout(timer));
      } catch (error) {
        onHandlerFailed({ peerId, protocol: stream.protocol, error });
        served.abort(error instanceof Error ? error : new Error(String(error)));
      }
    },
    async open(peerId, protocol, signal) {
      const late = new AbortController();
      const message = `${peerId} did not answer for ${protocol} within ${openTimeoutMs} ms`;
      const timer = clock.setTimeout(() => late.abort(new ProtocolRefusedError(message)), openTimeoutMs);
      try {
        return await openNow(peerId, protocol, AbortSignal.any([late.signal, signal]));
      } finally {
        clock.clearTimeout(timer);
      }
    },
    reset(peerId, reason, kept) {
      for (const { stream, audience } of [...(streams.get(peerId) ?? [])]) {
        if (audience !== kept) stream.abort(reason);
      }
    },
    resetAll(reason) {
      for (const { stream } of [...streams.values()].flatMap((ofPeer) => [...ofPeer])) stream.abort(reason);
    },
  };
}
