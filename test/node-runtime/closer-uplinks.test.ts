// Edge nodes look for closer routers: in virtual time, on simulated links whose delays are set by hand.

import test from 'ava';
import { createCloserUplinks } from '../../node-runtime/closer-uplinks.ts';
import { measuredPerLookMax, uplinkLookFirstMs, uplinkLookMsMax } from '../../node-runtime/limits.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimFabric } from './sim-fabric.ts';

test('an edge node comes to have the two closest routers as uplinks, one after the other, and never fewer than two', async (t) => {
  const { clock, network, founder, join, linkedTo, until, peerId, said } = await createSimFabric(t, 'closest uplinks');
  const routers = [founder];
  for (const name of ['box2', 'box3', 'box4']) routers.push(await join(name, 'interior'));
  const edge = await join('edge');
  // The controller is the farthest of them, the others come closer with their number.
  for (const [index, router] of routers.entries())
    network.setLatency(peerId(edge), peerId(router), [80, 40, 10, 2][index] ?? 0);
  const from = said('edge').length;
  await until(
    'the two closest ones, and its controller',
    async () => {
      await clock.advance(60_000);
      return (await linkedTo(edge)).join() === 'box1,box3,box4';
    },
    6 * 3_600_000,
  );
  const news = said('edge')
    .slice(from)
    .filter((line) => /^(un)?linked /.test(line));
  t.false(
    news.some((line) => line.startsWith('unlinked') && !line.includes('closer routers have taken its place')),
    news.join('\n'),
  );
  // From then on nothing comes and goes.
  const settled = said('edge').length;
  await clock.advance(3 * 3_600_000);
  t.deepEqual(
    said('edge')
      .slice(settled)
      .filter((line) => /^(un)?linked /.test(line)),
    [],
  );
});

function search(routers: number, changes: { seldomer?: number } = {}) {
  const clock = createSimClock();
  const measured: { peerId: string; atMs: number }[] = [];
  const letGo: string[] = [];
  let surplus: string[] = [];
  const closer = createCloserUplinks({
    clock,
    jitter: () => 0.5,
    seldomer: () => changes.seldomer ?? 1,
    candidates: () =>
      Array.from({ length: routers }, (_, index) => ({ peerId: `router-${index}`, addresses: [] })).sort(
        (one, other) => (closer.measuredAt(one.peerId) ?? 0) - (closer.measuredAt(other.peerId) ?? 0),
      ),
    async measure({ peerId }) {
      measured.push({ peerId, atMs: clock.now() });
      if (peerId === 'router-1') throw new Error('it does not answer');
      return 1_000;
    },
    onMeasured: () => undefined,
    surplus: () => surplus,
    letGo(peerId) {
      letGo.push(peerId);
      surplus = surplus.filter((one) => one !== peerId);
    },
  });
  closer.start();
  return {
    ...{ clock, measured, letGo, closer },
    setSurplus(peers: string[]) {
      surplus = peers;
    },
  };
}

test('a look measures a few routers, one after the other; when nothing is new looks are ever seldomer', async (t) => {
  const { clock, measured, closer } = search(5);
  await clock.advance(uplinkLookFirstMs - 1);
  t.is(measured.length, 0);
  await clock.advance(30_000);
  t.is(measured.length, measuredPerLookMax);
  t.is(new Set(measured.map(({ atMs }) => atMs)).size, measuredPerLookMax, 'not all at once');
  t.deepEqual([closer.costOf('router-0'), closer.costOf('router-1')], [1_000, undefined]);
  await clock.advance(3 * uplinkLookFirstMs);
  t.is(new Set(measured.map(({ peerId }) => peerId)).size, 5, 'one that does not answer is passed by');
  await clock.advance(24 * 3_600_000);
  const day = measured.length;
  await clock.advance(24 * 3_600_000);
  t.true(measured.length - day <= (measuredPerLookMax * 24 * 3_600_000) / uplinkLookMsMax, 'three an hour');
  t.true(measured.length - day >= 60);
  closer.lookSoon();
  const before = measured.length;
  await clock.advance(2 * uplinkLookFirstMs);
  t.true(measured.length > before, 'somewhere else it looks soon');
  closer.stop();
});

test('where bytes are paid for it looks that much seldomer', async (t) => {
  const { clock, measured, closer } = search(3, { seldomer: 50 });
  await clock.advance(49 * uplinkLookFirstMs);
  t.is(measured.length, 0);
  await clock.advance(7 * 86_400_000);
  t.true(measured.length >= 2 * measuredPerLookMax && measured.length <= 10 * measuredPerLookMax, `${measured.length}`);
  closer.stop();
});

test('one uplink is let go at a look, after what is new has stood for a while; none after the end', async (t) => {
  const { clock, letGo, closer, setSurplus } = search(3);
  setSurplus(['far', 'farther']);
  await clock.advance(uplinkLookFirstMs + 20_000);
  t.deepEqual(letGo, []);
  await clock.advance(30_000);
  t.deepEqual(letGo, ['far']);
  closer.stop();
  await clock.advance(86_400_000);
  t.deepEqual(letGo, ['far']);
});
