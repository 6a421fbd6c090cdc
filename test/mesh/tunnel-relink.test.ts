// Calls to a node whose link was lost a moment ago: they wait for another way, unless somebody else answers or the link has been gone for long.

import type { Socket } from 'node:net';
import { connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { relinkMs } from '../../mesh/limits.ts';
import { createRelinks } from '../../mesh/relinks.ts';
import { createTunnelClient } from '../../mesh/tunnel-client.ts';
import { loadCredential } from '../../mesh/tunnel-credentials.ts';
import type { TunnelOverLink } from '../../mesh/tunnel-over-link.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import {
  answering,
  ask,
  brokenWith,
  callable,
  link,
  linkedMeshes,
  nameOf,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();
const echo = (socket: Socket) => void socket.pipe(socket);

async function twoNodes(t: ExecutionContext) {
  const near = await startNode(t, fabric, fabric.node('one', [monitor, sensor]));
  const far = await startNode(t, fabric, fabric.node('two', [sensor]));
  const caller = await near.attach(monitor, { calls: [callable('sensor')] });
  await far.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  near.network.setEndpoints([far.endpoint(sensor)]);
  link(near, far);
  const address = caller.address('sensor');
  t.is(await ask(t, address, 'before'), 'before');
  return { near, far, address };
}

test('a call that finds the link lost is answered over the next one', async (t) => {
  const { near, far, address } = await twoNodes(t);
  near.network.setOffer(far.peerId, undefined);
  const answer = ask(t, address, 'in between');
  link(near, far);
  t.is(await answer, 'in between');
  t.is(near.outcomes.at(-1)?.outcome, 'connected');
});

test('where another node serves it nobody waits for the link that was lost', async (t) => {
  const { near, far, address } = await twoNodes(t);
  await near.attach(sensor, { index: 1, listens: { 8080: await serve(t, answering('here')) } });
  near.network.setEndpoints([far.endpoint(sensor), near.endpoint(sensor, { index: 1 })]);
  near.network.setOffer(far.peerId, undefined);
  for (let call = 0; call < 4; call += 1) t.is(await ask(t, address, 'x'), 'here');
});

test('where another node serves it nobody tries one whose way was lost', async (t) => {
  const [meshOfNear, meshOfFar] = await linkedMeshes(t);
  const near = await startNode(t, fabric, fabric.node('one', [monitor, sensor]), { mesh: meshOfNear });
  const far = await startNode(t, fabric, fabric.node('two', [sensor]), { mesh: meshOfFar });
  const caller = await near.attach(monitor, { calls: [callable('sensor')] });
  await far.attach(sensor, { listens: { 8080: await serve(t, answering('there')) } });
  await near.attach(sensor, { index: 1, listens: { 8080: await serve(t, answering('here')) } });
  near.network.setEndpoints([far.endpoint(sensor), near.endpoint(sensor, { index: 1 })]);
  link(near, far);
  near.network.loseWay(far.peerId);
  for (let call = 0; call < 4; call += 1) t.is(await ask(t, caller.address('sensor'), 'x'), 'here');
  near.network.setEndpoints([far.endpoint(sensor)]);
  t.is(await ask(t, caller.address('sensor'), 'x'), 'there', 'the stream of the link is a way');
});

test('a call on its way round ends when there is a link again, and goes over that', async (t) => {
  const far = await startNode(t, fabric, fabric.node('two', [sensor]));
  await far.attach(sensor, { listens: { 8080: await serve(t, echo) } });
  const near = fabric.node('one', [monitor]);
  let begun = 0;
  /** Whoever carries is silent. */
  const overLink: TunnelOverLink = {
    open(_, signal) {
      begun += 1;
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
    },
    through: () => undefined,
    serve: () => undefined,
  };
  const client = createTunnelClient({
    ...{ clock: createSystemClock(), verifyChain: fabric.verifyChain, isPeerRevoked: () => false },
    ...{ tellDenied: () => undefined, costOf: () => undefined, overLink },
  });
  t.teardown(() => client.close());
  const credential = loadCredential(near.issue(monitor), monitor, fabric.verifyChain);
  const caller = { ...monitor, serverName: '', credential, instances: [] };
  const open = () => client.open(caller, far.endpoint(sensor), new AbortController().signal);
  const { addresses = [] } = far.network.offer() ?? {};
  const { authorityKeySha256 } = far;
  client.setOffer(far.peerId, { addresses, authorityKeySha256 });
  client.loseWay(far.peerId);
  const [one, other] = [open(), open()];
  await eventually(() => begun === 1);
  client.setOffer(far.peerId, { addresses, authorityKeySha256 });
  const streams = await Promise.all([one, other, open()]);
  t.is(begun, 1);
  for (const stream of streams) stream.destroy();
});

test('a call to a node that has had no link for long fails at once, with the reason', async (t) => {
  const { near, address } = await twoNodes(t);
  const never = fabric.node('three', [sensor]);
  const gone = await startNode(t, fabric, never);
  near.network.setEndpoints([gone.endpoint(sensor)]);
  t.is(await brokenWith(connect(8080, address)), 'ECONNRESET');
  t.regex(near.outcomes.at(-1)?.reason ?? '', /there is no link to/);
});

test('a call that hangs up waits for nothing any more', async (t) => {
  const { near, far, address } = await twoNodes(t);
  near.network.setOffer(far.peerId, undefined);
  const socket = connect(8080, address);
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => {
    socket.once('connect', () => resolve());
  });
  const before = near.outcomes.length;
  socket.resetAndDestroy();
  await eventually(() => near.outcomes.length > before);
  t.is(near.outcomes.at(-1)?.outcome, 'failed');
});

test('what a node offered holds for a moment after its way was lost, where calls go through others at all', async (t) => {
  const clock = createSimClock();
  let revoked = false;
  const overLink: TunnelOverLink = {
    open: () => Promise.reject(new Error('not asked')),
    through: () => undefined,
    serve: () => undefined,
  };
  const options = { clock, verifyChain: fabric.verifyChain, isPeerRevoked: () => revoked, tellDenied: () => undefined };
  const client = createTunnelClient({ ...options, costOf: () => undefined, overLink });
  const offer = { addresses: ['192.0.2.1:7434'], authorityKeySha256: 'its key' };
  client.loseWay('far');
  t.false(client.hasLostWay('far'), 'it never had a link');
  client.setOffer('far', offer);
  t.deepEqual([client.hasLink('far'), client.hasLostWay('far')], [true, false]);
  client.loseWay('far');
  t.deepEqual([client.hasLink('far'), client.hasLostWay('far')], [false, true]);
  client.setOffer('far', offer);
  t.deepEqual([client.hasLink('far'), client.hasLostWay('far')], [true, false], 'there is a link again');
  client.loseWay('far');
  await clock.advance(relinkMs - 1);
  client.sweep();
  t.true(client.hasLostWay('far'));
  await clock.advance(1);
  client.sweep();
  t.deepEqual([client.hasLink('far'), client.hasLostWay('far')], [false, false]);
  client.setOffer('far', offer);
  client.loseWay('far');
  revoked = true;
  client.sweep();
  t.false(client.hasLostWay('far'), 'it was revoked');

  const direct = createTunnelClient({ ...options, costOf: () => undefined });
  direct.setOffer('far', offer);
  direct.loseWay('far');
  t.false(direct.hasLostWay('far'));
});

test('waiting ends with the link, with its time, and for another peer not at all', async (t) => {
  const clock = createSimClock();
  const relinks = createRelinks({ clock });
  const { signal } = new AbortController();
  let ended = 0;
  const wait = async (peer: string): Promise<void> => {
    await relinks.wait(new Set([peer]), signal);
    ended += 1;
  };
  await wait('a');
  t.is(ended, 1, 'it was never there');
  relinks.lost('a');
  const linked = wait('a');
  relinks.linked('b');
  await clock.advance(1);
  t.is(ended, 1);
  relinks.linked('a');
  await linked;
  t.is(ended, 2);
  relinks.lost('a');
  await clock.advance(relinkMs - 10);
  const late = wait('a');
  await clock.advance(9);
  t.is(ended, 2);
  await clock.advance(1);
  await late;
  await wait('a');
  t.is(ended, 4, 'it has been gone for long');
});
