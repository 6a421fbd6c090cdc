// Peers that are reached through others: real connections on loopback, next hops by hand. What routers on the way see and can do.

import test, { type ExecutionContext } from 'ava';
import { RouteError } from '../../mesh/errors.ts';
import { forwardedStreamsPerPeerMax, routeHopsMax } from '../../mesh/limits.ts';
import type { FrameStream, Mesh, PeerId } from '../../mesh/mesh.ts';
import { routeProtocol } from '../../mesh/routed-streams.ts';
import { nextStep, type Routes } from '../../mesh/routes.ts';
import { eventually } from '../eventually.ts';
import { startNode } from './libp2p-world.ts';

const protocol = '/test/talk/1';
const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const decode = (frame: Uint8Array | undefined): unknown => JSON.parse(Buffer.from(frame ?? []).toString('utf8'));

/** Both admit the other, as after they have proved their membership. */
async function linkTogether(one: Mesh, other: Mesh): Promise<void> {
  await one.connect({ peerId: other.peerId, addresses: other.addresses() });
  await eventually(() => other.connected().includes(one.peerId));
  one.admit(other.peerId);
  other.admit(one.peerId);
}

/** By hand. */
const routesBy = (nextHop: (to: PeerId) => PeerId | undefined): Routes => ({
  to(peerId) {
    const next = nextHop(peerId);
    return next === undefined ? undefined : { costMicroseconds: 1, hops: 1, nextHops: [next] };
  },
  routers: () => new Map(),
});

/** Nodes in a row, linked to their neighbours; all but the ends carry for others. */
async function chain(t: ExecutionContext, length: number): Promise<Mesh[]> {
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
const at = (nodes: readonly Mesh[], index: number): Mesh => nodes.at(index) as Mesh;

function echo(mesh: Mesh): void {
  mesh.handle(protocol, 'admitted', async (stream) => {
    for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive())
      await stream.send(frame);
  });
}

test('two nodes talk through two routers; the connection is as authenticated as any, and ends with the way', async (t) => {
  const nodes = await chain(t, 4);
  const [first, last] = [at(nodes, 0), at(nodes, -1)];
  echo(last);
  t.is(await first.connect({ peerId: last.peerId, addresses: [] }), last.peerId);
  t.is(first.connection(last.peerId)?.through, at(nodes, 1).peerId);
  t.is(first.connection(at(nodes, 1).peerId)?.through, undefined);
  await eventually(() => last.connected().includes(first.peerId));
  t.is(last.connection(first.peerId)?.through, at(nodes, 2).peerId);
  t.is(last.isAdmitted(first.peerId), false, 'whoever is on the way is admitted, the far end is not yet');
  await t.throwsAsync(first.open(last.peerId, protocol));
  last.admit(first.peerId);
  const stream = await first.open(last.peerId, protocol);
  const block = Buffer.alloc(1024 * 1024, 'what the routers do not read');
  for (let round = 0; round < 8; round += 1) {
    await stream.send(block);
    t.is(Buffer.compare((await stream.receive()) ?? new Uint8Array(), block), 0);
  }
  const gone = t.throwsAsync(stream.receive());
  await at(nodes, 2).stop();
  await gone;
  await eventually(() => !first.connected().includes(last.peerId) && !last.connected().includes(first.peerId));
  const error = await t.throwsAsync(first.connect({ peerId: last.peerId, addresses: [] }), { instanceOf: RouteError });
  t.is(error?.at, at(nodes, 1).peerId, 'where it ended');
});

test('where an address answers the connection is direct, also with a route at hand', async (t) => {
  const nodes = await chain(t, 3);
  const [first, last] = [at(nodes, 0), at(nodes, -1)];
  await first.connect({ peerId: last.peerId, addresses: last.addresses() });
  t.truthy(first.connection(last.peerId));
  t.is(first.connection(last.peerId)?.through, undefined);
});

test('a slow reader at the far end stops the writer, and the routers go on for others', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const held = Promise.withResolvers<void>();
  last.handle(protocol, 'admitted', async (stream) => {
    if (String(Buffer.from((await stream.receive()) ?? [])) === 'quick') return stream.send(Buffer.from('quick'));
    await held.promise;
  });
  await first.connect({ peerId: last.peerId, addresses: [] });
  await eventually(() => last.connected().includes(first.peerId));
  last.admit(first.peerId);
  const slow = await first.open(last.peerId, protocol);
  await slow.send(Buffer.from('slow'));
  let taken = 0;
  const chunk = Buffer.alloc(256 * 1024);
  const writing = (async () => {
    for (;;) {
      await slow.send(chunk);
      taken += chunk.length;
    }
  })().catch(() => undefined);
  let before = -1;
  await eventually(
    () => {
      const stopped = taken === before && taken > 0;
      before = taken;
      return stopped;
    },
    { everyMs: 400, what: 'the writer has stopped' },
  );
  t.true(taken < 64 * 1024 * 1024, `${taken} bytes were taken`);
  const quick = await first.open(last.peerId, protocol);
  await quick.send(Buffer.from('quick'));
  t.is(String(Buffer.from((await quick.receive()) ?? [])), 'quick');
  t.deepEqual(new Set(router.connected()), new Set([first.peerId, last.peerId]));
  slow.abort(new Error('enough'));
  held.resolve();
  await writing;
});

/** One wish at a node, by a neighbour that may say what it likes; the answer, or undefined when it was reset. */
async function wish(from: Mesh, node: Mesh, said: unknown): Promise<{ at?: string; reason?: string } | undefined> {
  const stream = await from.open(node.peerId, routeProtocol);
  try {
    await stream.send(said instanceof Uint8Array ? said : encode(said));
    return decode(await stream.receive()) as { at?: string; reason?: string };
  } catch {
    return undefined;
  } finally {
    stream.abort(new Error('done'));
  }
}

test('a router carries nothing that goes in a circle, too far, nowhere, or did not come the way it says', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const good = { to: last.peerId, from: first.peerId, via: [] };
  const reasonOf = async (said: unknown) => (await wish(first, router, said))?.reason;
  t.deepEqual(await wish(first, router, good), {});
  t.regex((await reasonOf({ ...good, to: 'nobody' })) ?? '', /no route/);
  t.regex((await reasonOf({ ...good, to: first.peerId })) ?? '', /circle|leads back|no route/);
  t.regex((await reasonOf({ ...good, from: last.peerId })) ?? '', /did not come the way/);
  t.regex((await reasonOf({ ...good, via: [last.peerId] })) ?? '', /did not come the way/);
  t.regex((await reasonOf({ ...good, via: [router.peerId, first.peerId] })) ?? '', /circle/);
  t.regex((await reasonOf({ ...good, via: [last.peerId, first.peerId] })) ?? '', /leads back/);
  const far = [...Array.from({ length: routeHopsMax - 2 }, (_, index) => `hop-${index}`), first.peerId];
  t.regex((await reasonOf({ ...good, via: far })) ?? '', /as many hops as it may/);
  t.regex((await reasonOf({ ...good, to: router.peerId, from: last.peerId })) ?? '', /did not come the way/);
  t.is(await wish(first, router, { ...good, via: [...far, ...far] }), undefined);
  for (const bad of ['', '{', 'null', '[]', '{"to":5}', `{"to":"${'x'.repeat(1_000)}","from":"a","via":[]}`])
    t.is(await wish(first, router, Buffer.from(bad)), undefined, bad);
  t.regex((await wish(router, last, { to: 'nobody', from: router.peerId, via: [] }))?.reason ?? '', /does not forward/);
  t.deepEqual(await wish(first, router, good), {}, 'and goes on carrying');
});

test('who is not admitted has nothing carried', async (t) => {
  const nodes = await chain(t, 3);
  const stranger = await startNode(t);
  const router = at(nodes, 1);
  await stranger.connect({ peerId: router.peerId, addresses: router.addresses() });
  await t.throwsAsync(stranger.open(router.peerId, routeProtocol));
});

test('one neighbour cannot take the places of all', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const greedy = await startNode(t, { keepAlive: { silentMsMax: 20_000 } });
  await linkTogether(greedy, router);
  // A far end that takes whatever comes and says nothing.
  last.handle(routeProtocol, 'admitted', async (stream) => {
    await stream.receive();
    await stream.send(encode({}));
    await stream.receive();
  });
  const held: FrameStream[] = [];
  const answers: unknown[] = [];
  for (let open = 0; open <= forwardedStreamsPerPeerMax; open += 1) {
    const stream = await greedy.open(router.peerId, routeProtocol);
    await stream.send(encode({ to: last.peerId, from: greedy.peerId, via: [] }));
    answers.push(decode(await stream.receive()));
    held.push(stream);
  }
  t.deepEqual(answers.pop(), { at: router.peerId, reason: 'too many streams are carried' });
  t.true(answers.every((answer) => Object.keys(answer as object).length === 0));
  t.deepEqual(await wish(first, router, { to: last.peerId, from: first.peerId, via: [] }), {});
  for (const stream of held) stream.abort(new Error('done'));
});

/** A router of ours that does with frames as it likes. */
async function hostileChain(t: ExecutionContext, harm: (frame: Uint8Array, index: number) => Uint8Array[]) {
  const [first, router, last] = await Promise.all(
    [0, 1, 2].map(() => startNode(t, { keepAlive: { silentMsMax: 20_000 } })),
  );
  if (first === undefined || router === undefined || last === undefined) throw new Error('three were started');
  await linkTogether(first, router);
  await linkTogether(router, last);
  const routes = routesBy((to) => (to === router.peerId ? to : router.peerId));
  for (const end of [first, last])
    end.route((stream) => nextStep({ self: end.peerId, router: 'edge', routes }, stream));
  const seen: Uint8Array[] = [];
  router.handle(routeProtocol, 'admitted', async (stream) => {
    const { to, from } = decode(await stream.receive()) as { to: string; from: string };
    const onward = await router.open(to, routeProtocol);
    await onward.send(encode({ to, from, via: [router.peerId] }));
    const carry = async (source: FrameStream, target: FrameStream) => {
      for (let index = 0; ; index += 1) {
        const frame = await source.receive();
        if (frame === undefined) return target.close();
        seen.push(frame);
        for (const harmed of harm(frame, index)) await target.send(harmed);
      }
    };
    await Promise.all([carry(stream, onward), carry(onward, stream)]);
  });
  return { first, router, last, seen };
}

const harms: Record<string, (frame: Uint8Array, index: number) => Uint8Array[]> = {
  'flips a bit': (frame, index) => {
    const copy = Uint8Array.from(frame);
    if (index > 12) copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
    return [copy];
  },
  'replays frames': (frame, index) => (index > 12 ? [frame, frame] : [frame]),
  'leaves frames out': (frame, index) => (index === 14 ? [] : [frame]),
};

for (const [name, harm] of Object.entries(harms)) {
  test(`a router that ${name} breaks the connection, and gets nothing read`, async (t) => {
    const { first, last, seen } = await hostileChain(t, harm);
    const secret = `plain-text-${'0123456789'.repeat(20)}`;
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
  });
}

test('a router that answers in the place of the wanted peer is found out', async (t) => {
  const nodes = await chain(t, 3);
  const [first, router, last] = [at(nodes, 0), at(nodes, 1), at(nodes, 2)];
  const other = await startNode(t, { keepAlive: { silentMsMax: 20_000 } });
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
  await t.throwsAsync(first.connect({ peerId: last.peerId, addresses: [] }));
  t.deepEqual(wishes, [last.peerId]);
  t.false(first.connected().includes(last.peerId));
  t.false(first.connected().includes(other.peerId));
});
