// Sessions of HTTP/2 between neighbours, on mutual TLS with the nodes' own authorities: what carries calls through routers, and to a node
// that cannot be dialled (design, section 7). Called by tunnel-through-nodes.ts. A neighbour is known by what its link said of it; who has
// no admitted link gets nothing. Only the HTTP/2 client opens streams, so that each direction has a session of its own; who cannot be dialled
// is asked over the link to dial back, and then serves on the connection that it has made.

import {
  type ClientHttp2Session,
  type Http2Session,
  type Http2Stream,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Stream,
} from 'node:http2';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import type { VerifyChain } from '../pki/identity.ts';
import { raceAddresses } from './address-race.ts';
import { TunnelPeerError, TunnelUnreachableError } from './errors.ts';
import {
  nodeBackAfterMs,
  nodeBackMs,
  nodeSessionsPerPeerMax,
  offerAddressesMax,
  tunnelIdleMs,
  tunnelResetBurst,
  tunnelResetsPerSecond,
} from './limits.ts';
import type { Mesh, PeerId } from './mesh.ts';
import type { TunnelOffer, WorkloadCredential } from './service-network.ts';
import { backProtocol, createNodeContext, peerChain } from './tunnel-credentials.ts';
import { connectSecure, splitAddress, startClient, waitFor } from './tunnel-handshake.ts';
import { type Liveness, sessionOptions, watchLiveness } from './tunnel-http2.ts';
import { resetStream } from './tunnel-relay.ts';
import { windowsFor } from './tunnel-windows.ts';

/** SNI of a connection between nodes; no microservice has it. */
export const nodeServerName = 'node.selvedge';
const askBackProtocol = '/selvedge/tunnel-back/1';

export interface NodeSessionsOptions {
  clock: Clock;
  mesh: Pick<Mesh, 'open' | 'handle'>;
  verifyChain: VerifyChain;
  isPeerAdmitted: (peerId: PeerId) => boolean;
  /** What the way to the neighbour costs, in microseconds; undefined where nothing is known. */
  costOf: (peerId: PeerId) => number | undefined;
  /** Key and chain of this node's own authority, as they are now. */
  credential: () => WorkloadCredential;
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, from: PeerId): void;
}

export interface NodeSessions {
  context(): SecureContext;
  /** What its link said of the neighbour; undefined when the link is gone, and all that it carried with it. */
  setOffer(peerId: PeerId, offer: TunnelOffer | undefined): void;
  /** Rejects with why the neighbour is not reached, or the signal's reason. */
  open(peerId: PeerId, headers: Record<string, string>, signal: AbortSignal): Promise<Http2Stream>;
  /** A connection that came in for `nodeServerName`, its handshake done. */
  accept(socket: TLSSocket): void;
  /** Streams to or from that neighbour are open. */
  carries(peerId: PeerId): boolean;
  /** Neighbours may ask this node to dial back. */
  serve(): void;
  sweep(): void;
  close(): void;
}

interface Held {
  http2: Http2Session;
  peerId: PeerId;
  liveness: Liveness;
  streams: Set<Http2Stream>;
  idleSince: number;
}

export function createNodeSessions(options: NodeSessionsOptions): NodeSessions {
  const { clock, mesh, verifyChain, isPeerAdmitted, costOf, onStream } = options;
  const offers = new Map<PeerId, TunnelOffer>();
  const held = new Set<Held>();
  /** Those that this node opens streams on. */
  const usable = new Map<PeerId, Held & { http2: ClientHttp2Session }>();
  const connecting = new Map<PeerId, Promise<Held & { http2: ClientHttp2Session }>>();
  /** Neighbours that were asked to dial back. */
  const awaited = new Map<PeerId, (socket: TLSSocket) => void>();
  let loaded: { chainPem: string; context: SecureContext } | undefined;
  let stopped = new AbortController();

  function context(): SecureContext {
    const credential = options.credential();
    if (loaded?.chainPem !== credential.chainPem)
      loaded = { chainPem: credential.chainPem, context: createNodeContext(credential) };
    return loaded.context;
  }

  /** The linked neighbour that has proved to be at the other end; throws TunnelPeerError. */
  function prove(socket: TLSSocket): PeerId {
    const identity = verifyChain(peerChain(socket));
    const { peerId } = identity;
    const isKnown = offers.get(peerId)?.authorityKeySha256 === identity.authorityKeySha256;
    if (identity.kind !== 'node' || !isKnown || !isPeerAdmitted(peerId))
      throw new TunnelPeerError('what answered is no node that this one is linked to');
    return peerId;
  }

  function hold<Session extends Http2Session>(http2: Session, socket: TLSSocket, peerId: PeerId) {
    const streams = new Set<Http2Stream>();
    const liveness = watchLiveness(http2, socket);
    const entry = { http2, peerId, liveness, streams, idleSince: clock.now() };
    held.add(entry);
    http2.on('error', () => undefined);
    http2.once('close', () => {
      held.delete(entry);
      socket.destroy();
    });
    return entry;
  }

  function follow(entry: Held, stream: Http2Stream): void {
    entry.streams.add(stream);
    stream.on('error', () => undefined);
    stream.once('close', () => {
      entry.streams.delete(stream);
      entry.idleSince = clock.now();
    });
  }

  /** Streams that the neighbour opens. */
  function serveOn(socket: TLSSocket, peerId: PeerId): void {
    const own = [...held].filter((one) => one.peerId === peerId);
    // The oldest is one that the neighbour may have forgotten.
    if (own.length >= nodeSessionsPerPeerMax && own[0] !== undefined) end(own[0]);
    const windows = windowsFor(costOf(peerId));
    const http2 = performServerHandshake(socket, {
      ...sessionOptions(windows),
      streamResetBurst: tunnelResetBurst,
      streamResetRate: tunnelResetsPerSecond,
    });
    http2.setLocalWindowSize(windows.sessionBytes);
    const entry = hold(http2, socket, peerId);
    http2.on('stream', (stream, headers) => {
      follow(entry, stream);
      onStream(stream, headers, peerId);
    });
  }

  const dial =
    (peerId: PeerId, signal: AbortSignal, protocols: string[]) =>
    async (address: string, cancelled: AbortSignal): Promise<TLSSocket> => {
      const request = { servername: nodeServerName, context: context(), protocols };
      const socket = await connectSecure(clock, splitAddress(address), request, AbortSignal.any([signal, cancelled]));
      try {
        if (prove(socket) === peerId) return socket;
        throw new TunnelPeerError(`what answered is not ${peerId}`);
      } catch (error) {
        socket.destroy();
        throw error;
      }
    };

  const addressesOf = (peerId: PeerId) => (offers.get(peerId)?.addresses ?? []).slice(0, offerAddressesMax);

  /** A connection that the neighbour makes because it was asked to. */
  async function askBack(peerId: PeerId, signal: AbortSignal): Promise<TLSSocket> {
    const stream = await mesh.open(peerId, askBackProtocol, signal);
    try {
      const came = waitFor<TLSSocket>(clock, nodeBackMs, signal, (resolve, reject) => {
        awaited.set(peerId, resolve);
        stream.receive(signal).then((frame) => {
          if (frame !== undefined) reject(new TunnelUnreachableError(`${peerId} cannot dial back`));
        }, reject);
      });
      return await came;
    } finally {
      awaited.delete(peerId);
      stream.abort(new Error('no longer needed'));
    }
  }

  async function connect(peerId: PeerId): Promise<Held & { http2: ClientHttp2Session }> {
    const { signal } = stopped;
    const back = { attempt: (limit: AbortSignal) => askBack(peerId, limit), afterMs: nodeBackAfterMs };
    const socket = await raceAddresses(clock, addressesOf(peerId), dial(peerId, signal, ['h2']), signal, back);
    const http2 = await startClient(clock, socket, nodeServerName, windowsFor(costOf(peerId)), signal);
    if (!offers.has(peerId)) {
      http2.destroy();
      throw new TunnelUnreachableError(`the link to ${peerId} is gone`);
    }
    const entry = hold(http2, socket, peerId);
    usable.set(peerId, entry);
    http2.once('close', () => {
      if (usable.get(peerId) === entry) usable.delete(peerId);
    });
    return entry;
  }

  /** One for all that wait for it. */
  function sessionTo(peerId: PeerId): Promise<Held & { http2: ClientHttp2Session }> {
    const there = usable.get(peerId);
    if (there !== undefined && !there.http2.closed && !there.http2.destroyed) return Promise.resolve(there);
    if (!offers.has(peerId)) return Promise.reject(new TunnelUnreachableError(`there is no link to ${peerId}`));
    const underWay = connecting.get(peerId);
    if (underWay !== undefined) return underWay;
    const made = connect(peerId).finally(() => connecting.delete(peerId));
    connecting.set(peerId, made);
    return made;
  }

  function end({ http2, streams }: Held): void {
    for (const stream of streams) resetStream(stream);
    http2.destroy();
  }

  return {
    context,
    setOffer(peerId, offer) {
      const before = offers.get(peerId);
      if (offer === undefined) offers.delete(peerId);
      else offers.set(peerId, offer);
      if (before === undefined || before.authorityKeySha256 === offer?.authorityKeySha256) return;
      for (const entry of [...held]) if (entry.peerId === peerId) end(entry);
    },
    async open(peerId, headers, signal) {
      const entry = await sessionTo(peerId);
      signal.throwIfAborted();
      const stream = entry.http2.request({ ':method': 'CONNECT', ...headers });
      follow(entry, stream);
      return stream;
    },
    accept(socket) {
      let peerId: PeerId;
      try {
        peerId = prove(socket);
      } catch {
        socket.destroy();
        return;
      }
      if (socket.alpnProtocol !== backProtocol) serveOn(socket, peerId);
      else if (awaited.has(peerId)) awaited.get(peerId)?.(socket);
      else socket.destroy();
    },
    carries: (peerId) => [...held].some((entry) => entry.peerId === peerId && entry.streams.size > 0),
    serve() {
      mesh.handle(askBackProtocol, 'admitted', async (stream, from) => {
        try {
          const { signal } = stopped;
          serveOn(await raceAddresses(clock, addressesOf(from), dial(from, signal, [backProtocol]), signal), from);
        } catch {
          await stream.send(Uint8Array.of(0));
        }
        // Whoever asked ends it when it has the connection.
        await stream.receive().catch(() => undefined);
      });
    },
    sweep() {
      const now = clock.now();
      for (const entry of [...held]) {
        const { streams, idleSince, liveness, peerId } = entry;
        const idle = streams.size === 0 && now - idleSince > tunnelIdleMs;
        if (idle || !liveness.check() || !isPeerAdmitted(peerId)) end(entry);
      }
    },
    close() {
      stopped.abort(new TunnelUnreachableError('the service network stops'));
      stopped = new AbortController();
      for (const entry of [...held]) end(entry);
      offers.clear();
    },
  };
}
