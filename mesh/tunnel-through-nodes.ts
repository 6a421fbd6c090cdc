// Calls through other nodes: the workloads' TLS inside that of two neighbours, from node to node (design, section 7). Made by
// tunnel-network.ts. A router on the way sees which peers talk and nothing of what they say; what ends on the way ends at both ends, and says
// where. It decides no route, and carries for linked neighbours alone.

import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { createCarriedSessions } from './carried-sessions.ts';
import { askToCarry, type CarryRequest, createCarryRequests } from './carry-requests.ts';
import { RouteError } from './errors.ts';
import { createForwarding, type Wish } from './forwarding.ts';
import { addressStaggerMs, tunnelOverLinkAfterMs } from './limits.ts';
import type { FindStep, PeerId } from './mesh.ts';
import {
  createNeighbourConnections,
  type NeighbourConnections,
  type NeighbourConnectionsOptions,
} from './neighbour-connections.ts';
import { createWayMarks } from './way-marks.ts';

export interface TunnelThroughNodes extends Omit<NeighbourConnections, 'open'> {
  /** Rejects with RouteError, which says where it ended, or the signal's reason. */
  open(peerId: PeerId, signal: AbortSignal): Promise<Duplex>;
  afterMs(peerId: PeerId): number;
  /** One of those that were opened led to nobody, or to somebody else: another neighbour is tried first the next time. */
  failed(stream: Duplex): void;
}

export interface TunnelThroughNodesOptions extends Omit<NeighbourConnectionsOptions, 'onConnection'> {
  clock: Clock;
  self: PeerId;
  step: FindStep;
  /** One that is meant for this node. Of who it comes from nothing is proved yet. */
  onArrived(stream: Duplex): void;
}

export function createTunnelThroughNodes(options: TunnelThroughNodesOptions): TunnelThroughNodes {
  const { clock, self, step, onArrived } = options;
  const forwarding = createForwarding({ clock, self, step: () => step });
  const requests = createCarryRequests({ clock, onRequest });
  const sessions = createCarriedSessions();
  const marks = createWayMarks(clock);
  /** Of what was opened here. */
  const ways = new WeakMap<Duplex, { to: PeerId; neighbour: PeerId }>();
  const neighbours = createNeighbourConnections({ ...options, onConnection: requests.read });

  /** The next piece of the way, answered by the far end. Rejects with RouteError. */
  async function extend(neighbour: PeerId, wish: Wish, signal: AbortSignal): Promise<TLSSocket> {
    let socket: TLSSocket | undefined;
    try {
      socket = await neighbours.open(neighbour, signal);
      await askToCarry(socket, wish, signal);
      return socket;
    } catch (error) {
      socket?.destroy();
      signal.throwIfAborted();
      throw error instanceof RouteError ? error : new RouteError(self, `${neighbour} was not reached`, error);
    }
  }

  const extendByAny = (nextHops: readonly PeerId[], wish: Wish, signal: AbortSignal): Promise<TLSSocket> =>
    forwarding.byAny(nextHops, signal, (neighbour) => extend(neighbour, wish, signal));

  /** By the neighbour that led to no bad end lately: one that is silent uses up all the time there is. */
  async function open(to: PeerId, outer: AbortSignal): Promise<TLSSocket> {
    const attempt = async (neighbour: PeerId, signal: AbortSignal): Promise<TLSSocket> => {
      try {
        const socket = await extend(neighbour, { to, from: self, via: [] }, signal);
        ways.set(socket, { to, neighbour });
        return socket;
      } catch (error) {
        if (!outer.aborted) marks.mark(to, neighbour);
        throw error;
      }
    };
    const nextHops = marks.order(to, forwarding.ways(to));
    return forwarding.inTime(outer, (signal) =>
      forwarding.byAny(nextHops, signal, (neighbour) => attempt(neighbour, signal)),
    );
  }

  async function carry({ socket, sender, accept, refuse }: CarryRequest, wish: Wish, nextHops: readonly PeerId[]) {
    const ended = forwarding.begin(sender);
    const gone = new AbortController();
    const onClose = () => gone.abort(new Error('who asked is gone'));
    socket.once('close', onClose);
    try {
      const onwards = { ...wish, via: [...wish.via, self] };
      const onward = await forwarding.inTime(gone.signal, (signal) => extendByAny(nextHops, onwards, signal));
      socket.off('close', onClose);
      if (socket.destroyed) {
        onward.destroy();
        throw new Error('who asked is gone');
      }
      accept();
      sessions.add(socket, onward, ended);
    } catch (error) {
      ended();
      const failure = error instanceof RouteError ? error : new RouteError(self, (error as Error).message);
      refuse(failure.at, failure.reason);
    }
  }

  function onRequest(asked: CarryRequest): void {
    const { wish, sender, socket, accept, refuse } = asked;
    // Each node vouches for the one before it: what is counted by its neighbour cannot be put on another's account.
    if (wish === undefined || (wish.via.at(-1) ?? wish.from) !== sender) {
      refuse(self, 'it did not come the way that it says');
      return;
    }
    if (wish.to === self) {
      accept();
      onArrived(socket);
      return;
    }
    const decided = forwarding.decide(wish, sender);
    if ('reason' in decided) refuse(self, decided.reason);
    else void carry(asked, wish, decided.nextHops);
  }

  return {
    ...neighbours,
    sweep() {
      neighbours.sweep();
      sessions.sweep();
    },
    // Who is no neighbour is not likely to answer at its own addresses.
    afterMs: (to) => (forwarding.ways(to).includes(to) ? tunnelOverLinkAfterMs : addressStaggerMs),
    failed(stream) {
      const way = ways.get(stream);
      if (way !== undefined) marks.mark(way.to, way.neighbour);
    },
    open,
  };
}
