// One interior router: when it says its links, what it does with its own past, and what others cannot do to its routes.

import test from 'ava';
import { linkStateLongMs, linkStateRefreshMs, linkStateSweepMs, routesComputeMs } from '../../mesh/limits.ts';
import type { LinkState } from '../../mesh/link-state-format.ts';
import type { Statement } from '../../mesh/statements.ts';
import { createRouter } from '../../node-runtime/router.ts';
import type { SignPayload } from '../../pki/identity.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createTestFabric, type TestNode } from '../mesh/credentials.ts';

const fabric = createTestFabric();
const { fabricId, verifySigned } = fabric;
const [self, one, two, far] = ['self', 'one', 'two', 'far'].map((name) => fabric.node(name, [])) as [
  TestNode,
  TestNode,
  TestNode,
  TestNode,
];
const stranger = createTestFabric().node('one', []);

function world() {
  const clock = createSimClock();
  const said: { statement: Statement; from: string | undefined }[] = [];
  const refused: string[] = [];
  let changes = 0;
  const router = createRouter({
    ...{ fabricId, peerId: self.peerId, node: 'self', bootCounter: 5, clock, jitter: () => 0.5, verifySigned },
    sign: () => self.sign,
    news: (statement, from) => void said.push({ statement, from }),
    onChanged: () => void changes++,
    onRefused: (_, reason) => void refused.push(reason),
  });
  router.start();
  return {
    clock,
    router,
    said,
    refused,
    own: () => said.filter(({ from }) => from === undefined),
    changed: () => changes,
  };
}

const end = (node: TestNode, costMicroseconds = 1_000) => ({ peerId: node.peerId, costMicroseconds });

function stateOf(node: TestNode, changes: Partial<LinkState>, sign: SignPayload = node.sign): string {
  return sign('selvedge-link-state+jws', {
    ...{ fabricId, peerId: node.peerId, node: node.name, router: 'interior', bootCounter: 1, sequence: 1 },
    ...{ neighbours: [], attached: [], ...changes },
  });
}

test('it says its links once, again when they change, and each few hours; changes that do not end less often', async (t) => {
  const { clock, router, own } = world();
  router.linked(one.peerId, 'interior', 1_000);
  router.linked(two.peerId, 'edge', 2_000);
  await clock.advance(1_000);
  t.is(own().length, 1, 'start and both links together');
  router.linked(one.peerId, 'interior', 1_000);
  await clock.advance(10_000);
  t.is(own().length, 1, 'nothing has changed');
  for (let change = 0; change < 1_000; change++) {
    router.linked(one.peerId, 'interior', 2_000 + change);
    await clock.advance(10);
  }
  await clock.advance(1_000);
  t.true(own().length <= 1 + 12 + 10_000 / linkStateLongMs, `${own().length}`);
  const before = own().length;
  await clock.advance(linkStateRefreshMs * 3);
  t.is(own().length, before + 3);
  await clock.advance(linkStateSweepMs * 48);
  t.truthy(router.table.held(self.peerId, 0), 'its own does not age');
  router.stop();
  t.is(clock.pending(), 0);
});

test('a link state of a life that its disk has forgotten is outnumbered, and one of its present life is nothing new', async (t) => {
  const { clock, router, own } = world();
  await clock.advance(100);
  t.like(own().at(-1)?.statement, { bootCounter: 5, sequence: 1 });
  router.receive(one.peerId, stateOf(self, { bootCounter: 9, sequence: 40, neighbours: [end(far)] }));
  await clock.advance(2_000);
  t.like(own().at(-1)?.statement, { bootCounter: 9, sequence: 41 });
  const count = own().length;
  router.receive(one.peerId, stateOf(self, { bootCounter: 9, sequence: 40 }));
  router.receive(one.peerId, own().at(-1)?.statement.jws ?? '');
  await clock.advance(2_000);
  t.is(own().length, count);
});

test('attack: what others forge, replay or claim alone changes no route and is not passed on', async (t) => {
  const { clock, router, said, refused } = world();
  router.linked(one.peerId, 'interior', 1_000);
  const genuine = stateOf(one, { sequence: 5, neighbours: [end(self), end(two)] });
  router.receive(one.peerId, genuine);
  router.receive(one.peerId, stateOf(two, { neighbours: [end(one)] }));
  await clock.advance(1_000);
  const routes = (): unknown => [
    [...router.routes().routers()],
    [one, two, far].map(({ peerId }) => router.routes().to(peerId)),
  ];
  const before = routes();
  t.like(router.routes().to(two.peerId), { costMicroseconds: 2_000, nextHops: [one.peerId] });
  said.length = 0;
  const forged: Record<string, string> = {
    'of another, signed by oneself': stateOf(one, { sequence: 9, neighbours: [] }, two.sign),
    'of another, signed by a controller': stateOf(one, { sequence: 9, neighbours: [] }, fabric.sign),
    'of one who was never admitted': stateOf(stranger, { neighbours: [end(self), end(two)] }),
    'of this node, signed by another': stateOf(self, { bootCounter: 99, neighbours: [end(far)] }, one.sign),
    'with another cost': genuine.replace(/\.[^.]*\./, `.${Buffer.from('{}').toString('base64url')}.`),
  };
  for (const [what, jws] of Object.entries(forged)) {
    const count = refused.length;
    router.receive(two.peerId, jws);
    t.is(refused.length, count + 1, what);
  }
  // Late ones are no offence: they come over several links.
  for (const sequence of [4, 5])
    router.receive(two.peerId, stateOf(one, { sequence, neighbours: [end(self), end(far)] }));
  t.is(refused.length, Object.keys(forged).length);
  await clock.advance(1_000);
  t.deepEqual(said, [], 'none of it was passed on');
  t.deepEqual(routes(), before);

  // One that is admitted claims to be next to everybody, and to have everybody attached: it is passed on, and nobody goes there.
  const everybody = [end(self, 1), end(one, 1), end(two, 1)];
  router.receive(two.peerId, stateOf(far, { neighbours: everybody, attached: everybody }));
  await clock.advance(1_000);
  t.is(said.length, 1);
  t.deepEqual(routes(), before);
});

test('routes follow a link that is lost at once, and what others say within milliseconds', async (t) => {
  const { clock, router, changed } = world();
  router.linked(one.peerId, 'interior', 1_000);
  router.linked(two.peerId, 'interior', 1_000);
  router.receive(one.peerId, stateOf(one, { neighbours: [end(self), end(far)] }));
  router.receive(two.peerId, stateOf(two, { neighbours: [end(self), end(far, 5_000)] }));
  router.receive(two.peerId, stateOf(far, { neighbours: [end(one), end(two, 5_000)] }));
  await clock.advance(routesComputeMs);
  t.deepEqual(router.routes().to(far.peerId)?.nextHops, [one.peerId]);
  const before = changed();
  router.unlinked(one.peerId);
  t.deepEqual(router.routes().to(far.peerId)?.nextHops, [two.peerId]);
  t.true(changed() > before);
  router.receive(two.peerId, stateOf(far, { sequence: 2, neighbours: [] }));
  await clock.advance(routesComputeMs);
  t.is(router.routes().to(far.peerId), undefined);
  router.linked(one.peerId, 'interior', 1_000);
  router.forget((peerId) => peerId === one.peerId);
  t.is(router.routes().to(one.peerId), undefined);
});
