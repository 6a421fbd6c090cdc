// Calls through other nodes: the workloads' TLS inside that of two neighbours, from node to node (design, section 7). Made by
// tunnel-network.ts. A router on the way sees which peers talk and nothing of what they say; what ends on the way ends at both ends, and says
// where. It decides no route, and carries for linked neighbours alone.

import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../node-runtime/clock.ts';
import { createCarriedSessions } from './carried-sessions.ts';
import { askToCarry, type CarryRequest, createCarryRequests } from './carry-requests.ts';
import { RouteError } from './errors.ts';
import { createForwarding, type Wish, wishFrom } from './forwarding.ts';
import { routedAgainAfterMs, tunnelOverLinkAfterMs } from './limits.ts';
import type { FindStep, Mesh, PeerId } from './mesh.ts';
import {
  createNeighbourConnections,
  type NeighbourConnections,
  type NeighbourConnectionsOptions,
} from './neighbour-connections.ts';
import { overdueLast } from './routes.ts';
import { createWayMarks } from './way-marks.ts';

export interface TunnelThroughNodes extends Omit<NeighbourConnections, 'open'> {
  /** Rejects with RouteError, which says where it ended, or the signal's reason. */
  open(peerId: PeerId, signal: AbortSignal): Promise<Duplex>;
  afterMs(peerId: PeerId): number;
  /** What was opened came to a bad end, and its way still leads there: the next one tries the other ways first. */
  blame(stream: Duplex): void;
  /** The neighbour by which it was opened is overdue, and another way is there that is not. */
  isOverdue(stream: Duplex): boolean;
}

export interface TunnelThroughNodesOptions extends Omit<NeighbourConnectionsOptions, 'onConnection'> {
  mesh: NeighbourConnectionsOptions['mesh'] & Pick<Mesh, 'connection'>;
  clock: Clock;
  self: PeerId;
  step: FindStep;
  /** One that is meant for this node. Of who it comes from nothing is proved yet. */
  onArrived(stream: Duplex): void;
}

export function createTunnelThroughNodes(options: TunnelThroughNodesOptions): TunnelThroughNodes {
  const { clock, self, mesh, step, onArrived } = options;
  const forwarding = createForwarding({ clock, self, step: () => step });
  const requests = createCarryRequests({ clock, onRequest });
  const sessions = createCarriedSessions();
  const neighbours = createNeighbourConnections({ ...options, onConnection: requests.read });
  const marks = createWayMarks(clock);
  const openedBy = new WeakMap<Duplex, { to: PeerId; neighbour: PeerId }>();

  const isOverdue = (neighbour: PeerId): boolean => mesh.connection(neighbour)?.overdue === true;

  /** In the order in which they are tried. */
  const waysTo = (to: PeerId): readonly PeerId[] => overdueLast(marks.order(to, forwarding.ways(to)), isOverdue);

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

  async function carry({ socket, sender, accept, refuse }: CarryRequest, wish: Wish, nextHops: readonly PeerId[]) {
    const ended = forwarding.begin(wish, sender);
    const gone = new AbortController();
    const onClose = () => gone.abort(new Error('who asked is gone'));
    socket.once('close', onClose);
    try {
      const onwards = { ...wish, via: [...wish.via, self] };
      const onward = await forwarding.inTime(gone.signal, (signal) =>
        forwarding.byAny(nextHops, signal, (neighbour) => extend(neighbour, onwards, signal)),
      );
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

  /** From here, by the first way that is answered. */
  async function open(to: PeerId, outer: AbortSignal): Promise<Duplex> {
    const failed = marks.failed(to, forwarding.ways(to));
    const attempt = async (neighbour: PeerId, signal: AbortSignal): Promise<Duplex> => {
      try {
        const socket = await extend(neighbour, wishFrom(self, to, neighbour, failed), signal);
        openedBy.set(socket, { to, neighbour });
        return socket;
      } catch (error) {
        // Who refuses says so at once; who is silent would use up all the time again.
        const ofHere = !outer.aborted && error instanceof RouteError && error.at === self;
        if (ofHere && forwarding.ways(to).includes(neighbour)) marks.mark(to, neighbour);
        throw error;
      }
    };
    return forwarding.inTime(outer, (signal) =>
      forwarding.byAny(waysTo(to), signal, (neighbour) => attempt(neighbour, signal)),
    );
  }

  return {
    ...neighbours,
    setOffer(peerId, offer) {
      if (offer === undefined) marks.lost(peerId);
      neighbours.setOffer(peerId, offer);
    },
    sweep() {
      neighbours.sweep();
      sessions.sweep();
    },
    // Who is no neighbour is not likely to answer at its own addresses.
    afterMs(to) {
      const ways = forwarding.ways(to);
      return ways.length === 1 && ways[0] === to ? tunnelOverLinkAfterMs : routedAgainAfterMs;
    },
    open,
    blame(stream) {
      const way = openedBy.get(stream);
      if (way !== undefined && forwarding.ways(way.to).includes(way.neighbour)) marks.mark(way.to, way.neighbour);
    },
    isOverdue(stream) {
      const way = openedBy.get(stream);
      if (way === undefined || !isOverdue(way.neighbour)) return false;
      const [first] = waysTo(way.to);
      return first !== undefined && !isOverdue(first);
    },
  };
}
