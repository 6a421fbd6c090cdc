// Who serves what, told over routers and edge nodes in virtual time: 500 services on 60 nodes in `npm test`, 10,000 on 200 in `npm run soak` (as the
// bench `announcing`). Everybody hears of what he calls, and edge nodes of nothing else; what is unready or has moved is called by nobody within a
// second; and what an admitted node says of others changes nobody's choice, wherever it sits.

import test, { type ExecutionContext } from 'ava';
import { type Announcement, announcementType, ticketType } from '../../mesh/announcement-format.ts';
import type { RouterMode } from '../../mesh/own-links.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createSimRouters, type SimRouters, type SimServed } from '../../simulations/sim-routers.ts';
import { isSoak } from '../slice.ts';
import { settle } from './router-graph.ts';
import { serviceWorld } from './service-world.ts';

/** Line 6 of the fabric's promises: no new connections after this. */
const heardWithinMs = 1_000;

/** Virtual time until it holds. */
async function until(clock: SimClock, what: string, holds: () => boolean): Promise<number> {
  const beganAtMs = clock.now();
  while (!holds()) {
    if (clock.now() - beganAtMs > 60_000) throw new Error(`not within a minute of virtual time: ${what}`);
    await clock.advance(10);
  }
  return clock.now() - beganAtMs;
}

const size = isSoak ? { routers: 12, edges: 188, services: 10_000 } : { routers: 12, edges: 48, services: 500 };

test(`${size.services} services on ${size.routers + size.edges} nodes: each hears of what it calls, in time, and edge nodes of nothing else`, async (t) => {
  t.timeout(1_200_000);
  const clock = createSimClock();
  const world = serviceWorld({ clock, random: createSimRandom('announcing'), ...size, callsPerEdge: 10 });
  const { routers } = world.nodes;
  const started = await settle(clock, world.nodes);
  const kilobytes = (list: readonly number[]): string => {
    const mean = list.reduce((sum, one) => sum + one, 0) / list.length;
    return `${(mean / 1e3).toFixed(0)} kB in the mean, ${(Math.max(...list) / 1e3).toFixed(0)} at most`;
  };
  const received = (mode: RouterMode) =>
    routers.flatMap((router) => (router.mode === mode ? [router.receivedBytes] : []));
  t.log(`start: ${started.tookMs} ms, ${started.traffic.messages} messages`);
  t.log(`bytes for each edge node: ${kilobytes(received('edge'))}`);
  t.log(`bytes for each router: ${kilobytes(received('interior'))}`);

  const wrong = (): string[] =>
    world.edges.flatMap((edge) => {
      const heard = new Map(routers[edge]?.endpoints().map((one) => [one.microservice, one]));
      return world.calledBy(edge).flatMap((name) => {
        const [now, wanted] = [heard.get(name), world.placeOf(name)];
        if (wanted.node === edge) return [];
        const isRight = now?.peerId === routers[wanted.node]?.peerId && now?.ready === wanted.ready;
        return isRight ? [] : [`${edge} of ${name}`];
      });
    });
  t.deepEqual(wrong(), []);
  for (const edge of world.edges) {
    const servers = new Set(world.calledBy(edge).map((name) => routers[world.placeOf(name).node]?.peerId));
    const others = routers[edge]?.endpoints().filter(({ peerId }) => !servers.has(peerId)) ?? [];
    t.deepEqual(others, [], `${edge} heard of nodes that serve nothing for it`);
  }

  for (let round = 0; round < 5; round++) {
    world.setReady(world.someService(), false);
    const took = await until(clock, 'callers to have heard that it is not ready', () => wrong().length === 0);
    t.true(took <= heardWithinMs, `${took} ms`);
    world.move(world.someService());
    const moved = await until(clock, 'callers to have heard of the new place', () => wrong().length === 0);
    t.true(moved <= heardWithinMs, `${moved} ms`);
    if (round === 0) t.log(`unready: ${took} ms; moved: ${moved} ms`);
  }

  const [caller = 0] = world.edges;
  const before = world.calledBy(caller);
  world.setCalls(caller, world.servicesOf(world.edges.at(-1) ?? 0).slice(0, 1));
  await until(clock, 'the other service to be heard of', () => wrong().length === 0);
  const left = new Set(routers[caller]?.endpoints().map(({ peerId }) => peerId));
  t.is(left.size, 1, 'what is called no more is forgotten');
  // Meanwhile what was forgotten changes, and is wanted again.
  for (const name of before) world.setReady(name, !world.placeOf(name).ready);
  await settle(clock, world.nodes);
  world.setCalls(caller, before);
  await until(clock, 'what it called before to be heard of again', () => wrong().length === 0);

  // A node starts again and serves less: what it said before counts nowhere.
  const restarted = world.placeOf(before[0] ?? '').node;
  const gone = world.servicesOf(restarted);
  world.nodes.crash(restarted);
  await clock.advance(2_000);
  world.nodes.restart(restarted);
  world.nodes.serve(restarted, []);
  world.relink(restarted);
  await until(clock, 'nobody to hold what it served before', () =>
    world.edges.every((edge) => !routers[edge]?.endpoints().some(({ microservice }) => gone.includes(microservice))),
  );
  t.deepEqual(world.nodes.refused, []);
});

/** Three routers in a row: an attacker behind the first, a caller behind the second, and who serves behind the third. */
async function attackWorld(t: ExecutionContext) {
  const clock = createSimClock();
  const modes: RouterMode[] = ['interior', 'interior', 'interior', 'edge', 'edge', 'edge'];
  const nodes = createSimRouters({ clock, random: createSimRandom(t.title), modes });
  const [attacker, caller, server] = [3, 4, 5];
  for (const [one, other] of [
    [0, 1],
    [1, 2],
    [0, attacker],
    [1, caller],
    [2, server],
  ] as const)
    nodes.link(one, other, 2_000);
  nodes.call(caller, ['web', 'other']);
  const web: SimServed = { microservice: 'web', index: 0, ready: true, generation: 5 };
  nodes.serve(server, [web]);
  await settle(clock, nodes);
  const at = (index: number) => nodes.routers[index] as SimRouters['routers'][number];
  const choices = () =>
    [0, 1, 2, caller].map((index) =>
      at(index)
        .endpoints()
        .filter((one) => one.microservice === 'web'),
    );
  let sequence = 100;
  return {
    ...{ clock, nodes, web, server: at(server), attacker: at(attacker), choices },
    serve: (served: readonly SimServed[]) => nodes.serve(server, served),
    /** Hands it to the attacker's router, as the newest there is of whom it is about. */
    async say(jws: string, about = at(attacker).peerId): Promise<void> {
      sequence += 1;
      const position = { peerId: about, part: 0, bootCounter: 9_999, sequence };
      nodes.send(attacker, 0, { type: 'statements', of: 'announcement', list: [{ ...position, jws }] });
      await settle(clock, nodes);
    },
    /** Signed by the attacker's own authority, as its newest. */
    announcement: (changes: Partial<Announcement> & Pick<Announcement, 'instances'>): string => {
      sequence += 1;
      const { peerId, sign } = at(attacker);
      return sign(announcementType, {
        ...{ fabricId: nodes.fabric.fabricId, peerId, node: `router-${attacker}`, bootCounter: 9_999, sequence },
        ...changes,
      });
    },
  };
}

const instance = 'default.web.web.0';
const about = { application: 'web', microservice: 'web', instance };

for (const [title, ticketOf] of [
  [
    'the ticket of another node',
    ({ nodes, server }) => nodes.fabric.ticket({ ...about, peerId: server.peerId, generation: 5 }),
  ],
  [
    'a generation that it signed itself',
    ({ attacker, nodes }) =>
      attacker.sign(ticketType, {
        ...{ ...about, fabricId: nodes.fabric.fabricId, project: 'default', ports: [8080], peerId: attacker.peerId },
        ...{ epoch: 1, term: 1, generation: 99 },
      }),
  ],
  [
    'a ticket whose generation it has edited',
    ({ attacker, nodes }) => {
      const [header, body = '', signature] = nodes.fabric
        .ticket({ ...about, peerId: attacker.peerId, generation: 1 })
        .split('.');
      const edited = { ...JSON.parse(Buffer.from(body, 'base64url').toString()), generation: 99 };
      return [header, Buffer.from(JSON.stringify(edited)).toString('base64url'), signature].join('.');
    },
  ],
  [
    'the ticket of before the instance moved away',
    ({ attacker, nodes }) => nodes.fabric.ticket({ ...about, peerId: attacker.peerId, generation: 4 }),
  ],
] as const satisfies [string, (world: Awaited<ReturnType<typeof attackWorld>>) => string][]) {
  test(`attack: an admitted node announces another’s instance over routers, with ${title}`, async (t) => {
    const world = await attackWorld(t);
    const before = world.choices();
    t.is(before.at(-1)?.length, 1);
    const own = world.nodes.fabric.ticket({
      ...{ application: 'other', microservice: 'other', instance: 'default.other.other.0' },
      ...{ peerId: world.attacker.peerId, generation: 5 },
    });
    const instances = [
      { instance, ready: true, ticket: ticketOf(world) },
      { instance: 'default.other.other.0', ready: true, ticket: own },
    ];
    await world.say(world.announcement({ instances }));
    t.deepEqual(world.choices(), before);
    const caller = world.nodes.routers[4]?.endpoints().map(({ microservice }) => microservice);
    t.deepEqual(caller, ['other', 'web'], 'its own it may announce, and that arrived');
    // Neither once the true one is not ready, nor after that one has said nothing for long.
    world.serve([{ ...world.web, ready: false }]);
    await settle(world.clock, world.nodes);
    t.deepEqual(
      world.choices().map((list) => list.map(({ ready, peerId }) => [ready, peerId])),
      before.map(() => [[false, world.server.peerId]]),
    );
  });
}

test('attack: an admitted node replays what another one said before, or signs in its name, over routers', async (t) => {
  const world = await attackWorld(t);
  const { nodes, server, attacker, web } = world;
  const ticket = nodes.fabric.ticket({ ...about, peerId: server.peerId, generation: 5 });
  const said = { fabricId: nodes.fabric.fabricId, peerId: server.peerId, node: 'router-5', bootCounter: 1 };
  // Genuine, and of before it was not ready.
  const old = server.sign(announcementType, { ...said, sequence: 1, instances: [{ instance, ready: true, ticket }] });
  world.serve([{ ...web, ready: false }]);
  await settle(world.clock, nodes);
  const before = world.choices();
  t.deepEqual(
    before.map(([one]) => one?.ready),
    [false, false, false, false],
  );
  await world.say(old, server.peerId);
  await world.say(old, attacker.peerId);
  const forged = attacker.sign(announcementType, {
    ...{ ...said, bootCounter: 50, sequence: 50 },
    instances: [{ instance, ready: true, ticket }],
  });
  await world.say(forged, server.peerId);
  t.deepEqual(world.choices(), before);
  t.true(nodes.refused.some((reason) => reason.includes('signed by another peer')));
});
