import test from 'ava';
import type { FrameStream } from '../../mesh/mesh.ts';
import { type Presentation, presentMembership } from '../../pki/enrollment-client.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createFramePair } from '../frame-pair.ts';
import { createSite, serve } from './enrollment-fixture.ts';
import { createFabric, type Fabric, type Member } from './fabric-fixture.ts';

const frame = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const presentationOf = (
  fabric: Fabric,
  member: Member,
  to: Member,
  stream: FrameStream,
  more: Partial<Presentation> = {},
) => ({
  stream,
  peerId: to.peerId,
  chain: member.chain,
  verifyChain: createChainVerifier({ fabricId: fabric.id, clock: fabric.clock }),
  clock: fabric.clock,
  ...more,
});

test('members admit each other: nodes and controllers, each with its own chain', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const other = fabric.addNode('box3');
  for (const [from, to] of [
    [node, fabric.controller],
    [fabric.controller, node],
    [node, other],
  ] as const) {
    const server = serve(fabric, to);
    const { near } = server.open(from.peerId);
    const verified: string[] = [];
    const identity = await presentMembership(
      presentationOf(fabric, from, to, near, { onVerified: ({ peerId }) => void verified.push(peerId) }),
    );
    t.is(identity.peerId, to.peerId);
    t.deepEqual(verified, [to.peerId]);
    t.is(server.welcomed[0]?.peerId, from.peerId);
    t.is(server.welcomed[0]?.identity.peerId, from.peerId);
  }
});

test('a chain that another peer presents admits nobody', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const server = serve(fabric, fabric.controller);
  const thief = fabric.newPeerId();
  const { near } = server.open(thief);
  await t.throwsAsync(presentMembership(presentationOf(fabric, node, fabric.controller, near)), {
    name: 'EnrollmentRefusedError',
  });
  t.deepEqual(server.welcomed, []);
  t.deepEqual(server.refusals, [{ peerId: thief, reason: 'presented chain: wrong-peer' }]);
});

test('a workload’s chain, a foreign chain and an expired one admit nobody', async (t) => {
  const fabric = createFabric();
  const name = { project: 'p', application: 'a', microservice: 'm' };
  const node = fabric.addNode('box2', { covers: [name] });
  const workload = { ...node, chain: fabric.issueWorkload(node, name).chain };
  const foreign = createFabric().controller;
  const server = serve(fabric, fabric.controller);
  for (const [member, reason] of [
    [workload, 'wrong-kind'],
    [foreign, 'foreign-root'],
  ] as const) {
    const { near } = server.open(member.peerId);
    await t.throwsAsync(presentMembership(presentationOf(fabric, member, fabric.controller, near)), {
      name: 'EnrollmentRefusedError',
    });
    t.regex(server.refusals.at(-1)?.reason ?? '', new RegExp(reason));
  }
  t.deepEqual(server.welcomed, []);
});

test('an answerer that is not the peer of its chain gets to see no chain of ours', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const pair = serve(fabric, fabric.controller).open(node.peerId);
  const impostor = { ...fabric.controller, peerId: fabric.newPeerId() };
  await t.throwsAsync(presentMembership(presentationOf(fabric, node, impostor, pair.near)), {
    name: 'UntrustedAnswerError',
  });
  t.is(pair.sentByNear.length, 1);
});

test('an answerer that says nothing is given up after the step’s time, and the stream with it', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const pair = createFramePair('x');
  const outcome = t.throwsAsync(presentMembership(presentationOf(fabric, node, fabric.controller, pair.near)), {
    name: 'EnrollmentTimeoutError',
  });
  await fabric.clock.advance(15_000);
  await outcome;
  await pair.far.receive().catch(() => undefined);
  await t.throwsAsync(pair.far.send(frame({})), { name: 'EnrollmentTimeoutError' });
  t.is(fabric.clock.pending(), 0);
});

test('an asker that says nothing is given up by the server', async (t) => {
  const fabric = createFabric();
  const { served } = serve(fabric, fabric.controller).open(fabric.newPeerId());
  await fabric.clock.advance(15_000);
  t.is((await served)?.name, 'EnrollmentTimeoutError');
  t.is(fabric.clock.pending(), 0);
});

test('a cancelled presentation ends with the signal’s reason and leaves no timer', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const cancel = new AbortController();
  const { near } = createFramePair('x');
  const outcome = presentMembership(presentationOf(fabric, node, fabric.controller, near, { signal: cancel.signal }));
  await fabric.clock.settle();
  cancel.abort(new Error('the node stops'));
  await t.throwsAsync(outcome, { message: 'the node stops' });
  t.is(fabric.clock.pending(), 0);
});

test('frames that are not of the protocol end the stream and change nothing', async (t) => {
  const { server, newBox, requests } = await createSite();
  const hello = { type: 'hello' };
  for (const frames of [
    [new Uint8Array()],
    [new TextEncoder().encode('hello')],
    [frame([])],
    [frame({ type: 'hello', more: 1 })],
    [frame(hello), frame({ type: 'present' })],
    [frame(hello), frame({ type: 'present', chain: [] })],
    [frame(hello), frame({ type: 'present', chain: ['not base64!'] })],
    [frame(hello), frame({ type: 'present', chain: Array(5).fill('AAAA') })],
    [frame(hello), frame({ type: 'token', secret: 'x' })],
    [frame(hello), new Uint8Array(300_000)],
  ]) {
    const { near, served } = server.open(newBox().peerId);
    for (const each of frames) await near.send(each);
    t.is((await served)?.name, 'EnrollmentProtocolError');
  }
  t.deepEqual([requests, server.welcomed], [[], []]);
  t.is(server.refusals.length, 10);
});

test('a chain of the largest certificates fits a frame', async (t) => {
  const fabric = createFabric();
  const covers = Array.from({ length: 256 }, (_, index) => ({
    project: 'p'.repeat(63),
    application: 'a'.repeat(63),
    microservice: `${'m'.repeat(60)}${String(index).padStart(3, '0')}`,
  }));
  const node = fabric.addNode('box2', { covers });
  const server = serve(fabric, fabric.controller);
  const { near } = server.open(node.peerId);
  await presentMembership(presentationOf(fabric, node, fabric.controller, near));
  const identity = server.welcomed[0]?.identity;
  t.is(identity?.kind === 'node' && identity.covers.length, 256);
});
