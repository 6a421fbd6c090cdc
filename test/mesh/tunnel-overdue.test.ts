// Calls that find the way of their session overdue: another way where there is one, and the old one where there is none. Two nodes with a real
// link; who is overdue, and what becomes of what is opened then, by hand.

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { betterWayRetryMs } from '../../mesh/limits.ts';
import { createTunnelClient } from '../../mesh/tunnel-client.ts';
import { loadCredential } from '../../mesh/tunnel-credentials.ts';
import { createTunnelOverLink, type TunnelOverLink } from '../../mesh/tunnel-over-link.ts';
import type { Clock } from '../../node-runtime/clock.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createTestFabric } from './credentials.ts';
import { linkedMeshes, nameOf, serve, startNode } from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();

interface Way {
  /** In the order in which they were opened. */
  streams: Duplex[];
  /** Tries, with those that came to nothing. */
  tries: number;
  isOverdue: (stream: Duplex) => boolean;
  /** Of the next ones. */
  open: 'well' | 'silent' | 'refused';
}

async function oneSession(t: ExecutionContext) {
  const [meshOfNear, meshOfFar] = await linkedMeshes(t);
  const far = await startNode(t, fabric, fabric.node('two', [sensor]), { mesh: meshOfFar });
  await far.attach(sensor, { listens: { 8080: await serve(t, (socket: Socket) => void socket.pipe(socket)) } });
  const way: Way = { streams: [], tries: 0, isOverdue: () => false, open: 'well' };
  const link = createTunnelOverLink(meshOfNear);
  const overLink: TunnelOverLink = {
    ...link,
    async open(peerId, signal) {
      way.tries += 1;
      if (way.open === 'refused') throw new Error('nobody carries it');
      if (way.open === 'silent')
        return new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
        );
      const stream = await link.open(peerId, signal);
      way.streams.push(stream);
      return stream;
    },
    isOverdue: (stream) => way.isOverdue(stream),
  };
  const system = createSystemClock();
  let aheadMs = 0;
  const clock: Clock = { ...system, elapsed: () => system.elapsed() + aheadMs };
  const client = createTunnelClient({
    ...{ clock, verifyChain: fabric.verifyChain, isPeerRevoked: () => false },
    ...{ tellDenied: () => undefined, costOf: () => undefined, overLink },
  });
  t.teardown(() => client.close());
  client.setOffer(far.peerId, { addresses: [], authorityKeySha256: far.authorityKeySha256 });
  const near = fabric.node('one', [monitor]);
  const credential = loadCredential(near.issue(monitor), monitor, fabric.verifyChain);
  const caller = { ...monitor, serverName: '', credential, instances: [] };
  /** One call, which is answered. */
  const call = async (): Promise<void> => {
    const stream = await client.open(caller, far.endpoint(sensor), new AbortController().signal);
    stream.destroy();
  };
  await call();
  t.is(way.tries, 1);
  const pass = (ms: number): void => {
    aheadMs += ms;
  };
  return { way, call, pass };
}

test('calls go by another way, all by the same new session, and by what stands when it answers again', async (t) => {
  const { way, call } = await oneSession(t);
  way.isOverdue = (stream) => stream === way.streams[0];
  await Promise.all([call(), call(), call()]);
  await call();
  t.is(way.streams.length, 2);
  t.false(way.streams[0]?.destroyed);
  way.isOverdue = () => false;
  await call();
  t.is(way.tries, 2);
});

test('what seems overdue because this process did not run costs nothing', async (t) => {
  const { way, call } = await oneSession(t);
  let asked = 0;
  way.isOverdue = () => {
    asked += 1;
    return asked <= 2;
  };
  await call();
  t.is(way.tries, 1);
  t.true(asked > 2);
});

test('attack: where the other way is silent, calls go by the one that is overdue, and so do those that follow', async (t) => {
  const { way, call } = await oneSession(t);
  way.isOverdue = () => true;
  way.open = 'silent';
  await Promise.all([call(), call()]);
  await call();
  t.is(way.tries, 2);
});

for (const [what, open] of [
  ['there is none', 'refused'],
  ['it is no better', 'well'],
] as const)
  test(`another way is not looked for again at once when ${what}`, async (t) => {
    const { way, call, pass } = await oneSession(t);
    way.isOverdue = () => true;
    way.open = open;
    for (let number = 0; number < 4; number += 1) await call();
    t.is(way.tries, 2);
    pass(betterWayRetryMs);
    await call();
    t.is(way.tries, 3);
  });
