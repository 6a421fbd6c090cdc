// What a router on the way can do to those whose streams it carries, and what comes of it: real connections on loopback, next hops by hand.

import test, { type ExecutionContext } from 'ava';
import { type Harm, harmText } from '../../mesh/harm.ts';
import type { FrameStream, Mesh, MeshEvent } from '../../mesh/mesh.ts';
import { routeProtocol } from '../../mesh/routed-streams.ts';
import { nextStep } from '../../mesh/routes.ts';
import { eventually } from '../eventually.ts';
import { startNode } from './libp2p-world.ts';
import { at, chain, decode, encode, linkTogether, protocol, routesBy } from './routed-world.ts';

type Harming = (frame: Uint8Array, index: number) => Uint8Array[];

/** The router carries on for others by hand; `harm` makes what it does in one direction of one stream. */
function carryHarmed(router: Mesh, harm: () => Harming): Uint8Array[] {
  const seen: Uint8Array[] = [];
  router.handle(routeProtocol, 'admitted', async (stream) => {
    const { to, from } = decode(await stream.receive()) as { to: string; from: string };
    const onward = await router.open(to, routeProtocol);
    await onward.send(encode({ to, from, via: [router.peerId] }));
    const carry = async (source: FrameStream, target: FrameStream) => {
      const harming = harm();
      for (let index = 0; ; index += 1) {
        const frame = await source.receive();
        if (frame === undefined) return target.close();
        seen.push(frame);
        for (const harmed of harming(frame, index)) await target.send(harmed);
      }
    };
    await Promise.all([carry(stream, onward), carry(onward, stream)]);
  });
  return seen;
}

const patient = { keepAlive: { silentMsMax: 20_000 } };

/** Two ends, and between them a router of ours that does with frames as it likes. */
async function hostileChain(t: ExecutionContext, harm: () => Harming) {
  const [first, router, last] = await Promise.all([0, 1, 2].map(() => startNode(t, patient)));
  if (first === undefined || router === undefined || last === undefined) throw new Error('three were started');
  await linkTogether(first, router);
  await linkTogether(router, last);
  const routes = routesBy((to) => (to === router.peerId ? to : router.peerId));
  for (const end of [first, last])
    end.route((stream) => nextStep({ self: end.peerId, router: 'edge', routes }, stream));
  return { first, router, last, seen: carryHarmed(router, harm) };
}

/** What the mesh tells of harm done to it. */
function harmsOf(mesh: Mesh): Extract<MeshEvent, { type: 'harmed' }>[] {
  const told: Extract<MeshEvent, { type: 'harmed' }>[] = [];
  mesh.subscribe((event) => event.type === 'harmed' && told.push(event));
  return told;
}

/** Past the handshake, and what follows it. */
const settled = 12;
const flip = (frame: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(frame);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
};
const harms: Record<string, () => Harming> = {
  'flips a bit': () => (frame, index) => [index > settled ? flip(frame) : frame],
  // Of what the far end says first of itself.
  'flips a bit of the handshake': () => (frame, index) => [index === 3 ? flip(frame) : frame],
  'replays frames': () => (frame, index) => (index > settled ? [frame, frame] : [frame]),
  'leaves frames out': () => (frame, index) => (index === settled + 2 ? [] : [frame]),
  'reorders frames': () => {
    let held: Uint8Array | undefined;
    return (frame, index) => {
      if (index === settled + 2) held = frame;
      if (held === undefined || held === frame) return held === frame ? [] : [frame];
      const before = held;
      held = undefined;
      return [frame, before];
    };
  },
};
/** One that fits into few frames, and one that another cipher implementation of libp2p's takes. */
const secrets = [`plain-text-${'0123456789'.repeat(20)}`, `plain-text-${'0123456789'.repeat(2_000)}`];

for (const [name, harm] of Object.entries(harms)) {
  for (const secret of secrets) {
    test(`a router that ${name} breaks the connection, and gets nothing read (${secret.length} bytes)`, async (t) => {
      const { first, router, last, seen } = await hostileChain(t, harm);
      const told = [first, last].map(harmsOf);
      const read: string[] = [];
      last.handle(protocol, 'admitted', async (stream) => {
        for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive()) {
          read.push(Buffer.from(frame).toString());
          await stream.send(Buffer.from('more'));
        }
      });
      const talk = async () => {
        await first.connect({ peerId: last.peerId, addresses: [] });
        await eventually(() => last.connected().includes(first.peerId));
        last.admit(first.peerId);
        const stream = await first.open(last.peerId, protocol);
        for (;;) {
          await stream.send(Buffer.from(secret));
          if ((await stream.receive()) === undefined) throw new Error('it ended');
        }
      };
      await t.throwsAsync(talk());
      t.true(
        read.every((text) => text === secret),
        'what arrives is what was sent',
      );
      t.true(seen.length > 0);
      t.false(Buffer.concat(seen).includes('plain-text'), 'the router saw no plain byte');
      await eventually(() => told.flat().length > 0, { what: 'an end to say so' });
      for (const { harm: kind, through } of told.flat()) t.deepEqual([kind, through], ['altered', router.peerId]);
    });
  }
}

test('a router that answers in the place of the wanted peer is found out', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const other = await startNode(t, patient);
  await linkTogether(router, other);
  // It leads all that is meant for the last one to another node, which is admitted as well.
  const wishes: string[] = [];
  router.handle(routeProtocol, 'admitted', async (stream) => {
    const { to, from } = decode(await stream.receive()) as { to: string; from: string };
    wishes.push(to);
    const onward = await router.open(other.peerId, routeProtocol);
    await onward.send(encode({ to: other.peerId, from, via: [router.peerId] }));
    const carry = async (source: FrameStream, target: FrameStream) => {
      for (let frame = await source.receive(); frame !== undefined; frame = await source.receive())
        await target.send(frame);
    };
    await Promise.all([carry(stream, onward), carry(onward, stream)]);
  });
  const routes = routesBy(() => router.peerId);
  other.route((stream) => nextStep({ self: other.peerId, router: 'edge', routes }, stream));
  const told = harmsOf(first);
  await t.throwsAsync(first.connect({ peerId: last.peerId, addresses: [] }));
  t.deepEqual(wishes, [last.peerId]);
  t.false(first.connected().includes(last.peerId));
  t.false(first.connected().includes(other.peerId));
  t.deepEqual(told, [{ type: 'harmed', peerId: last.peerId, harm: 'impersonated', through: router.peerId }]);
});

test('a router that dials in the name of another is found out', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const told = harmsOf(last);
  // A node that is admitted as well dials, and the router says that it is the first one.
  const other = await startNode(t, patient);
  await linkTogether(router, other);
  router.handle(routeProtocol, 'admitted', async (stream) => {
    await stream.receive();
    const onward = await router.open(last.peerId, routeProtocol);
    await onward.send(encode({ to: last.peerId, from: first.peerId, via: [router.peerId] }));
    const carry = async (source: FrameStream, target: FrameStream) => {
      for (let frame = await source.receive(); frame !== undefined; frame = await source.receive())
        await target.send(frame);
    };
    await Promise.all([carry(stream, onward), carry(onward, stream)]);
  });
  const routes = routesBy(() => router.peerId);
  other.route((stream) => nextStep({ self: other.peerId, router: 'edge', routes }, stream));
  await other.connect({ peerId: last.peerId, addresses: [] }).catch(() => undefined);
  await eventually(() => told.length > 0, { what: 'the far end to say so' });
  t.deepEqual(told, [{ type: 'harmed', peerId: first.peerId, harm: 'impersonated', through: router.peerId }]);
  t.deepEqual(new Set(last.connected()), new Set([router.peerId]));
});

test('after harm by one neighbour the next connection goes through another, though the first one is nearer', async (t) => {
  const { first, router, last } = await hostileChain(t, harms['flips a bit'] ?? (() => (frame) => [frame]));
  const other = await startNode(t, patient);
  await linkTogether(first, other);
  await linkTogether(other, last);
  const direct = routesBy((to) => to);
  other.route((stream) => nextStep({ self: other.peerId, router: 'interior', routes: direct }, stream));
  first.route(() => ({ type: 'forward', nextHops: [router.peerId, other.peerId], hopsLeft: 3 }));
  last.handle(protocol, 'admitted', async (stream) => {
    for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive())
      await stream.send(frame);
  });
  const talk = async () => {
    await first.connect({ peerId: last.peerId, addresses: [] });
    const through = first.connection(last.peerId)?.through;
    await eventually(() => last.connected().includes(first.peerId));
    last.admit(first.peerId);
    const stream = await first.open(last.peerId, protocol);
    for (let round = 0; round < 2 * settled; round += 1) {
      await stream.send(encode(round));
      t.is(decode(await stream.receive()), round);
    }
    return through;
  };
  await t.throwsAsync(talk());
  await eventually(() =>
    [first, last].every((end, index) => !end.connected().includes([last, first][index]?.peerId ?? '')),
  );
  t.is(await talk(), other.peerId);
});

test('a neighbour that was lost carries again when it is back: a loss is no harm', async (t) => {
  const nodes = await Promise.all([0, 1, 2, 3].map(() => startNode(t, patient)));
  const [first, router, other, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2), at(nodes, 3)];
  const direct = routesBy((to) => to);
  for (const each of [router, other])
    each.route((stream) => nextStep({ self: each.peerId, router: 'interior', routes: direct }, stream));
  for (const end of [first, last]) {
    await linkTogether(end, router);
    await linkTogether(end, other);
    // Of two neighbours the first one leads there, unless something speaks against it.
    end.route(() => ({ type: 'forward', nextHops: [router.peerId, other.peerId], hopsLeft: 3 }));
  }
  const reach = async () => {
    await first.connect({ peerId: last.peerId, addresses: [] });
    await eventually(() => last.connected().includes(first.peerId));
    return first.connection(last.peerId)?.through;
  };
  /** Whether the ways to the other end were lost, rather than the connections closed by one of the two. */
  const lost: (boolean | undefined)[] = [];
  for (const [end, other] of [
    [first, last],
    [last, first],
  ] as const)
    end.subscribe(
      (event) => void (event.type === 'disconnected' && event.peerId === other.peerId && lost.push(event.wayLost)),
    );
  const apart = async () => {
    await eventually(() => !first.connected().includes(last.peerId) && !last.connected().includes(first.peerId));
    return lost.splice(0);
  };
  t.is(await reach(), router.peerId);
  // It says goodbye to the streams first, and to the links then.
  await router.stop();
  t.deepEqual(await apart(), [true, true]);
  t.is(await reach(), other.peerId);
  await first.disconnect(last.peerId);
  t.deepEqual(await apart(), [false, false]);
  await router.start();
  for (const end of [first, last]) await linkTogether(end, router);
  t.is(await reach(), router.peerId);
  // The end itself lets go of it.
  await Promise.all([first, last].map((end) => end.disconnect(router.peerId)));
  await apart();
  for (const end of [first, last]) await linkTogether(end, router);
  t.is(await reach(), router.peerId);
});

test('the words for harm name who was harmed and through whom', (t) => {
  const text = (harm: Harm) => harmText(harm, 'press', 'hall-router');
  t.regex(text('altered'), /what came from press through hall-router was altered on the way/);
  t.regex(text('impersonated'), /somebody else than press was met through hall-router/);
  t.false(harmText('altered', 'press', undefined).includes('through'));
});
