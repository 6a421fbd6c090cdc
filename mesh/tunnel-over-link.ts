// Sessions of the tunnel on a stream of the link between two nodes, for places where nothing but the mesh's own port gets through (design,
// section 7). Made by tunnel-network.ts. The same TLS and HTTP/2 as on a connection of their own, at a fraction of the throughput.

import type { Duplex } from 'node:stream';
import { frameDuplex } from './frame-duplex.ts';
import type { Mesh, PeerId } from './mesh.ts';

const tunnelProtocol = '/selvedge/tunnel/1';

export interface TunnelOverLink {
  /** Rejects when there is no link, or the peer does not serve it. */
  open(peerId: PeerId, signal: AbortSignal): Promise<Duplex>;
  /** The neighbour that the link goes through; undefined where it is direct, or gone. */
  through(peerId: PeerId): PeerId | undefined;
  /** What the peer's own addresses get before; when left out, less where the link goes through others than where it is direct. */
  afterMs?(peerId: PeerId): number;
  /** What was opened came to a bad end without anybody's will: another way is taken the next time, where there is one. */
  blame?(stream: Duplex): void;
  /** It went through a neighbour that is overdue now, and another one is not. */
  isOverdue?(stream: Duplex): boolean;
  /** From now on admitted peers are served. */
  serve(onStream: (stream: Duplex) => void): void;
}

export function createTunnelOverLink(mesh: Pick<Mesh, 'open' | 'handle' | 'connection'>): TunnelOverLink {
  return {
    open: async (peerId, signal) => frameDuplex(await mesh.open(peerId, tunnelProtocol, signal)),
    through: (peerId) => mesh.connection(peerId)?.through,
    serve(onStream) {
      mesh.handle(tunnelProtocol, 'admitted', async (stream) => {
        const duplex = frameDuplex(stream);
        const closed = new Promise<void>((resolve) => duplex.once('close', () => resolve()));
        onStream(duplex);
        await closed;
      });
    },
  };
}

/** The second one where the first one leads nowhere. */
export function inOrder(
  first: Pick<TunnelOverLink, 'open' | 'afterMs' | 'blame' | 'isOverdue'>,
  second: TunnelOverLink,
): TunnelOverLink {
  return {
    ...second,
    ...(first.afterMs && { afterMs: first.afterMs }),
    ...(first.blame && { blame: first.blame }),
    ...(first.isOverdue && { isOverdue: first.isOverdue }),
    async open(peerId, signal) {
      try {
        return await first.open(peerId, signal);
      } catch {
        signal.throwIfAborted();
        return second.open(peerId, signal);
      }
    },
  };
}
