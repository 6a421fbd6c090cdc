// The links of a node over real connections: what must hold when a proof of membership was half done.

import test, { type ExecutionContext } from 'ava';
import type { Mesh, PeerId } from '../../mesh/mesh.ts';
import { createActorSystem } from '../../node-runtime/actor-system.ts';
import { createLinks, type Links } from '../../node-runtime/links.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import type { NodeIdentity } from '../../pki/identity.ts';
import { eventually } from '../eventually.ts';
import { startNode } from '../mesh/libp2p-world.ts';

interface Side {
  mesh: Mesh;
  links: Links;
  linked: PeerId[];
  unlinked: string[];
  /** What the mesh was told of silence. */
  allowed: (number | undefined)[];
  /** Whom this side wants a link to. */
  wants(peer: Side | undefined): void;
}

const identityOf = (peerId: PeerId): NodeIdentity =>
  ({ kind: 'node', fabricId: 'fabric', node: peerId.slice(-8), peerId }) as NodeIdentity;

async function startSide(
  t: ExecutionContext,
  present: (side: Side, peerId: PeerId, signal: AbortSignal) => Promise<NodeIdentity>,
  keepAliveMs?: number,
): Promise<Side> {
  const real = await startNode(t, { keepAlive: { silentMsMax: 10_000 } });
  const allowed: (number | undefined)[] = [];
  const mesh: Mesh = {
    ...real,
    allowSilence(peerId, silentMs) {
      allowed.push(silentMs);
      real.allowSilence(peerId, silentMs);
    },
  };
  const clock = createSystemClock();
  const linked: PeerId[] = [];
  const unlinked: string[] = [];
  let wanted: Side | undefined;
  const links = createLinks({
    mesh,
    clock,
    actors: createActorSystem({ clock, node: () => mesh.peerId }),
    jitter: () => 0,
    fabricId: 'fabric',
    router: 'edge',
    controllers: () => (wanted ? [{ peerId: wanted.mesh.peerId, addresses: wanted.mesh.addresses() }] : []),
    present: (peerId, signal) => present(side, peerId, signal),
    describe: () => ({ type: 'node', node: mesh.peerId.slice(-8), router: 'edge', controller: false, addresses: [] }),
    called: () => new Set(),
    leadsTo: () => false,
    isWaiting: () => false,
    keepAliveMs: () => keepAliveMs,
    linkCost: (peerId) => mesh.costMicroseconds(peerId),
    carries: () => false,
    traffic: { begin: () => {}, renew: () => {}, end: () => {}, receive: () => {}, refresh: () => {} },
    onLinked: ({ peerId }) => linked.push(peerId),
    onUnlinked: (_, reason) => unlinked.push(reason),
    onNode: () => {},
  });
  const side: Side = {
    mesh,
    links,
    linked,
    unlinked,
    allowed,
    wants(peer) {
      wanted = peer;
      links.refresh();
    },
  };
  t.teardown(() => links.stop());
  links.start();
  return side;
}

const forgetful = async (): Promise<NodeIdentity> => {
  throw new Error('it has the proof already');
};

test('a peer whose proof is here is linked to, also when its answer was not waited for', async (t) => {
  // As presenting does: the one side is known before the answer is read, and the other when it has answered.
  const near = await startSide(t, async (side, peerId, signal) => {
    await eventually(() => far.mesh.connected().includes(side.mesh.peerId));
    side.links.admitted(peerId, identityOf(peerId));
    far.links.admitted(side.mesh.peerId, identityOf(side.mesh.peerId));
    const gone = Promise.withResolvers<never>();
    signal.addEventListener('abort', () => gone.reject(signal.reason), { once: true });
    return gone.promise;
  });
  const far: Side = await startSide(t, forgetful);

  near.wants(far);
  await eventually(() => far.mesh.isAdmitted(near.mesh.peerId), { what: 'the proof' });
  near.wants(undefined);
  far.wants(near);

  await eventually(() => near.linked.length > 0 && far.linked.length > 0, { what: 'the link' });
  t.deepEqual([near.unlinked, far.unlinked], [[], []]);
});

test('a peer that has forgotten the proof is shown it again', async (t) => {
  let shown = 0;
  const near = await startSide(t, async (side, peerId) => {
    shown += 1;
    await eventually(() => far.mesh.connected().includes(side.mesh.peerId));
    // The first time the far side does not keep it, as one that lost the connection meanwhile.
    if (shown > 1) far.links.admitted(side.mesh.peerId, identityOf(side.mesh.peerId));
    return identityOf(peerId);
  });
  const far: Side = await startSide(t, forgetful);

  near.wants(far);

  await eventually(() => near.linked.length > 0 && far.linked.length > 0, { what: 'the link' });
  t.is(shown, 2);
});

test('both ends of a link are as patient as the more patient one wants', async (t) => {
  const known = async (side: Side, peerId: PeerId): Promise<NodeIdentity> => {
    const other = side === near ? far : near;
    await eventually(() => other.mesh.connected().includes(side.mesh.peerId));
    other.links.admitted(side.mesh.peerId, identityOf(side.mesh.peerId));
    return identityOf(peerId);
  };
  const near: Side = await startSide(t, known, 5_000);
  const far: Side = await startSide(t, known, 30_000);
  near.wants(far);
  await eventually(() => near.allowed.at(-1) === 30_000 && far.allowed.at(-1) === 30_000, { what: 'the longer time' });
  t.is(near.allowed[0], 5_000, 'until it has heard of the other');
});
