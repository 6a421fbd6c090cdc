// Peers that are reached through others: real connections on loopback, next hops by hand. What routers on the way carry, and what not.

import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import test from 'ava';
import { RouteError, UnreachableError } from '../../mesh/errors.ts';
import { forwardedStreamsPerPeerMax, routeHopsMax } from '../../mesh/limits.ts';
import type { FrameStream, Mesh } from '../../mesh/mesh.ts';
import { routeProtocol } from '../../mesh/routed-streams.ts';
import { eventually } from '../eventually.ts';
import { startNode } from './libp2p-world.ts';
import { at, chain, decode, encode, linkTogether, protocol } from './routed-world.ts';

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

test('a peer that says the addresses of this node is on another network: it is reached through others, and not asked for here', async (t) => {
  const nodes = await chain(t, 3);
  const [first, last] = [at(nodes, 0), at(nodes, -1)];
  const target = { peerId: last.peerId, addresses: first.addresses() };
  const error = await t.throwsAsync(first.connect({ ...target, direct: true }), { instanceOf: UnreachableError });
  t.is(error?.message, 'its addresses are those of this node: it is on another network');
  await first.connect(target);
  t.is(first.connection(last.peerId)?.through, at(nodes, 1).peerId);
});

test('who may go through others does not wait for a direct dial to an address that is silent', async (t) => {
  const nodes = await chain(t, 3);
  const [first, last] = [at(nodes, 0), at(nodes, -1)];
  const silent = createServer((socket) => socket.on('error', () => undefined));
  await once(silent.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => void silent.close());
  const target = { peerId: last.peerId, addresses: [`/ip4/127.0.0.1/tcp/${(silent.address() as AddressInfo).port}`] };
  const ended: string[] = [];
  const direct = first.connect({ ...target, direct: true }).catch(() => ended.push('direct'));
  await once(silent, 'connection');
  await first.connect({ peerId: last.peerId, addresses: [] });
  ended.push('through others');
  await direct;
  t.deepEqual(ended, ['through others', 'direct']);
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
