// How statements spread over links: summaries, what is missing and nothing else, slow links, links that are lost in the middle, and peers
// that lie about what they hold. And the pace of changes, and what edge nodes are told.

import test from 'ava';
import { createChangePace } from '../../mesh/change-pace.ts';
import { reachTellMs, statementSpacingMs, statementsPerMessageMax, summaryPositionsMax } from '../../mesh/limits.ts';
import { createSpreading, type Spreading, type SpreadingMessage } from '../../mesh/spreading.ts';
import { compareVersions, type Statement } from '../../mesh/statements.ts';
import { createUplinkRoutes } from '../../mesh/uplink-routes.ts';
import { createReach, type ReachList } from '../../node-runtime/reach.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';

type Mode = 'interior' | 'edge';

/** A table that believes everything newer, as the real ones do once the signature is verified. */
function createNode(clock: SimClock, self: string, router: Mode) {
  const held = new Map<string, Statement>();
  const keyOf = (peerId: string, part: number) => `${peerId}/${part}`;
  const taken: string[] = [];
  /** How often all that is held was gone through. */
  let looks = 0;
  const table = {
    held: (peerId: string, part: number) => held.get(keyOf(peerId, part)),
    all() {
      looks += 1;
      return held.values();
    },
  };
  const nothing = { held: () => undefined, all: () => [] };

  /** The text says what it is, as a signed payload does. */
  function take(jws: string, from: string | undefined): void {
    const [peerId = '', part, bootCounter, sequence] = jws.split(' ');
    const position = { part: Number(part), bootCounter: Number(bootCounter), sequence: Number(sequence) };
    const statement: Statement = { peerId, ...position, jws };
    const before = table.held(peerId, position.part);
    if (before !== undefined && compareVersions(statement, before) <= 0) return;
    held.set(keyOf(peerId, position.part), statement);
    spreading.news('announcement', statement, from);
  }

  const spreading: Spreading = createSpreading({
    ...{ self, router, clock },
    tables: { announcement: table, 'link-state': nothing },
    onStatement(_, from, jws) {
      taken.push(jws);
      take(jws, from);
    },
  });
  return {
    ...{ self, router, spreading, taken, held },
    looks: () => looks,
    say: (sequence: number, part = 0, bootCounter = 1) => take(`${self} ${part} ${bootCounter} ${sequence}`, undefined),
    holds: (jws: string) => take(jws, undefined),
    all: () => [...held.values()].map(({ jws }) => jws).sort(),
  };
}
type Node = ReturnType<typeof createNode>;

interface Wire {
  sent: SpreadingMessage[];
  statements(): string[];
  /** Nothing passes until it is opened again; senders wait. */
  closed: boolean;
  open(): void;
  lose(): void;
}

/** One direction: each message takes a millisecond; a closed one keeps its sender waiting. */
function wire(clock: SimClock, from: Node, to: Node): Wire & { send(message: SpreadingMessage): Promise<void> } {
  let lost = false;
  let opened = Promise.withResolvers<void>();
  const made = {
    sent: [] as SpreadingMessage[],
    statements: () =>
      made.sent.flatMap((message) => (message.type === 'statements' ? message.list.map(({ jws }) => jws) : [])),
    closed: false,
    open() {
      made.closed = false;
      opened.resolve();
      opened = Promise.withResolvers<void>();
    },
    lose() {
      lost = true;
    },
    async send(message: SpreadingMessage) {
      made.sent.push(message);
      const copy = structuredClone(message);
      if (made.closed) await opened.promise;
      clock.setTimeout(() => {
        if (!lost) to.spreading.receive(from.self, copy);
      }, 1);
    },
  };
  return made;
}

function connect(clock: SimClock, one: Node, other: Node) {
  const [there, back] = [wire(clock, one, other), wire(clock, other, one)];
  one.spreading.begin(other.self, other.router, there.send);
  other.spreading.begin(one.self, one.router, back.send);
  const lose = (): void => {
    there.lose();
    back.lose();
    one.spreading.end(other.self);
    other.spreading.end(one.self);
  };
  return { there, back, lose };
}

test('a new link carries what the other side lacks or has older, each way, and nothing else', async (t) => {
  const clock = createSimClock();
  const [one, other] = [createNode(clock, 'A', 'interior'), createNode(clock, 'B', 'interior')];
  for (let at = 0; at < 3_000; at++) {
    one.holds(`P${at} 0 1 ${at % 7}`);
    // Every third is missing, older or newer there.
    if (at % 30 === 1) other.holds(`P${at} 0 1 ${(at % 7) + 5}`);
    else if (at % 30 === 2) other.holds(`P${at} 0 0 99`);
    else if (at % 30 !== 3) other.holds(`P${at} 0 1 ${at % 7}`);
  }
  const { there, back } = connect(clock, one, other);
  await clock.advance(5_000);
  t.deepEqual(one.all(), other.all());
  t.is(there.statements().length, 200);
  t.is(back.statements().length, 100);
  const messages = [...there.sent, ...back.sent];
  t.true(messages.every(({ list }) => list.length <= summaryPositionsMax));
  t.true(messages.every((message) => message.type !== 'statements' || message.list.length <= statementsPerMessageMax));
  t.is(clock.pending(), 0, 'a quiet link has no timer');
});

test('news passes through routers, each link once, and edge nodes pass on nothing but their own', async (t) => {
  const clock = createSimClock();
  const nodes = ['A', 'B', 'C', 'D'].map((name) => createNode(clock, name, 'interior'));
  const edges = ['E', 'F'].map((name) => createNode(clock, name, 'edge'));
  const [a, b, c, d] = nodes as [Node, Node, Node, Node];
  const [e, f] = edges as [Node, Node];
  // A ring, an edge node on two of its routers, and one that hears of the first edge node alone.
  const ring = [connect(clock, a, b), connect(clock, b, c), connect(clock, c, d), connect(clock, d, a)];
  const uplinks = [connect(clock, e, a), connect(clock, e, c)];
  const direct = connect(clock, f, e);
  await clock.advance(100);
  for (const node of [...nodes, ...edges]) node.say(1);
  await clock.advance(1_000);
  const all = ['A 0 1 1', 'B 0 1 1', 'C 0 1 1', 'D 0 1 1', 'E 0 1 1'];
  for (const node of nodes) t.deepEqual(node.all(), all);
  t.deepEqual(e.all(), [...all, 'F 0 1 1']);
  t.deepEqual(f.all(), ['E 0 1 1', 'F 0 1 1']);
  const crossed = ring.flatMap(({ there, back }) => [there.statements(), back.statements()]);
  for (const statements of crossed) t.is(new Set(statements).size, statements.length);
  t.deepEqual(
    uplinks.flatMap(({ there }) => there.statements()),
    ['E 0 1 1', 'E 0 1 1'],
  );
  t.deepEqual(direct.back.statements(), ['E 0 1 1']);
});

test('a slow link is waited for and then gets the newest of each, not all that was said meanwhile', async (t) => {
  const clock = createSimClock();
  const [one, other] = [createNode(clock, 'A', 'interior'), createNode(clock, 'B', 'interior')];
  const { there } = connect(clock, one, other);
  await clock.advance(100);
  there.closed = true;
  for (let sequence = 1; sequence <= 1_000; sequence++) {
    one.say(sequence);
    one.holds(`P 0 1 ${sequence}`);
    await clock.advance(10);
  }
  t.true(there.statements().length <= 2, 'what had been handed over when it became slow');
  there.open();
  await clock.advance(1_000);
  t.deepEqual(other.all(), ['A 0 1 1000', 'P 0 1 1000']);
  t.true(there.statements().length <= 4);
});

test('whoever says a thing anew all the time is heard at a bounded rate, in the end with the newest', async (t) => {
  const clock = createSimClock();
  const [one, other] = [createNode(clock, 'A', 'interior'), createNode(clock, 'B', 'interior')];
  const { there } = connect(clock, one, other);
  await clock.advance(100);
  for (let sequence = 1; sequence <= 5_000; sequence++) {
    one.say(sequence);
    await clock.advance(1);
  }
  await clock.advance(1_000);
  t.deepEqual(other.all(), ['A 0 1 5000']);
  t.true(there.statements().length <= 5_000 / statementSpacingMs + 2, `${there.statements().length}`);
});

test('what was under way when a link was lost comes over the next one, and over the other conversation of the same link', async (t) => {
  const clock = createSimClock();
  const [one, other] = [createNode(clock, 'A', 'interior'), createNode(clock, 'B', 'interior')];
  const first = connect(clock, one, other);
  for (let at = 0; at < 500; at++) one.holds(`P${at} 0 1 1`);
  await clock.advance(3);
  first.lose();
  await clock.advance(1_000);
  t.true(other.all().length < 500);
  const second = connect(clock, one, other);
  await clock.advance(2_000);
  t.is(other.all().length, 500);

  // A message is handed over and lost with its conversation; both ends go on over another.
  second.there.closed = true;
  one.say(1);
  await clock.advance(100);
  const third = wire(clock, one, other);
  second.there.lose();
  one.spreading.end('B');
  one.spreading.begin('B', 'interior', third.send);
  one.spreading.renew('B');
  await clock.advance(1_000);
  t.true(other.all().includes('A 0 1 1'));
});

test('attack: who lies about what he holds or sends saves himself news, and keeps it from nobody else', async (t) => {
  const clock = createSimClock();
  const [router, honest] = [createNode(clock, 'R', 'interior'), createNode(clock, 'H', 'interior')];
  connect(clock, router, honest);
  const told: SpreadingMessage[] = [];
  router.spreading.begin('L', 'interior', async (message) => void told.push(message));
  const say = (message: SpreadingMessage): void => router.spreading.receive('L', message);
  router.say(1);
  await clock.advance(200);
  const huge = { part: 0, bootCounter: Number.MAX_SAFE_INTEGER, sequence: 0 };
  // It holds something newer of everybody, it says.
  say({ type: 'summary', of: 'announcement', list: [{ peerId: 'R', ...huge }], last: true, answer: false });
  // A genuine statement of X, under the name of somebody whose newest is known.
  say({ type: 'statements', of: 'announcement', list: [{ peerId: 'R', ...huge, jws: 'X 0 1 1' }] });
  await clock.advance(200);
  t.deepEqual(honest.all(), ['R 0 1 1', 'X 0 1 1']);
  // Something older under a claim that it is newer.
  say({ type: 'statements', of: 'announcement', list: [{ peerId: 'X', ...huge, jws: 'X 0 0 77' }] });
  router.say(2);
  await clock.advance(200);
  t.deepEqual(honest.all(), ['R 0 1 2', 'X 0 1 1']);
  // It asks for a summary again and again while it reads nothing.
  const before = told.length;
  for (let times = 0; times < 1_000; times++)
    say({ type: 'summary', of: 'announcement', list: [], last: true, answer: true });
  await clock.advance(0);
  t.true(told.length - before <= 2);
  // It says all the time what it has, and reads on.
  const looked = router.looks();
  for (let times = 0; times < 1_000; times++) {
    say({ type: 'summary', of: 'announcement', list: [], last: true, answer: false });
    await clock.advance(1);
  }
  t.true(router.looks() - looked <= 11, `${router.looks() - looked}`);
  // Of kinds that are not spread between such nodes nothing is taken.
  const edge = createNode(clock, 'E', 'edge');
  edge.spreading.begin('R', 'interior', async () => undefined);
  edge.spreading.receive('R', {
    type: 'statements',
    of: 'link-state',
    list: [{ peerId: 'X', ...huge, jws: 'X 0 1 1' }],
  });
  t.deepEqual(edge.taken, []);
});

test('a clock that is set back an hour holds nothing up', async (t) => {
  const clock = createSimClock();
  let offsetMs = 0;
  const shifted = { ...clock, now: () => clock.now() + offsetMs };
  const [one, other] = [createNode(shifted, 'A', 'interior'), createNode(shifted, 'B', 'interior')];
  connect(clock, one, other);
  one.say(1);
  await clock.advance(100);
  one.say(2);
  offsetMs = -3_600_000;
  one.say(3);
  await clock.advance(500);
  t.deepEqual(other.all(), ['A 0 1 3']);
});

test('the first change is acted upon at once, those that follow later, and after quiet at once again', (t) => {
  const pace = createChangePace({ firstMs: 5, shortMs: 100, longMs: 800, learnMs: 1_000, quietMs: 2_000 });
  t.deepEqual(
    [0, 10, 900, 1_100, 2_500, 4_400, 6_400, 6_500].map((at) => pace.delayMs(at)),
    [5, 100, 100, 800, 800, 800, 5, 100],
  );
});

test('an edge node goes to the uplink that told of the cheapest way, past those that have none, and to any for what nobody told', (t) => {
  const routes = createUplinkRoutes();
  t.is(routes.to('X'), undefined);
  routes.set('R1', 'interior', 1_000);
  routes.set('R2', 'interior', 2_000);
  routes.set('E', 'edge', 300);
  routes.want(new Set(['X', 'Y']));
  t.like(routes.to('E'), { costMicroseconds: 300, hops: 1, nextHops: ['E'] });
  t.deepEqual(routes.to('X')?.nextHops, ['R1', 'R2'], 'nobody has told: the nearer one first');
  routes.told('R2', [{ peerId: 'X', costMicroseconds: 100 }]);
  t.deepEqual(routes.to('X'), { costMicroseconds: 2_100, hops: 2, nextHops: ['R2', 'R1'] });
  routes.told('R1', [{ peerId: 'X', costMicroseconds: 900 }]);
  t.deepEqual(routes.to('X'), { costMicroseconds: 1_900, hops: 2, nextHops: ['R1', 'R2'] });
  routes.told('R1', [{ peerId: 'X' }]);
  t.deepEqual(routes.to('X')?.nextHops, ['R2']);
  routes.told('R2', [{ peerId: 'X' }, { peerId: 'unasked' }]);
  t.is(routes.to('X'), undefined);
  t.deepEqual(routes.to('unasked')?.nextHops, ['R1', 'R2'], 'what was not asked is not kept');
  // Another edge node has no say.
  routes.told('E', [{ peerId: 'Y', costMicroseconds: 1 }]);
  t.deepEqual(routes.to('Y')?.nextHops, ['R1', 'R2']);
  routes.want(new Set(['Y']));
  t.deepEqual(routes.to('X')?.nextHops, ['R1', 'R2'], 'forgotten with the wish');
  routes.lost('R1');
  t.deepEqual([...routes.routers().keys()], ['R2']);
});

test('an edge node is told at once what it asks about, and later what has changed of it, together', async (t) => {
  const clock = createSimClock();
  const costs = new Map([
    ['X', 100],
    ['Y', 200],
  ]);
  const reach = createReach({ clock, costTo: (peerId) => costs.get(peerId) });
  const told: ReachList[] = [];
  reach.changed();
  t.is(clock.pending(), 0, 'nobody asked');
  reach.wanted('E', ['X', 'Z', 'X'], (list) => told.push(list));
  t.deepEqual(told.splice(0), [[{ peerId: 'X', costMicroseconds: 100 }, { peerId: 'Z' }]]);
  for (let times = 0; times < 100; times++) {
    costs.set('X', times);
    costs.set('Y', times);
    reach.changed();
  }
  await clock.advance(reachTellMs);
  t.deepEqual(told.splice(0), [[{ peerId: 'X', costMicroseconds: 99 }]]);
  costs.delete('X');
  costs.set('Z', 5);
  reach.changed();
  await clock.advance(reachTellMs);
  t.deepEqual(told.splice(0), [[{ peerId: 'X' }, { peerId: 'Z', costMicroseconds: 5 }]]);
  reach.changed();
  await clock.advance(reachTellMs);
  t.deepEqual(told, [], 'nothing has changed');
  reach.end('E');
  costs.clear();
  reach.changed();
  t.is(clock.pending(), 0);
});
