// What both sides of the tunnel give node:http2, and the sign of life of a session. Called by tunnel-server.ts and tunnel-session.ts.

import type { Http2Session, SessionOptions } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  tunnelFrameBytes,
  tunnelHeaderBytesMax,
  tunnelHeaderPairsMax,
  tunnelHurryMs,
  tunnelPingAfterMs,
  tunnelSessionMemoryMb,
  tunnelSilenceMs,
  tunnelSweepMs,
} from './limits.ts';
import type { Windows } from './tunnel-windows.ts';

/** Names the called instance in a CONNECT; left out, any instance of the microservice on that node answers. */
export const instanceHeader = 'selvedge-instance';
/** Says in an answer other than 200 why. */
export const reasonHeader = 'selvedge-reason';

export const sessionOptions = ({ streamBytes, streamsMax }: Windows): SessionOptions => ({
  maxHeaderListPairs: tunnelHeaderPairsMax,
  maxSessionMemory: tunnelSessionMemoryMb,
  settings: {
    enablePush: false,
    // RFC 8441: the called side says so, for UDP.
    enableConnectProtocol: true,
    initialWindowSize: streamBytes,
    maxFrameSize: tunnelFrameBytes,
    maxConcurrentStreams: streamsMax,
    maxHeaderListSize: tunnelHeaderBytesMax,
    headerTableSize: 4_096,
  },
});

export interface Liveness {
  /**
   * Called every `tunnelSweepMs`. Asks for a sign of life after some silence; false once it has been silent for too long. Counts its
   * calls instead of looking at the clock, which may jump by years on a box that has none of its own.
   */
  check(): boolean;
  /** There is a reason to doubt: it has `tunnelHurryMs` to answer. */
  hurry(): void;
}

export function watchLiveness(session: Http2Session, socket: TLSSocket): Liveness {
  let silentMs = 0;
  let bytesRead = socket.bytesRead;
  let asked = false;

  function answered(error: Error | null): void {
    asked = false;
    if (error === null) silentMs = 0;
  }

  function ask(): void {
    if (asked || session.destroyed) return;
    asked = true;
    // A session that takes no more calls, as after a renewal, sends no pings (node:http2). Its other end acknowledges settings too
    // (RFC 9113, section 6.5), also when there is nothing in them.
    if (session.closed) session.settings({}, answered);
    else asked = session.ping(answered);
  }

  function listen(): void {
    // Behind a long queue the answer to a ping comes late, but what comes before it is a sign of life as well.
    if (socket.bytesRead !== bytesRead) silentMs = 0;
    bytesRead = socket.bytesRead;
  }

  return {
    check() {
      silentMs += tunnelSweepMs;
      listen();
      if (silentMs >= tunnelPingAfterMs) ask();
      return silentMs < tunnelSilenceMs;
    },
    hurry() {
      listen();
      silentMs = Math.max(silentMs, tunnelSilenceMs - tunnelHurryMs);
      ask();
    },
  };
}
