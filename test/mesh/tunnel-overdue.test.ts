// Calls that find the way of their session overdue: another way where there is one, and the old one where there is none. Two nodes with a real
// link; who is overdue, and what becomes of what is opened then, by hand.

import type { Http2Session } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { betterWayMs, betterWayRetryMs, doubtMs } from '../../mesh/limits.ts';
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
  /** Calls wait for a better session for as long as a busy box needs. */
  isPatient: boolean;
  /** Of the next ones. */
  open: 'well' | 'silent' | 'refused';
}

type Standing = Awaited<ReturnType<typeof oneSession>>;

async function oneSession(t: ExecutionContext) {
  const [meshOfNear, meshOfFar] = await linkedMeshes(t);
  const far = await startNode(t, fabric, fabric.node('two', [sensor]), { mesh: meshOfFar });
  await far.attach(sensor, { listens: { 8080: await serve(t, (socket: Socket) => void socket.pipe(socket)) } });
  const way: Way = { streams: [], tries: 0, isOverdue: () => false, isPatient: false, open: 'well' };
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
  /** What was waited for since the last call began. */
  const waits: number[] = [];
  const clock: Clock = {
    ...system,
    elapsed: () => system.elapsed() + aheadMs,
    setTimeout(run, delayMs) {
      waits.push(delayMs);
      return system.setTimeout(run, way.isPatient && delayMs === betterWayMs ? 60_000 : delayMs);
    },
  };
  const client = createTunnelClient({
    ...{ clock, verifyChain: fabric.verifyChain, isPeerRevoked: () => false },
    ...{ tellDenied: () => undefined, costOf: () => undefined, overLink },
  });
  t.teardown(() => client.close());
  const { peerId, authorityKeySha256 } = far;
  client.setOffer(peerId, { addresses: [], authorityKeySha256 });
  const near = fabric.node('one', [monitor]);
  const credential = loadCredential(near.issue(monitor), monitor, fabric.verifyChain);
  const caller = { ...monitor, serverName: '', credential, instances: [] };
  /** One call, which is answered, and the session that it went by. */
  async function call(): Promise<Http2Session | undefined> {
    waits.length = 0;
    const stream = await client.open(caller, far.endpoint(sensor), new AbortController().signal);
    const { session } = stream;
    stream.destroy();
    return session;
  }
  const pass = (ms: number): void => {
    aheadMs += ms;
  };
  const first = await call();
  t.is(way.tries, 1);
  return { way, call, first, pass, waits, client, peerId };
}

test('calls go by another way, all by the same new session, and by what stands when it answers again', async (t) => {
  const { way, call, first } = await oneSession(t);
  way.isOverdue = (stream) => stream === way.streams[0];
  way.isPatient = true;
  const [one, other] = await Promise.all([call(), call()]);
  t.not(one, first);
  t.is(one, other);
  t.is(await call(), one);
  t.is(way.streams.length, 2);
  t.false(way.streams[0]?.destroyed);
  way.isOverdue = () => false;
  t.is(await call(), first);
  t.is(way.tries, 2);
});

test('what seems overdue until what has arrived is read costs nothing', async (t) => {
  const { way, call, first } = await oneSession(t);
  let overdue = true;
  way.isOverdue = () => {
    setTimeout(() => {
      overdue = false;
    }, doubtMs / 4);
    return overdue;
  };
  t.is(await call(), first);
  t.false(overdue);
  t.is(way.tries, 1);
});

test('attack: where the other way is silent, calls go by the one that is overdue, and those that follow wait no longer', async (t) => {
  const { way, call, first, pass, waits } = await oneSession(t);
  way.isOverdue = () => true;
  way.open = 'silent';
  t.is(await call(), first);
  t.true(waits.includes(betterWayMs));
  pass(betterWayMs);
  t.is(await call(), first);
  t.deepEqual(
    waits.filter((ms) => ms > doubtMs && ms <= betterWayMs),
    [],
  );
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

for (const [what, end] of [
  ['the link is gone', ({ client, peerId }: Standing) => client.setOffer(peerId, undefined)],
  ['the network stops', ({ client }: Standing) => client.close()],
] as const)
  test(`nothing is opened any more when ${what} while a call waits`, async (t) => {
    const standing = await oneSession(t);
    const { way, call } = standing;
    way.isOverdue = () => true;
    const refused = t.throwsAsync(call(), { message: /there is no link to/ });
    end(standing);
    for (const stream of way.streams) stream.destroy();
    await refused;
    t.is(way.tries, 1);
  });
