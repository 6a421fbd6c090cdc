// What a link costs and when a link is said: smoothing, hysteresis, and links that come and go.

import test from 'ava';
import { createLiveness, sampleRoundTrip } from '../../mesh/keep-alive.ts';
import {
  costSettleMs,
  flapForgottenMs,
  flapHoldMs,
  flapHoldMsMax,
  forwardingCostMicroseconds,
  linkCostMicrosecondsMax,
  unknownCostMicroseconds,
} from '../../mesh/limits.ts';
import { boundedCost, costOfRoundTrip, createLinkCost, sampleCost } from '../../mesh/link-cost.ts';
import { createOwnLinks } from '../../mesh/own-links.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';

test('the first sample is the cost; it is a whole number within bounds', (t) => {
  const cost = createLinkCost();
  t.true(sampleCost(cost, 1.2345, 0));
  t.is(cost.saidMicroseconds, 1_235 + forwardingCostMicroseconds);
  t.is(costOfRoundTrip(0), forwardingCostMicroseconds);
  t.is(boundedCost(0), 1);
  t.is(boundedCost(-5), 1);
  t.is(boundedCost(1e12), linkCostMicrosecondsMax);
});

test('noise never changes a cost: a week of uneven round trips with bursts of load', (t) => {
  const random = createSimRandom('noise');
  const cost = createLinkCost();
  const liveness = createLiveness(0, true);
  let changes = 0;
  let burstUntil = 0;
  for (let second = 0; second < 7 * 86_400; second += 5) {
    // Each half hour or so something fills the link for up to eight seconds.
    if (second > burstUntil + 120 && random.next() < 0.003) burstUntil = second + 8 * random.next();
    const sample = (second < burstUntil ? 60 : 20) * (0.9 + 0.2 * random.next());
    sampleRoundTrip(liveness, sample);
    if (sampleCost(cost, liveness.roundTripMs ?? 0, second * 1_000)) changes += 1;
  }
  t.is(changes, 1, 'the first one');
});

test('a link that has really changed is said once, when it has been so for a while', (t) => {
  const cost = createLinkCost();
  sampleCost(cost, 20, 0);
  let saidAt: number | undefined;
  let changes = 0;
  for (let at = 1_000; at <= 120_000; at += 300) {
    if (!sampleCost(cost, 80, at)) continue;
    saidAt ??= at;
    changes += 1;
  }
  t.is(changes, 1);
  t.true(saidAt !== undefined && saidAt >= 1_000 + costSettleMs && saidAt < 1_600 + costSettleMs);
  t.is(cost.saidMicroseconds, costOfRoundTrip(80));
});

test('what returns into the band, or crosses to its other side, begins anew', (t) => {
  const cost = createLinkCost();
  sampleCost(cost, 20, 0);
  t.false(sampleCost(cost, 80, 1_000));
  t.false(sampleCost(cost, 21, 1_000 + costSettleMs - 1));
  t.false(sampleCost(cost, 80, 1_000 + costSettleMs));
  t.false(sampleCost(cost, 1, 1_000 + 2 * costSettleMs), 'now too cheap, and that only just');
  t.false(sampleCost(cost, 1, 1_000 + 3 * costSettleMs - 1));
  t.true(sampleCost(cost, 1, 1_000 + 3 * costSettleMs));
});

test('two links of equal cost that take turns being busy stay equal', (t) => {
  const costs = [createLinkCost(), createLinkCost()];
  for (const cost of costs) sampleCost(cost, 10, 0);
  let changes = 0;
  for (let at = 1_000; at < 600_000; at += 1_000) {
    // All traffic takes the one for nine seconds, then the other.
    const busy = Math.floor(at / 9_000) % 2;
    for (const [index, cost] of costs.entries()) if (sampleCost(cost, index === busy ? 30 : 10, at)) changes += 1;
  }
  t.is(changes, 0);
});

test('links are said in order, routers and edge nodes apart, and a lost one at once not any more', (t) => {
  const links = createOwnLinks();
  links.set('C', 'interior', undefined, 0);
  links.set('A', 'interior', 700, 0);
  links.set('B', 'edge', 900, 0);
  const all = {
    neighbours: [
      { peerId: 'A', costMicroseconds: 700 },
      { peerId: 'C', costMicroseconds: unknownCostMicroseconds },
    ],
    attached: [{ peerId: 'B', costMicroseconds: 900 }],
  };
  t.deepEqual(links.said(0), all);
  t.deepEqual(links.current(), all);
  links.set('B', 'interior', 900, 5);
  t.deepEqual(links.said(5).attached, []);
  links.lost('A', 10);
  links.lost('A', 11);
  t.deepEqual(
    links.said(10).neighbours.map(({ peerId }) => peerId),
    ['B', 'C'],
  );
});

test('a link that comes and goes is said ever later, one that was restarted once is not, and time forgives', (t) => {
  const links = createOwnLinks();
  let now = 0;
  const comesBackAfter = (): number => {
    links.lost('A', now);
    now += 100;
    links.set('A', 'interior', 700, now);
    t.is(links.current().neighbours.length, 1, 'this node itself need not doubt it');
    const waitMs = links.nextMs(now) ?? 0;
    t.is(links.said(now).neighbours.length, waitMs === 0 ? 1 : 0);
    now += waitMs;
    t.is(links.said(now).neighbours.length, 1);
    t.is(links.nextMs(now), undefined);
    return waitMs;
  };
  links.set('A', 'interior', 700, now);
  const waits = Array.from({ length: 10 }, comesBackAfter);
  t.deepEqual(waits.slice(0, 5), [0, flapHoldMs, 2 * flapHoldMs, 4 * flapHoldMs, 8 * flapHoldMs]);
  t.is(waits.at(-1), flapHoldMsMax);
  now += flapForgottenMs;
  t.is(comesBackAfter(), 0);
});

test('a cost that changes while a link is held back does not begin its wait anew', (t) => {
  const links = createOwnLinks();
  for (let loss = 0; loss < 2; loss++) {
    links.set('A', 'interior', 700, 100_000);
    links.lost('A', 100_000);
  }
  links.set('A', 'interior', 700, 100_000);
  links.set('A', 'interior', 800, 100_500);
  t.is(links.nextMs(100_500), flapHoldMs - 500);
  t.is(links.said(100_000 + flapHoldMs).neighbours.length, 1);
});
