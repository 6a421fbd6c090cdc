// Calls through other nodes: the workloads' TLS inside a CONNECT on the session of two neighbours, from node to node (design, section 7).
// Made by tunnel-network.ts. A router on the way sees which peers talk and nothing of what they say; what ends on the way ends at both ends,
// and says where. It decides no route, and carries for linked neighbours alone.

import { constants, type Http2Stream, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Clock } from '../node-runtime/clock.ts';
import { RouteError } from './errors.ts';
import { createForwarding, type Wish, wishShape } from './forwarding.ts';
import { addressStaggerMs, tunnelOverLinkAfterMs } from './limits.ts';
import type { FindStep, Mesh, PeerId } from './mesh.ts';
import { createNodeSessions, type NodeSessions, type NodeSessionsOptions } from './node-sessions.ts';
import { relay, resetStream, streamEnd } from './tunnel-relay.ts';

/** In a CONNECT between nodes, beside the far end as `:authority`: who asks, and who has carried it so far. */
const fromHeader = 'selvedge-from';
const viaHeader = 'selvedge-via';
/** In its refusal: the node at which it ended, and why. */
const atHeader = 'selvedge-at';
const whyHeader = 'selvedge-reason';
const reasonCharactersMax = 256;

export interface TunnelThroughNodes extends Omit<NodeSessions, 'open'> {
  /** Rejects with RouteError, which says where it ended, or the signal's reason. */
  open(peerId: PeerId, signal: AbortSignal): Promise<Duplex>;
  afterMs(peerId: PeerId): number;
}

export interface TunnelThroughNodesOptions extends Omit<NodeSessionsOptions, 'onStream'> {
  clock: Clock;
  self: PeerId;
  mesh: Pick<Mesh, 'open' | 'handle'>;
  step: FindStep;
  /** One that is meant for this node. Of who it comes from nothing is proved yet. */
  onArrived(stream: Duplex): void;
}

function readWish(headers: IncomingHttpHeaders): Wish | undefined {
  const via = `${headers[viaHeader] ?? ''}`;
  const wish = { to: headers[':authority'], from: headers[fromHeader], via: via === '' ? [] : via.split(' ') };
  const parsed = wishShape.safeParse(wish);
  return headers[':method'] === 'CONNECT' && parsed.success ? parsed.data : undefined;
}

export function createTunnelThroughNodes(options: TunnelThroughNodesOptions): TunnelThroughNodes {
  const { clock, self, step, onArrived } = options;
  const forwarding = createForwarding({ clock, self, step: () => step });
  const nodes = createNodeSessions({ ...options, onStream });

  function answer(stream: Http2Stream, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => settle(() => reject(signal.reason));
      const settle = (finish: () => void) => {
        signal.removeEventListener('abort', onAbort);
        finish();
      };
      stream.once('response', (headers: IncomingHttpHeaders & { ':status'?: number }) => {
        const at = `${headers[atHeader] ?? 'its neighbour'}`;
        if (headers[':status'] === 200) settle(resolve);
        else
          settle(() =>
            reject(new RouteError(at, `${headers[whyHeader] ?? 'it said no'}`.slice(0, reasonCharactersMax))),
          );
      });
      stream.once('close', () => settle(() => reject(new Error('the neighbour ended it'))));
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  }

  /** The next piece of the way, answered by the far end. Rejects with RouteError. */
  async function extend(neighbour: PeerId, { to, from, via }: Wish, signal: AbortSignal): Promise<Http2Stream> {
    let stream: Http2Stream | undefined;
    const headers = { ':authority': to, [fromHeader]: from, [viaHeader]: via.join(' ') };
    try {
      stream = await nodes.open(neighbour, headers, signal);
      await answer(stream, signal);
      return stream;
    } catch (error) {
      if (stream !== undefined) resetStream(stream, constants.NGHTTP2_CANCEL);
      signal.throwIfAborted();
      throw error instanceof RouteError ? error : new RouteError(self, `${neighbour} was not reached`, error);
    }
  }

  const extendByAny = (nextHops: readonly PeerId[], wish: Wish, signal: AbortSignal): Promise<Http2Stream> =>
    forwarding.byAny(nextHops, signal, (neighbour) => extend(neighbour, wish, signal));

  function refuse(stream: ServerHttp2Stream, at: PeerId, reason: string): void {
    if (stream.closed || stream.destroyed) return;
    const why = reason.slice(0, reasonCharactersMax).replace(/[^ -~]/g, '?');
    stream.respond({ ':status': 502, [atHeader]: at, [whyHeader]: why }, { endStream: true });
    stream.close(constants.NGHTTP2_NO_ERROR);
  }

  async function carry(stream: ServerHttp2Stream, wish: Wish, sender: PeerId, nextHops: readonly PeerId[]) {
    const ended = forwarding.begin(sender);
    const gone = new AbortController();
    const onClose = () => gone.abort(new Error('who asked is gone'));
    stream.once('close', onClose);
    try {
      const onwards = { ...wish, via: [...wish.via, self] };
      const onward = await forwarding.inTime(gone.signal, (signal) => extendByAny(nextHops, onwards, signal));
      stream.off('close', onClose);
      if (stream.closed || stream.destroyed) throw new Error('who asked is gone');
      stream.respond({ ':status': 200 });
      relay(streamEnd(stream), streamEnd(onward), ended);
    } catch (error) {
      ended();
      const failure = error instanceof RouteError ? error : new RouteError(self, (error as Error).message);
      refuse(stream, failure.at, failure.reason);
    }
  }

  function onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, sender: PeerId): void {
    const wish = readWish(headers);
    // Each node vouches for the one before it: what is counted by its neighbour cannot be put on another's account.
    if (wish === undefined || (wish.via.at(-1) ?? wish.from) !== sender) {
      refuse(stream, self, 'it did not come the way that it says');
      return;
    }
    if (wish.to === self) {
      stream.respond({ ':status': 200 });
      onArrived(stream);
      return;
    }
    const decided = forwarding.decide(wish, sender);
    if ('reason' in decided) refuse(stream, self, decided.reason);
    else void carry(stream, wish, sender, decided.nextHops);
  }

  return {
    ...nodes,
    // Who is no neighbour is not likely to answer at its own addresses.
    afterMs: (to) => (forwarding.ways(to).includes(to) ? tunnelOverLinkAfterMs : addressStaggerMs),
    open: (to, signal) =>
      forwarding.inTime(signal, (limit) => extendByAny(forwarding.ways(to), { to, from: self, via: [] }, limit)),
  };
}
