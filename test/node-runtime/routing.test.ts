// Routing in a whole fabric on simulated ports: routers that do not reach each other directly find ways through others, edge nodes are
// told what they ask about, and what is lost or revoked is routed round.

import test from 'ava';
import { costSettleMs } from '../../mesh/limits.ts';
import type { Member } from '../../node-runtime/member.ts';
import type { SimBox } from '../../simulations/sim-node.ts';
import { createSimFabric, type SimFabric } from './sim-fabric.ts';

function routingOf(box: SimBox): Member['routing'] {
  const member = box.node().member();
  if (member === undefined) throw new Error(`${box.name} is no member`);
  return member.routing;
}

/** The names of the boxes that streams from one to another pass, decided anew at each of them. */
function path(boxes: readonly SimBox[], from: SimBox, to: SimBox): string[] {
  const names = [from.name];
  let before: SimBox | undefined;
  for (let at = from, hopsLeft = 32; ; ) {
    const step = routingOf(at).step({ destination: to.node().peerId, from: before?.node().peerId, hopsLeft });
    if (step.type === 'deliver') return names;
    if (step.type === 'refuse') return [...names, step.reason];
    const next = boxes.find((box) => box.running && box.node().peerId === step.nextHops[0]);
    if (next === undefined) return [...names, 'nobody'];
    before = at;
    at = next;
    hopsLeft = step.hopsLeft;
    names.push(next.name);
  }
}

const cut = (fabric: SimFabric, one: SimBox, other: SimBox): void =>
  fabric.network.cut(fabric.peerId(one), fabric.peerId(other));

test('routers in a line with an edge node at each end find each other, also after one of them was lost', async (t) => {
  const fabric = await createSimFabric(t, t.title);
  const box1 = fabric.founder;
  const box2 = await fabric.join('box2', 'interior');
  const box3 = await fabric.join('box3', 'interior');
  const box4 = await fabric.join('box4', 'interior');
  const edge = await fabric.join('edge');
  const all = [box1, box2, box3, box4, edge];
  const reaches = (from: SimBox, to: SimBox, names: string[]): (() => boolean) => {
    return () => path(all, from, to).join(' ') === names.join(' ');
  };
  // 1 – 2 – 3 and 1 – 4 – 3, which is slower; the edge node sees 3 alone.
  cut(fabric, box1, box3);
  cut(fabric, box2, box4);
  for (const box of [box1, box2, box4]) cut(fabric, edge, box);
  for (const [one, other, latencyMs] of [
    [box1, box2, 10],
    [box2, box3, 10],
    [box1, box4, 50],
    [box4, box3, 50],
  ] as const) {
    fabric.network.setLatency(fabric.peerId(one), fabric.peerId(other), latencyMs);
  }
  await fabric.clock.advance(costSettleMs);
  await fabric.until('costs as they are now', () => routingOf(box1).costTo(fabric.peerId(box3)) === 41_000);
  await fabric.until('the fast way to the edge node', reaches(box1, edge, ['box1', 'box2', 'box3', 'edge']));
  await fabric.until('the way back', reaches(edge, box1, ['edge', 'box3', 'box2', 'box1']));
  t.is(routingOf(box1).costTo(fabric.peerId(box1)), 0);
  await fabric.until('the direct way to a neighbour', reaches(box1, box4, ['box1', 'box4']));

  box2.crash();
  await fabric.until('the other way round', reaches(box1, edge, ['box1', 'box4', 'box3', 'edge']), 10_000);
  await fabric.until('what that costs', () => routingOf(box1).costTo(fabric.peerId(box3)) === 201_000);

  await box2.start();
  await fabric.until('the fast way again', reaches(box1, edge, ['box1', 'box2', 'box3', 'edge']), 60_000);

  cut(fabric, box3, edge);
  await fabric.until(
    'nobody says that he has the edge node',
    () => routingOf(box1).costTo(fabric.peerId(edge)) === undefined,
  );
  await fabric.until('a reason', reaches(box1, edge, ['box1', 'no route to the node is known']));
});

test('what an operator sets a link to is what it costs, from both ends', async (t) => {
  const fabric = await createSimFabric(t, t.title);
  const box1 = fabric.founder;
  const box2 = await fabric.join('box2', 'interior', { linkCostsMs: new Map([['box1', 300]]) });
  const box3 = await fabric.join('box3', 'interior');
  const [one, two] = [fabric.peerId(box1), fabric.peerId(box2)];
  await fabric.until('the way round it', () => path([box1, box2, box3], box1, box2).join(' ') === 'box1 box3 box2');
  fabric.network.setOverdue(one, fabric.peerId(box3), true);
  t.deepEqual(path([box1, box2, box3], box1, box2), ['box1', 'box2'], 'the dear link, while the other way is overdue');
  fabric.network.setOverdue(one, fabric.peerId(box3), false);
  const wish = { destination: two, from: undefined, hopsLeft: 8 };
  const avoiding = (...avoid: string[]) => routingOf(box1).step({ ...wish, avoid });
  t.like(avoiding(fabric.peerId(box3)), { nextHops: [two, fabric.peerId(box3)] }, 'it led whoever asks to a bad end');
  t.like(avoiding('somebody else'), { nextHops: [fabric.peerId(box3)] });
  t.deepEqual(path([box1, box2, box3], box1, box2), ['box1', 'box3', 'box2']);
  cut(fabric, box1, box3);
  const costs = (): string => `${routingOf(box1).costTo(two)} ${routingOf(box2).costTo(one)}`;
  await fabric.until('no way round it', () => costs() === '300000 300000');
  t.deepEqual(path([box1, box2, box3], box2, box1), ['box2', 'box1']);
});

test('a router that was revoked is in nobody’s routes any more, also where it was no neighbour', async (t) => {
  const fabric = await createSimFabric(t, t.title);
  const box1 = fabric.founder;
  const box2 = await fabric.join('box2', 'interior');
  const box3 = await fabric.join('box3', 'interior');
  cut(fabric, box1, box3);
  const between = (): boolean => routingOf(box1).routes().to(fabric.peerId(box3)) !== undefined;
  await fabric.until('a way from 1 to 3 through 2', between);
  const gone = fabric.peerId(box3);
  await fabric.during(fabric.controller().revoking.revoke('box3', 'lost'));
  await fabric.until('no way to the revoked one', () => routingOf(box1).routes().to(gone) === undefined);
  await fabric.until('nor at the one between', () => routingOf(box2).routes().to(gone) === undefined);
  t.deepEqual([...routingOf(box1).routes().routers().keys()], [fabric.peerId(box2)]);
});
