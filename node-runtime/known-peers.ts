// What this node knows of the peers that it may link to, from whom it has it, put together: for links.ts. It decides nothing; what neighbours
// say is a hint, and nobody's hints take the place of what others said.

import type { KnownPeer } from '../mesh/link-choice.ts';
import type { Address, Mesh, PeerId } from '../mesh/mesh.ts';
import { hintingPeersMax, hintsPerPeerMax } from './limits.ts';
import type { LinkMessage } from './link-session.ts';
import type { LinkedPeer } from './links.ts';

export type Hint = Extract<LinkMessage, { type: 'neighbours' }>['list'][number];

export interface KnownPeers {
  all(): KnownPeer[];
  addressesOf(peerId: PeerId): Address[];
  /** What a neighbour tells of others. */
  takeHints(teller: PeerId, list: readonly Hint[]): void;
}

export interface KnownPeersDependencies {
  mesh: Pick<Mesh, 'peerId' | 'found' | 'connection'>;
  fabricId: string;
  controllers(): { peerId: PeerId; addresses: Address[] }[];
  called(): ReadonlySet<PeerId>;
  leadsTo(peerId: PeerId): boolean;
  linked(): readonly LinkedPeer[];
  failures(peerId: PeerId): number;
  costOf(peerId: PeerId): number | undefined;
}

/** Maps keep the order of insertion: the first are the oldest. */
export function dropOldest(map: Map<PeerId, unknown>, sizeMax: number): void {
  for (const key of map.keys()) {
    if (map.size <= sizeMax) return;
    map.delete(key);
  }
}

export function createKnownPeers(dependencies: KnownPeersDependencies): KnownPeers {
  const { mesh, fabricId, controllers, called, leadsTo, linked, failures, costOf } = dependencies;
  /** By who told it: hints for dialling, believed for nothing else. */
  const hints = new Map<PeerId, Map<PeerId, Hint>>();

  function all(): KnownPeer[] {
    const known = new Map<PeerId, KnownPeer>();
    const add = (peerId: PeerId, more: Partial<KnownPeer>): void => {
      const before = known.get(peerId);
      known.set(peerId, {
        peerId,
        router: more.router ?? before?.router,
        controller: more.controller ?? before?.controller ?? false,
        addresses: [...new Set([...(more.addresses ?? []), ...(before?.addresses ?? [])])],
        costMicroseconds: before === undefined ? costOf(peerId) : before.costMicroseconds,
        indirect: before === undefined ? mesh.connection(peerId)?.through !== undefined : before.indirect,
        failures: failures(peerId),
        routed: more.routed ?? before?.routed ?? false,
        proven: (more.proven ?? false) || (before?.proven ?? false),
      });
    };
    for (const found of mesh.found()) {
      if (found.fabricId === fabricId) add(found.peerId, { addresses: found.addresses });
    }
    for (const told of hints.values()) for (const hint of told.values()) add(hint.peerId, hint);
    for (const peerId of called()) if (leadsTo(peerId)) add(peerId, { routed: true });
    for (const { peerId, addresses } of controllers()) add(peerId, { addresses, controller: true, proven: true });
    for (const { peerId, identity, node } of linked()) {
      if (!node) continue;
      const controller = identity.kind === 'controller';
      add(peerId, { router: node.router, controller, addresses: node.addresses, proven: true });
    }
    return [...known.values()];
  }

  return {
    all,
    addressesOf: (peerId) => [...(all().find((peer) => peer.peerId === peerId)?.addresses ?? [])],
    takeHints(teller, list) {
      const told = hints.get(teller) ?? new Map<PeerId, Hint>();
      hints.delete(teller);
      hints.set(teller, told);
      for (const hint of list) {
        if (hint.peerId === mesh.peerId) continue;
        told.delete(hint.peerId);
        told.set(hint.peerId, hint);
      }
      dropOldest(told, hintsPerPeerMax);
      dropOldest(hints, hintingPeersMax);
    },
  };
}
