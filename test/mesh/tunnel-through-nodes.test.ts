// Calls through routers: real meshes and service networks on loopback, next hops by hand. What is carried, what ends it, and whom a node
// carries nothing for.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { MicroserviceName } from '../../control/plan.ts';
import { carryHeaderBytesMax, routeHopsMax } from '../../mesh/limits.ts';
import type { FindStep, Mesh, PeerId } from '../../mesh/mesh.ts';
import { nextStep, stepNow } from '../../mesh/routes.ts';
import { nodeServerName } from '../../mesh/tunnel-credentials.ts';
import { windowsFor } from '../../mesh/tunnel-windows.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric, type TestNode } from './credentials.ts';
import { startNode as startMesh } from './libp2p-world.ts';
import { ask, brokenWith, callable, dial, type NetworkNode, nameOf, serve, startNode } from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();
const echo = (socket: Socket) => void socket.pipe(socket);

interface RowNode extends NetworkNode {
  mesh: Mesh;
  /** Protocols of the streams that it opened. */
  opened: string[];
}

async function linkTogether(one: Mesh, other: Mesh): Promise<void> {
  await one.connect({ peerId: other.peerId, addresses: other.addresses() });
  await eventually(() => other.connected().includes(one.peerId));
  one.admit(other.peerId);
  other.admit(one.peerId);
}

/** What `from` hears of `to` over their link; without addresses nobody can dial it. */
function tell(from: RowNode, to: RowNode, addresses = to.network.offer()?.addresses ?? []): void {
  from.network.setOffer(to.peerId, { addresses, authorityKeySha256: to.authorityKeySha256 });
}

interface RowNodeOptions {
  name: string;
  router: 'interior' | 'edge';
  runs?: MicroserviceName[];
  /** The neighbours that lead there. */
  ways: (to: PeerId, self: PeerId) => readonly PeerId[];
  isKnown?: (peerId: PeerId) => boolean;
  /** Neighbours that do not answer in time. */
  overdue?: ReadonlySet<PeerId>;
}

async function rowNode(t: ExecutionContext, options: RowNodeOptions): Promise<RowNode> {
  const { name, router, runs = [], ways, isKnown = () => false, overdue = new Set() } = options;
  // A test machine may starve a node for longer than a LAN would be silent.
  const mesh = await startMesh(t, { keepAlive: { silentMsMax: 20_000 } });
  const self = mesh.peerId;
  const own: TestNode = fabric.node(name, runs, self);
  const routes = {
    to(peerId: PeerId) {
      const nextHops = ways(peerId, self);
      return nextHops.length === 0 ? undefined : { costMicroseconds: 1, hops: 1, nextHops };
    },
    routers: () => new Map(),
  };
  const step: FindStep = (stream) =>
    stepNow(nextStep({ self, router, routes }, stream), {
      ...{ destination: stream.destination, isLinked: () => false, isOverdue: (peerId) => overdue.has(peerId) },
    });
  mesh.route(step);
  const opened: string[] = [];
  const node = await startNode(t, fabric, own, {
    mesh: {
      handle: mesh.handle,
      connection(peerId) {
        const facts = mesh.connection(peerId);
        return facts && { ...facts, overdue: overdue.has(peerId) };
      },
      open(peerId, protocol, signal) {
        opened.push(protocol);
        return mesh.open(peerId, protocol, signal);
      },
    },
    isPeerAdmitted: (peerId) => mesh.isAdmitted(peerId) || isKnown(peerId),
    nodeCredential: () => own.ownCredential,
    step,
  });
  return { ...node, mesh, opened };
}

/** Nodes in a row, linked to their neighbours; all but the ends carry for others. The last one serves `sensor`, the first one calls it. */
async function row(t: ExecutionContext, length: number, { dialable = true, knowsFirst = (): boolean => true } = {}) {
  const nodes: RowNode[] = [];
  const place = new Map<PeerId, number>();
  for (let index = 0; index < length; index += 1) {
    const ends = { 0: [monitor], [length - 1]: [sensor] };
    const node = await rowNode(t, {
      ...{ name: `node-${index}`, runs: ends[index] ?? [] },
      router: index > 0 && index < length - 1 ? 'interior' : 'edge',
      ways(to, self) {
        const next = nodes[index + Math.sign((place.get(to) ?? index) - index)]?.peerId;
        return next === undefined || next === self ? [] : [next];
      },
      isKnown: (peerId) => nodes[0]?.peerId === peerId && knowsFirst(),
    });
    place.set(node.peerId, index);
    const before = nodes[index - 1];
    nodes.push(node);
    if (before !== undefined) await linkTogether(before.mesh, node.mesh);
  }
  for (const [index, node] of nodes.entries()) {
    for (const other of [nodes[index - 1], nodes[index + 1]])
      if (other !== undefined) tell(node, other, dialable || other !== nodes.at(-1) ? undefined : []);
  }
  const [first, last] = [nodes[0] as RowNode, nodes.at(-1) as RowNode];
  tell(first, last, []);
  const caller = await first.attach(monitor, { calls: [callable('sensor')] });
  await last.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  first.network.setEndpoints([last.endpoint(sensor)]);
  return { nodes, first, last, address: caller.address('sensor') };
}

/** On a busy box a neighbour may be asked to dial back although it can be dialled. */
function noneOverLinks(t: ExecutionContext, nodes: readonly RowNode[]): void {
  t.false(nodes.some(({ opened }) => opened.includes('/selvedge/tunnel/1')));
}

test('a call goes through two routers, and no stream of a link carries it', async (t) => {
  const { nodes, address } = await row(t, 4);
  t.is(await ask(t, address, 'anybody there?'), 'anybody there?');
  const block = 'as much as does not fit into one frame '.repeat(40_000);
  t.is(await ask(t, address, block), block);
  noneOverLinks(t, nodes);
});

test('a node that cannot be dialled dials back when it is asked', async (t) => {
  const { nodes, address } = await row(t, 3, { dialable: false });
  t.is(await ask(t, address, 'from within'), 'from within');
  t.true(nodes[1]?.opened.includes('/selvedge/tunnel-back/1'));
  noneOverLinks(t, nodes);
});

test('a call ends with a link on its way, and so do those that would follow', async (t) => {
  const { nodes, first, last, address } = await row(t, 3);
  const router = nodes[1] as RowNode;
  const socket = await dial(t, address);
  socket.write('hello');
  await once(socket, 'data');
  const broken = brokenWith(socket);
  router.network.setOffer(last.peerId, undefined);
  t.is(await broken, 'ECONNRESET');
  t.is(await brokenWith(await dial(t, address)), 'ECONNRESET');
  t.regex(first.outcomes.at(-1)?.reason ?? '', /no tunnel to sensor/);
  tell(router, last);
  t.is(await ask(t, address, 'again'), 'again');
});

test('calls to a node whose way was lost go by another one at once, and it takes them before there is a link again', async (t) => {
  let known = true;
  const { nodes, first, last, address } = await row(t, 3, { knowsFirst: () => known });
  const router = nodes[1] as RowNode;
  tell(last, first, []);
  t.is(await ask(t, address, 'before'), 'before');
  known = false;
  // What was open ends with the way.
  router.network.setOffer(last.peerId, undefined);
  tell(router, last);
  first.network.loseWay(last.peerId);
  const asked = last.denied.length;
  const answer = ask(t, address, 'once it is known again');
  await eventually(() => last.denied.length > asked);
  known = true;
  tell(first, last, []);
  t.is(await answer, 'once it is known again', 'the far end had lost none');
  known = false;
  for (const [one, other] of [
    [first, last],
    [last, first],
  ] as const)
    one.network.loseWay(other.peerId);
  // On the session that stands, and on a new one.
  t.is(await ask(t, address, 'in between'), 'in between');
  router.network.setOffer(last.peerId, undefined);
  tell(router, last);
  t.is(await ask(t, address, 'anew'), 'anew');
});

test('new calls go round a neighbour that does not answer in time where another one leads there, and nothing ends for it', async (t) => {
  const overdue = new Set<PeerId>();
  const direct = (to: PeerId) => [to];
  const [one, two] = [
    await rowNode(t, { name: 'one', router: 'interior', ways: direct }),
    await rowNode(t, { name: 'two', router: 'interior', ways: direct }),
  ];
  const uplinks = [one.peerId, two.peerId];
  const isKnown = () => true;
  const first = await rowNode(t, {
    ...{ name: 'first', router: 'edge', runs: [monitor], isKnown, overdue },
    ways: (to) => (uplinks.includes(to) ? [to] : uplinks),
  });
  const last = await rowNode(t, { name: 'last', router: 'edge', runs: [sensor], ways: direct, isKnown });
  for (const router of [one, two])
    for (const end of [first, last]) {
      await linkTogether(end.mesh, router.mesh);
      tell(end, router);
      tell(router, end);
    }
  tell(first, last, []);
  const caller = await first.attach(monitor, { calls: [callable('sensor')] });
  await last.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  first.network.setEndpoints([last.endpoint(sensor)]);
  const ways = () => [one, two].map((router) => router.network.carries(last.peerId));
  const address = caller.address('sensor');

  const held = await dial(t, address);
  held.write('held');
  await once(held, 'data');
  t.deepEqual(ways(), [true, false]);
  overdue.add(one.peerId);
  t.is(await ask(t, address, 'round it'), 'round it');
  await eventually(() => ways().every((carries) => carries));
  // Nothing that is open was ended for it.
  held.write('held on');
  await once(held, 'data');

  overdue.add(two.peerId);
  t.is(await ask(t, address, 'none is better'), 'none is better');
  overdue.clear();
  t.is(await ask(t, address, 'as before'), 'as before');
});

/** A connection to a node by the credential of another one. */
async function connect(t: ExecutionContext, to: RowNode, { ownCredential }: TestNode): Promise<TLSSocket> {
  const [host = '', port = ''] = (to.network.offer()?.addresses[0] ?? '').split(':');
  const { keyPem: key, chainPem: cert } = ownCredential;
  const socket = connectTls({
    ...{ host, port: Number(port), servername: nodeServerName, key, cert },
    ...{ ALPNProtocols: ['http/1.1'], rejectUnauthorized: false, minVersion: 'TLSv1.3' },
  });
  socket.on('error', () => undefined);
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** What comes back for these lines, until the other side has ended it or said that it carries. */
async function answered(socket: Socket, lines: string[]): Promise<string> {
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.startsWith('HTTP/1.1 200') && text.endsWith('\r\n\r\n')) break;
  }
  return text;
}

const wish = (socket: Socket, to: PeerId, from: PeerId, via: PeerId[]): Promise<string> =>
  answered(socket, [
    `CONNECT ${to} HTTP/1.1`,
    `host: ${to}`,
    `selvedge-from: ${from}`,
    `selvedge-via: ${via.join(' ')}`,
  ]);

test('a router carries nothing that goes in a circle, too far, nowhere, or did not come the way it says', async (t) => {
  const { nodes, first, last } = await row(t, 3);
  const router = nodes[1] as RowNode;
  const ask = async (...asked: Parameters<typeof wish> extends [unknown, ...infer Rest] ? Rest : never) =>
    wish(await connect(t, router, first), ...asked);
  const why = async (to: PeerId, from: PeerId, via: PeerId[] = []) => {
    const answer = await ask(to, from, via);
    const of = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(answer)?.[1];
    return `${answer.split(' ')[1]} ${of('selvedge-at') === router.peerId} ${of('selvedge-reason')}`;
  };
  t.regex(await ask(last.peerId, first.peerId, []), /^HTTP\/1\.1 200 /);
  t.regex(await why('nobody', first.peerId), /^502 true no route/);
  t.regex(await why(last.peerId, last.peerId), /^502 true it did not come the way/);
  t.regex(await why(last.peerId, 'somebody', [router.peerId, first.peerId]), /^502 true it goes in a circle/);
  t.regex(await why(last.peerId, 'somebody', [last.peerId, first.peerId]), /^502 true its route leads back/);
  const far = Array.from({ length: routeHopsMax - 1 }, (_, index) => `hop-${index}`);
  t.regex(await why(last.peerId, 'somebody', [...far, first.peerId]), /^502 true it has taken as many hops/);
  t.regex(await why(last.peerId, 'somebody', [...far, ...far, first.peerId]), /^502 true it did not come the way/);
  t.regex(await ask(last.peerId, first.peerId, []), /^HTTP\/1\.1 200 /, 'and goes on carrying');
  t.regex(await answered(await connect(t, router, first), ['GET / HTTP/1.1', 'host: x']), /^HTTP\/1\.1 405 /);
  t.is(
    await answered(await connect(t, router, first), [`x: ${'y'.repeat(carryHeaderBytesMax)}`]),
    '',
    'no words for junk',
  );
});

test('who is no linked node has nothing carried, whatever certificate it has', async (t) => {
  const { nodes, first, last } = await row(t, 3);
  const router = nodes[1] as RowNode;
  const unlinked = fabric.node('unlinked', []);
  const namesake = fabric.node('node-0', [], first.peerId);
  const foreign = createTestFabric().node('node-0', [], first.peerId);
  const workload = { ...first, ownCredential: first.issue(monitor) };
  for (const who of [unlinked, namesake, foreign, workload]) {
    const socket = await connect(t, router, who);
    t.is(await wish(socket, last.peerId, first.peerId, []).catch(() => ''), '');
  }
});

test('who is linked through others is no neighbour, and has nothing carried', async (t) => {
  const { nodes, first, last } = await row(t, 4, { knowsFirst: () => false });
  const router = nodes[2] as RowNode;
  await first.mesh.connect({ peerId: router.peerId, addresses: [] });
  await eventually(() => router.mesh.connected().includes(first.peerId));
  router.mesh.admit(first.peerId);
  tell(router, first, []);
  const ask = async () => wish(await connect(t, router, first), last.peerId, first.peerId, []).catch(() => '');
  t.is(await ask(), '');
  await first.mesh.connect({ peerId: router.peerId, addresses: router.mesh.addresses(), direct: true });
  await eventually(() => router.mesh.connection(first.peerId)?.through === undefined);
  t.regex(await ask(), /^HTTP\/1.1 200/);
});

test('windows grow with the way, by powers of two, and hold no more in all', (t) => {
  const mebibyte = 1024 * 1024;
  const of = (ms: number | undefined) => windowsFor(ms === undefined ? undefined : ms * 1_000);
  t.deepEqual(of(undefined), { streamBytes: 2 * mebibyte, sessionBytes: 16 * mebibyte, streamsMax: 512 });
  t.deepEqual(of(0.2), of(undefined));
  t.deepEqual(of(12), { streamBytes: 4 * mebibyte, sessionBytes: 16 * mebibyte, streamsMax: 512 });
  t.deepEqual(of(63), { streamBytes: 16 * mebibyte, sessionBytes: 32 * mebibyte, streamsMax: 128 });
  t.deepEqual(of(60_000), of(63));
});
