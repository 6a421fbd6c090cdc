// Routing on real libp2p links of loopback: costs that keep-alives measured, a router that is killed, and the way round it.

import test, { type ExecutionContext } from 'ava';
import type { FrameStream, Mesh, PeerId } from '../../mesh/mesh.ts';
import { type LinkSession, linkProtocol, runLinkSession } from '../../node-runtime/link-session.ts';
import { createRouting, type Routing } from '../../node-runtime/routing.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import type { NodeIdentity } from '../../pki/identity.ts';
import { eventually } from '../eventually.ts';
import { startNode } from '../mesh/libp2p-world.ts';

type Mode = 'interior' | 'edge';

/** A node with links as they are told; its word is believed as if it were signed, which other tests are about. */
async function startRouter(t: ExecutionContext, router: Mode, costs: Map<PeerId, number> = new Map()) {
  const mesh = await startNode(t, { keepAlive: { silentMsMax: 10_000 } });
  const node = mesh.peerId.slice(-8);
  const routing: Routing = createRouting({
    ...{ mesh, clock: createSystemClock(), jitter: () => 0, fabricId: 'fabric', node, router, bootCounter: 1 },
    sign: () => sign,
    setCostMs: (peerId) => costs.get(peerId),
    verifySigned(jws) {
      const payload = JSON.parse(jws) as { peerId: PeerId; node: string };
      const signer = { kind: 'node', fabricId: 'fabric', peerId: payload.peerId, node: payload.node };
      return { payload, signer: signer as NodeIdentity };
    },
    announcements: { held: () => undefined, all: () => [] },
    onAnnouncement: () => undefined,
    called: () => wanted,
    servicesWanted: () => new Set(),
    onServicesWanted: () => undefined,
    onRefused: (_, reason) => t.fail(reason),
  });
  const sign = (_: string, payload: unknown): string => JSON.stringify(payload);
  let wanted = new Set<PeerId>();

  async function hold(stream: FrameStream, peerId: PeerId): Promise<void> {
    const session: LinkSession = runLinkSession(stream, (message) => {
      if (message.type === 'node') routing.begin(peerId, message.router, (each) => session.send(each));
      else if (message.type !== 'neighbours') routing.receive(peerId, message);
    });
    void session.send({ type: 'node', node, router, controller: false, addresses: [] });
    await session.ended;
    routing.end(peerId);
  }

  mesh.handle(linkProtocol, 'admitted', hold);
  routing.start();
  t.teardown(() => routing.stop());
  return {
    ...{ mesh, routing, hold },
    want(peers: readonly Mesh[]): void {
      wanted = new Set(peers.map(({ peerId }) => peerId));
      routing.refresh();
    },
  };
}
type Router = Awaited<ReturnType<typeof startRouter>>;

async function link(one: Router, other: Router): Promise<void> {
  const [near, far] = [one.mesh, other.mesh];
  await near.connect({ peerId: far.peerId, addresses: far.addresses() });
  await eventually(() => far.connected().includes(near.peerId));
  near.admit(far.peerId);
  far.admit(near.peerId);
  void one.hold(await near.open(far.peerId, linkProtocol), far.peerId);
}

test('routers on real links know ways and costs, an edge node is told them, and a killed router is gone round', async (t) => {
  const costs = new Map<PeerId, number>();
  const a = await startRouter(t, 'interior', costs);
  const [b, c, d] = [
    await startRouter(t, 'interior'),
    await startRouter(t, 'interior'),
    await startRouter(t, 'interior'),
  ];
  // The operator of A does not like the link to B.
  costs.set(b.mesh.peerId, 59_000);
  const edge = await startRouter(t, 'edge');
  // A – B – C and A – D – C; the edge node on A.
  for (const [one, other] of [
    [a, b],
    [b, c],
    [a, d],
    [d, c],
    [edge, a],
  ] as const)
    await link(one, other);
  const hops = (from: Router, to: Router) => from.routing.routes().to(to.mesh.peerId);
  await eventually(() => hops(a, c)?.hops === 2 && hops(c, edge)?.hops === 3, { deadlineMs: 60_000, what: 'all ways' });
  await eventually(() => hops(a, c)?.nextHops.join() === d.mesh.peerId, { deadlineMs: 60_000, what: 'the cheap way' });
  edge.want([c.mesh]);
  const unasked = edge.routing.costTo(c.mesh.peerId);
  await eventually(() => edge.routing.costTo(c.mesh.peerId) !== unasked, { deadlineMs: 60_000, what: 'it is told' });
  t.is(edge.routing.costTo(edge.mesh.peerId), 0);
  t.true((await eventually(() => a.mesh.costMicroseconds(b.mesh.peerId), { deadlineMs: 60_000 })) >= 500);

  const [lost, left] = [d, b];
  await lost.mesh.stop();
  await eventually(() => hops(a, c)?.nextHops.join() === left.mesh.peerId, {
    deadlineMs: 60_000,
    what: 'the other way',
  });
  await eventually(() => hops(c, lost) === undefined, { deadlineMs: 60_000, what: 'nobody has the lost one' });
  t.true((hops(c, a)?.costMicroseconds ?? 0) > 59_000_000, 'what the other end says counts here too');
  const step = c.routing.step({ destination: edge.mesh.peerId, from: undefined, hopsLeft: 3 });
  t.deepEqual(step, { type: 'forward', nextHops: [left.mesh.peerId], hopsLeft: 2 });

  await left.mesh.stop();
  await eventually(() => hops(a, c) === undefined, { deadlineMs: 60_000, what: 'no way is left' });
  await eventually(() => edge.routing.costTo(c.mesh.peerId) === undefined, {
    deadlineMs: 60_000,
    what: 'the edge node knows',
  });
});
