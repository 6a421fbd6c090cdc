// The routes of an edge node: its own links, and its uplinks with what they told of the nodes that it asked about. Pure; called by
// node-runtime/routing.ts. An edge node holds no link states. Of a node that it has not asked about any uplink may know a way: it is tried.

import { unknownCostMicroseconds } from './limits.ts';
import type { PeerId } from './mesh.ts';
import type { RouterMode } from './own-links.ts';
import type { Route, Routes } from './routes.ts';

export interface UplinkRoutes extends Routes {
  set(peerId: PeerId, router: RouterMode, costMicroseconds: number | undefined): void;
  lost(peerId: PeerId): void;
  /** The nodes that this one wants to know the cost of; what was told of others is forgotten. */
  want(peers: ReadonlySet<PeerId>): void;
  /** What an uplink said; undefined is out of its reach. */
  told(from: PeerId, list: readonly { peerId: PeerId; costMicroseconds?: number | undefined }[]): void;
}

interface OwnLink {
  router: RouterMode;
  costMicroseconds: number;
  /** Only of wanted nodes: no uplink can fill it with what was not asked. */
  told: Map<PeerId, number | undefined>;
}

export function createUplinkRoutes(): UplinkRoutes {
  const links = new Map<PeerId, OwnLink>();
  let wanted: ReadonlySet<PeerId> = new Set();

  const direct = (peerId: PeerId, { costMicroseconds }: OwnLink): Route => ({
    ...{ costMicroseconds, hops: 1, nextHops: [peerId] },
  });

  return {
    set(peerId, router, costMicroseconds = unknownCostMicroseconds) {
      const told = links.get(peerId)?.told ?? new Map<PeerId, number | undefined>();
      links.set(peerId, { router, costMicroseconds, told });
    },
    lost: (peerId) => void links.delete(peerId),
    want(peers) {
      wanted = peers;
      for (const { told } of links.values())
        for (const peerId of told.keys()) if (!peers.has(peerId)) told.delete(peerId);
    },
    told(from, list) {
      const link = links.get(from);
      if (link?.router !== 'interior') return;
      for (const { peerId, costMicroseconds } of list) if (wanted.has(peerId)) link.told.set(peerId, costMicroseconds);
    },
    /** The next hops in the order in which to try them: of several uplinks each may have lost the way that it told of. */
    to(peerId) {
      const own = links.get(peerId);
      if (own !== undefined) return direct(peerId, own);
      const ways = [...links].flatMap(([uplink, { router, costMicroseconds, told }]) => {
        if (router !== 'interior' || (told.has(peerId) && told.get(peerId) === undefined)) return [];
        const beyond = told.get(peerId);
        const known = beyond !== undefined;
        return [{ uplink, known, costMicroseconds: costMicroseconds + (beyond ?? unknownCostMicroseconds) }];
      });
      ways.sort(
        (one, other) =>
          Number(other.known) - Number(one.known) ||
          one.costMicroseconds - other.costMicroseconds ||
          (one.uplink < other.uplink ? -1 : 1),
      );
      const [best] = ways;
      if (best === undefined) return undefined;
      // How many hops follow the uplink is known to it alone.
      return { costMicroseconds: best.costMicroseconds, hops: 2, nextHops: ways.map(({ uplink }) => uplink) };
    },
    routers() {
      return new Map([...links].flatMap(([id, link]) => (link.router === 'interior' ? [[id, direct(id, link)]] : [])));
    },
  };
}
