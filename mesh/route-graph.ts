// The graph that routes are computed on, kept up to date as link states come and go: a change costs what the links of one router cost.
// Pure; fed by node-runtime/router.ts, read by routes.ts. It knows no signatures: what goes in is believed to be what that router says.

import type { LinkEnd } from './link-state-format.ts';
import type { PeerId } from './mesh.ts';
import type { RouterMode } from './own-links.ts';

export interface GraphRouter {
  readonly peerId: PeerId;
  /** Its links that both ends say, with what they cost. */
  readonly links: ReadonlyMap<GraphRouter, number>;
  /** An edge node never does, whatever it says. */
  readonly forwards: boolean;
}

export interface SaidByRouter {
  router: RouterMode;
  neighbours: readonly LinkEnd[];
  attached: readonly LinkEnd[];
}

export interface RouteGraph {
  /** What the router says now, in place of what it said before. */
  put(peerId: PeerId, said: SaidByRouter): void;
  remove(peerId: PeerId): void;
  router(peerId: PeerId): GraphRouter | undefined;
  /** The routers that say that the peer is attached to them, with what that costs. */
  attachedTo(peerId: PeerId): ReadonlyMap<GraphRouter, number>;
  readonly size: number;
}

interface Vertex extends GraphRouter {
  links: Map<GraphRouter, number>;
  said: ReadonlyMap<PeerId, number>;
  attached: readonly PeerId[];
  forwards: boolean;
}

const nobody: ReadonlyMap<GraphRouter, number> = new Map();

export function createRouteGraph(): RouteGraph {
  const vertices = new Map<PeerId, Vertex>();
  const attachments = new Map<PeerId, Map<GraphRouter, number>>();

  function unlink(vertex: Vertex): void {
    for (const other of vertex.links.keys()) (other as Vertex).links.delete(vertex);
    vertex.links.clear();
    for (const peerId of vertex.attached) {
      const routers = attachments.get(peerId);
      routers?.delete(vertex);
      if (routers?.size === 0) attachments.delete(peerId);
    }
  }

  return {
    put(peerId, { router, neighbours, attached }) {
      const vertex: Vertex = vertices.get(peerId) ?? {
        ...{ peerId, links: new Map(), said: new Map(), attached: [], forwards: false },
      };
      unlink(vertex);
      vertices.set(peerId, vertex);
      vertex.forwards = router === 'interior';
      vertex.said = new Map(neighbours.map((end) => [end.peerId, end.costMicroseconds]));
      for (const [neighbour, cost] of vertex.said) {
        const other = vertices.get(neighbour);
        const back = other?.said.get(peerId);
        if (other === undefined || other === vertex || back === undefined) continue;
        // The dearer of the two counts, both ways: nobody makes a link look cheaper than its other end finds it.
        vertex.links.set(other, Math.max(cost, back));
        other.links.set(vertex, Math.max(cost, back));
      }
      vertex.attached = vertex.forwards ? attached.map((end) => end.peerId) : [];
      if (!vertex.forwards) return;
      for (const { peerId: leaf, costMicroseconds } of attached) {
        const routers = attachments.get(leaf) ?? new Map<GraphRouter, number>();
        routers.set(vertex, costMicroseconds);
        attachments.set(leaf, routers);
      }
    },
    remove(peerId) {
      const vertex = vertices.get(peerId);
      if (vertex === undefined) return;
      unlink(vertex);
      vertices.delete(peerId);
    },
    router: (peerId) => vertices.get(peerId),
    attachedTo: (peerId) => attachments.get(peerId) ?? nobody,
    get size() {
      return vertices.size;
    },
  };
}
