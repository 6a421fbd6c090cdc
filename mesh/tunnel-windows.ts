// How much of a session may be on its way: what fills the path and no more, by what the way costs (design, section 7). Pure; asked by both
// sides of the tunnel before a session begins. Later nothing may change: nghttp2 stalls or resets streams that carry bytes meanwhile.

import {
  tunnelSessionWindowBytes,
  tunnelStreamsPerSessionMax,
  tunnelStreamWindowBytes,
  tunnelStreamWindowBytesMax,
  tunnelWindowBytesPerMicrosecond,
  tunnelWindowsBytesMax,
} from './limits.ts';

export interface Windows {
  streamBytes: number;
  sessionBytes: number;
  /** All readers of a session that stall together hold no more than `tunnelWindowsBytesMax`. */
  streamsMax: number;
}

/** By powers of two. A way that is not measured is taken for a short one. */
export function windowsFor(costMicroseconds = 0): Windows {
  const wanted = Math.min(costMicroseconds * tunnelWindowBytesPerMicrosecond, tunnelStreamWindowBytesMax);
  let streamBytes = tunnelStreamWindowBytes;
  while (streamBytes < wanted) streamBytes *= 2;
  return {
    streamBytes,
    sessionBytes: Math.max(tunnelSessionWindowBytes, 2 * streamBytes),
    streamsMax: Math.min(tunnelStreamsPerSessionMax, tunnelWindowsBytesMax / streamBytes),
  };
}
