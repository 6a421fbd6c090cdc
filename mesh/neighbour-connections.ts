// Connections between neighbours, on mutual TLS with the nodes' own authorities: each carries one session of the tunnel a piece of its way
// through other nodes (design, section 7). Called by tunnel-through-nodes.ts. A neighbour is known by what its link said of it; who has no
// admitted link gets nothing, and what a link has let in ends with it. Who cannot be dialled is asked over the link to dial back.

import type { SecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import type { VerifyChain } from '../pki/identity.ts';
import { raceAddresses } from './address-race.ts';
import { TunnelPeerError, TunnelUnreachableError } from './errors.ts';
import {
  backDialsMax,
  neighbourConnectionsMax,
  neighboursConnectionsMax,
  nodeBackAfterMs,
  nodeBackMs,
  offerAddressesMax,
} from './limits.ts';
import type { Mesh, PeerId } from './mesh.ts';
import type { TunnelOffer, WorkloadCredential } from './service-network.ts';
import { createNodeContext, nodeProtocols, nodeServerName, peerChain } from './tunnel-credentials.ts';
import { connectSecure, splitAddress, waitFor } from './tunnel-handshake.ts';

const askBackProtocol = '/selvedge/tunnel-back/1';

export interface NeighbourConnectionsOptions {
  clock: Clock;
  mesh: Pick<Mesh, 'open' | 'handle'>;
  verifyChain: VerifyChain;
  /** As a neighbour: by a link that goes through nobody. */
  isPeerAdmitted: (peerId: PeerId) => boolean;
  /** Key and chain of this node's own authority, as they are now. */
  credential: () => WorkloadCredential;
  /** One on which the neighbour asks. */
  onConnection(socket: TLSSocket, from: PeerId): void;
}

export interface NeighbourConnections {
  context(): SecureContext;
  /** What its link said of the neighbour; undefined when the link is gone, and all that it carried with it. */
  setOffer(peerId: PeerId, offer: TunnelOffer | undefined): void;
  /** A new one, on which this node asks. Rejects with why the neighbour is not reached, or the signal's reason. */
  open(peerId: PeerId, signal: AbortSignal): Promise<TLSSocket>;
  /** One that came in for `nodeServerName`, its handshake done. */
  accept(socket: TLSSocket): void;
  /** There are some with that neighbour, made by whichever of the two. */
  carries(peerId: PeerId): boolean;
  /** Neighbours may ask this node to dial back. */
  serve(): void;
  sweep(): void;
  close(): void;
}

/** How many one neighbour may have, by how many all have: whoever comes when others have taken all still gets a share. */
export function mostOfOne(heldOfAll: number, neighbours: number): number {
  return heldOfAll < neighboursConnectionsMax
    ? neighbourConnectionsMax
    : Math.min(neighbourConnectionsMax, Math.floor(neighboursConnectionsMax / neighbours));
}

export function createNeighbourConnections(options: NeighbourConnectionsOptions): NeighbourConnections {
  const { clock, mesh, verifyChain, isPeerAdmitted, onConnection } = options;
  const offers = new Map<PeerId, TunnelOffer>();
  /** Ends what is being opened to a neighbour when the link to it goes. */
  const links = new Map<PeerId, AbortController>();
  const held = new Map<PeerId, Set<TLSSocket>>();
  let heldOfAll = 0;
  /** Neighbours that were asked to dial back, and who waits for it; the first one first. */
  const awaited = new Map<PeerId, Set<(socket: TLSSocket) => void>>();
  /** Those of which the last connection was one that they made: they are asked at once. */
  const dialBack = new Set<PeerId>();
  /** Dials that neighbours have asked for and that are not over. */
  const backDials = new Map<PeerId, number>();
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

  /** False when there are too many with that neighbour. */
  function hold(socket: TLSSocket, peerId: PeerId): boolean {
    const ofPeer = held.get(peerId) ?? new Set();
    if (ofPeer.size >= mostOfOne(heldOfAll, new Set([...held.keys(), peerId]).size)) return false;
    held.set(peerId, ofPeer.add(socket));
    heldOfAll += 1;
    socket.on('error', () => undefined);
    socket.once('close', () => {
      heldOfAll -= 1;
      ofPeer.delete(socket);
      if (ofPeer.size === 0 && held.get(peerId) === ofPeer) held.delete(peerId);
    });
    return true;
  }

  function end(peerId: PeerId): void {
    for (const socket of [...(held.get(peerId) ?? [])]) socket.destroy();
  }

  /** The neighbour asks on it. */
  function take(socket: TLSSocket, peerId: PeerId): void {
    if (hold(socket, peerId)) onConnection(socket, peerId);
    else socket.destroy();
  }

  const dial =
    (peerId: PeerId, signal: AbortSignal, protocol: string) =>
    async (address: string, cancelled: AbortSignal): Promise<TLSSocket> => {
      const request = { servername: nodeServerName, context: context(), protocols: [protocol] };
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
    const waiting = awaited.get(peerId) ?? new Set();
    awaited.set(peerId, waiting);
    let came: ((socket: TLSSocket) => void) | undefined;
    try {
      return await waitFor<TLSSocket>(clock, nodeBackMs, signal, (resolve, reject) => {
        came = resolve;
        waiting.add(resolve);
        stream.receive(signal).then((frame) => {
          if (frame !== undefined) reject(new TunnelUnreachableError(`${peerId} cannot dial back`));
        }, reject);
      });
    } finally {
      if (came !== undefined) waiting.delete(came);
      if (waiting.size === 0 && awaited.get(peerId) === waiting) awaited.delete(peerId);
      stream.abort(new Error('no longer needed'));
    }
  }

  return {
    context,
    setOffer(peerId, offer) {
      const before = offers.get(peerId);
      if (offer === undefined) {
        offers.delete(peerId);
        links.get(peerId)?.abort(new TunnelUnreachableError(`the link to ${peerId} is gone`));
        links.delete(peerId);
      } else {
        offers.set(peerId, offer);
        if (!links.has(peerId)) links.set(peerId, new AbortController());
      }
      if (before?.addresses.join() !== offer?.addresses.join()) dialBack.delete(peerId);
      if (before !== undefined && before.authorityKeySha256 !== offer?.authorityKeySha256) end(peerId);
    },
    async open(peerId, outer) {
      const link = links.get(peerId);
      if (link === undefined) throw new TunnelUnreachableError(`there is no link to ${peerId}`);
      const signal = AbortSignal.any([outer, stopped.signal, link.signal]);
      let isBack = false;
      const back = {
        async attempt(limit: AbortSignal) {
          const socket = await askBack(peerId, limit);
          isBack = true;
          return socket;
        },
        afterMs: dialBack.has(peerId) ? 0 : nodeBackAfterMs,
      };
      const dialled = dial(peerId, signal, nodeProtocols.asks);
      const socket = await raceAddresses(clock, addressesOf(peerId), dialled, signal, back);
      // The link may be gone meanwhile.
      if (signal.aborted || !hold(socket, peerId)) {
        socket.destroy();
        signal.throwIfAborted();
        throw new TunnelUnreachableError(`the link to ${peerId} carries too much`);
      }
      if (isBack) dialBack.add(peerId);
      else dialBack.delete(peerId);
      return socket;
    },
    accept(socket) {
      let peerId: PeerId;
      try {
        peerId = prove(socket);
      } catch {
        socket.destroy();
        return;
      }
      if (socket.alpnProtocol === nodeProtocols.asks) return take(socket, peerId);
      const isBack = socket.alpnProtocol === nodeProtocols.isAsked;
      const waiting = isBack ? awaited.get(peerId)?.values().next().value : undefined;
      if (waiting === undefined) return void socket.destroy();
      // Each connection is for one of them.
      awaited.get(peerId)?.delete(waiting);
      waiting(socket);
    },
    carries: (peerId) => held.has(peerId),
    serve() {
      mesh.handle(askBackProtocol, 'admitted', async (stream, from) => {
        const dials = backDials.get(from) ?? 0;
        if (!isPeerAdmitted(from) || dials >= backDialsMax) return stream.send(Uint8Array.of(0));
        backDials.set(from, dials + 1);
        const gone = new AbortController();
        // Whoever asked ends it when it has the connection, or needs none any more.
        const ended = stream.receive().then(
          () => gone.abort(),
          () => gone.abort(),
        );
        try {
          const signal = AbortSignal.any([gone.signal, stopped.signal]);
          take(await raceAddresses(clock, addressesOf(from), dial(from, signal, nodeProtocols.isAsked), signal), from);
        } catch {
          if (!gone.signal.aborted) await stream.send(Uint8Array.of(0));
        } finally {
          const left = (backDials.get(from) ?? 1) - 1;
          if (left === 0) backDials.delete(from);
          else backDials.set(from, left);
        }
        await ended;
      });
    },
    sweep() {
      for (const peerId of [...held.keys()]) if (!isPeerAdmitted(peerId)) end(peerId);
    },
    close() {
      stopped.abort(new TunnelUnreachableError('the service network stops'));
      stopped = new AbortController();
      for (const peerId of [...held.keys()]) end(peerId);
      offers.clear();
      links.clear();
      dialBack.clear();
    },
  };
}
