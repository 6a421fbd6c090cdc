// Nodes on loopback whose next hops are set by hand, for the tests of streams through others.

import type { ExecutionContext } from 'ava';
import type { Mesh, PeerId } from '../../mesh/mesh.ts';
import { nextStep, type Routes } from '../../mesh/routes.ts';
import { eventually } from '../eventually.ts';
import { startNode } from './libp2p-world.ts';

export const protocol = '/test/talk/1';
export const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
export const decode = (frame: Uint8Array | undefined): unknown => JSON.parse(Buffer.from(frame ?? []).toString('utf8'));

/** Both admit the other, as after they have proved their membership. */
export async function linkTogether(one: Mesh, other: Mesh): Promise<void> {
  await one.connect({ peerId: other.peerId, addresses: other.addresses() });
  await eventually(() => other.connected().includes(one.peerId));
  one.admit(other.peerId);
  other.admit(one.peerId);
}

/** By hand. */
export const routesBy = (nextHop: (to: PeerId) => PeerId | undefined): Routes => ({
  to(peerId) {
    const next = nextHop(peerId);
    return next === undefined ? undefined : { costMicroseconds: 1, hops: 1, nextHops: [next] };
  },
  routers: () => new Map(),
});

/** Nodes in a row, linked to their neighbours; all but the ends carry for others. */
export async function chain(t: ExecutionContext, length: number): Promise<Mesh[]> {
  const nodes: Mesh[] = [];
  // A test machine may starve a node for longer than a LAN would be silent.
  for (let index = 0; index < length; index += 1)
    nodes.push(await startNode(t, { keepAlive: { silentMsMax: 20_000 } }));
  for (const [index, node] of nodes.entries()) {
    const before = nodes[index - 1];
    if (before !== undefined) await linkTogether(before, node);
    const place = new Map(nodes.map(({ peerId }, at) => [peerId, at]));
    const router = index > 0 && index < length - 1 ? 'interior' : 'edge';
    const routes = routesBy((to) => {
      const far = place.get(to);
      return far === undefined ? undefined : nodes[index + Math.sign(far - index)]?.peerId;
    });
    node.route((stream) => nextStep({ self: node.peerId, router, routes }, stream));
  }
  return nodes;
}

/** The node at the place, which is there. */
export const at = (nodes: readonly Mesh[], index: number): Mesh => nodes.at(index) as Mesh;
