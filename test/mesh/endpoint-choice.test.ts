// Which instance a call goes to: each policy as a table, and what must hold of it whoever comes and goes.

import test from 'ava';
import type { Balancing } from '../../control/plan.ts';
import { chooseEndpoint, type EndpointChoice, whyNoEndpoint } from '../../mesh/endpoint-choice.ts';
import { equalCostMicroseconds, equalCostRatio } from '../../mesh/limits.ts';
import type { Endpoint } from '../../mesh/service-network.ts';
import { createSimRandom, type SimRandom } from '../../simulations/sim-random.ts';

const service = { project: 'default', application: 'cold-chain', microservice: 'monitor', port: 8080 };
const nameOf = (index: number | string) => `default.cold-chain.monitor.${index}`;
const endpointOf = (index: number | string, changes: Partial<Endpoint> = {}): Endpoint => ({
  ...service,
  instance: nameOf(index),
  peerId: 'peer',
  ready: true,
  ...changes,
});

type Choice = Partial<Omit<EndpointChoice, 'wanted'>> & { balancing?: Balancing; ejected?: ReadonlySet<string> };

function choose(endpoints: readonly Endpoint[], { balancing, ejected = new Set(), ...choice }: Choice = {}) {
  return chooseEndpoint({
    endpoints,
    wanted: { ...service, ...(balancing && { balancing }) },
    caller: 'default.cold-chain.dashboard.0',
    localPeerId: 'here',
    excluded: new Set(),
    isEjected: ({ instance }) => ejected.has(instance),
    after: undefined,
    costOf: () => undefined,
    openCallsTo: () => 0,
    ...choice,
  });
}

const indexOf = (endpoint: Endpoint | undefined) => endpoint?.instance.split('.')[3];
const names = (...indexes: string[]) => new Set(indexes.map(nameOf));

/** Each history from a seed of its own, so that one that fails can be run alone. */
function histories(count: number, run: (random: SimRandom, below: (limit: number) => number, seed: string) => void) {
  for (let seed = 0; seed < count; seed += 1) {
    const random = createSimRandom(`endpoint choice ${seed}`);
    run(random, (limit) => Math.floor(random.next() * limit), `seed ${seed}`);
  }
}

for (const [title, endpoints, options, expected] of [
  ['none is announced', [], {}, undefined],
  ['the only one is not ready', [endpointOf('a', { ready: false })], {}, undefined],
  ['one is not ready', [endpointOf('a', { ready: false }), endpointOf('b')], {}, 'b'],
  ['another port', [endpointOf('a', { port: 9090 })], {}, undefined],
  ['another application', [endpointOf('a', { application: 'other' })], {}, undefined],
  ['another project', [endpointOf('a', { project: 'other' })], {}, undefined],
  ['one was tried', [endpointOf('a'), endpointOf('b')], { excluded: names('a') }, 'b'],
  ['all were tried', [endpointOf('a')], { excluded: names('a') }, undefined],
  ['one is ejected', [endpointOf('a'), endpointOf('b')], { ejected: names('a') }, 'b'],
  ['all are ejected', [endpointOf('a'), endpointOf('b')], { ejected: names('a', 'b'), after: nameOf('a') }, 'b'],
  [
    'the only other one was tried',
    [endpointOf('a'), endpointOf('b')],
    { ejected: names('a'), excluded: names('b') },
    'a',
  ],
  ['the last one is gone', [endpointOf('a'), endpointOf('c')], { after: nameOf('b') }, 'c'],
  ['the last one was the last in order', [endpointOf('a'), endpointOf('b')], { after: nameOf('b') }, 'a'],
] as const) {
  test(`choice when ${title}`, (t) => {
    t.is(indexOf(choose(endpoints, options)), expected);
  });
}

test('round-robin is exactly even, in whatever order the table is', (t) => {
  const endpoints = ['c', 'a', 'b'].map((name) => endpointOf(name));
  const counts = new Map<string, number>();
  let after: string | undefined;
  for (let call = 0; call < 300; call += 1) {
    after = choose(endpoints, { after })?.instance;
    counts.set(after ?? '', (counts.get(after ?? '') ?? 0) + 1);
  }
  t.deepEqual(Object.fromEntries(counts), { [nameOf('a')]: 100, [nameOf('b')]: 100, [nameOf('c')]: 100 });
});

test('of two instances that stay ready neither ever has two calls more, whoever comes and goes beside them', (t) => {
  histories(60, (random, below, seed) => {
    const ready = Array.from({ length: 8 }, () => random.next() < 0.5);
    /** Of each pair: how far the first is ahead since both are there, and the furthest that was in either direction. */
    const pairs = new Map<string, { ahead: number; least: number; most: number }>();
    let after: string | undefined;
    for (let step = 0; step < 400; step += 1) {
      if (random.next() < 0.3) {
        const index = below(8);
        ready[index] = !ready[index];
        for (const key of pairs.keys()) if (key.split(' ').includes(`${index}`)) pairs.delete(key);
      }
      const chosen = choose(
        ready.map((one, index) => endpointOf(index, { ready: one })),
        { after },
      );
      t.is(chosen === undefined, !ready.includes(true), seed);
      if (chosen === undefined) continue;
      after = chosen.instance;
      for (let one = 0; one < 8; one += 1) {
        for (let other = one + 1; other < 8; other += 1) {
          if (!ready[one] || !ready[other]) continue;
          const pair = pairs.get(`${one} ${other}`) ?? { ahead: 0, least: 0, most: 0 };
          if (after === nameOf(one)) pair.ahead += 1;
          if (after === nameOf(other)) pair.ahead -= 1;
          pair.least = Math.min(pair.least, pair.ahead);
          pair.most = Math.max(pair.most, pair.ahead);
          pairs.set(`${one} ${other}`, pair);
          if (pair.most - pair.least > 1) t.fail(`${seed}, step ${step}: ${one} and ${other}`);
        }
      }
    }
  });
});

const sticky: Balancing = { policy: 'sticky' };
const callers = Array.from({ length: 500 }, (_, index) => `default.cold-chain.dashboard.${index}`);
const homesAmong = (endpoints: readonly Endpoint[], more: Choice = {}) =>
  new Map(callers.map((caller) => [caller, choose(endpoints, { ...more, balancing: sticky, caller })?.instance]));

test('sticky: a caller stays with its instance, whichever was called before and in whatever order the table is', (t) => {
  const endpoints = Array.from({ length: 5 }, (_, index) => endpointOf(index));
  const homes = homesAmong(endpoints);
  t.deepEqual(homesAmong(endpoints.toReversed(), { after: nameOf(3) }), homes);
  const shares = endpoints.map(({ instance }) => [...homes.values()].filter((home) => home === instance).length);
  for (const share of shares) t.true(share > 60 && share < 140, `about a fifth of 500 each: ${shares}`);
});

test('sticky: who goes moves its own callers alone, and who comes takes only what is its own', (t) => {
  histories(8, (random, below, seed) => {
    const ready = Array.from({ length: 6 }, () => true);
    const table = () => ready.map((one, index) => endpointOf(index, { ready: one }));
    let homes = homesAmong(table());
    for (let step = 0; step < 8; step += 1) {
      const index = below(6);
      ready[index] = !ready[index];
      if (!ready.includes(true)) ready[index] = true;
      // An ejection moves as little as a loss does.
      const ejected = random.next() < 0.3 ? names(`${below(6)}`) : new Set<string>();
      const plain = homesAmong(table());
      for (const [caller, home] of plain) {
        if (home === homes.get(caller)) continue;
        t.is(ready[index] ? home : homes.get(caller), nameOf(index), `${seed}: ${caller} has moved for nothing`);
      }
      const isAlone = ready.filter((one) => one).length === 1;
      for (const [caller, home] of homesAmong(table(), { ejected })) {
        const before = plain.get(caller) as string;
        if (isAlone || !ejected.has(before)) t.is(home, before, seed);
        else t.not(home, before, seed);
      }
      homes = plain;
    }
  });
});

const costs: Record<string, number | undefined> = { near: 2_000, beside: 2_400, far: 30_000, unknown: undefined };
const costOf = (peerId: string) => costs[peerId];

for (const [title, peers, expected] of [
  ['this node before all others', ['near', 'here', 'far'], ['1']],
  ['the least cost', ['far', 'near'], ['1']],
  ['all that cost about as little', ['near', 'far', 'beside'], ['0', '2']],
  ['what was measured before what was not', ['unknown', 'far'], ['1']],
  ['any where nothing was measured', ['unknown', 'unknown'], ['0', '1']],
] as const) {
  test(`closest takes ${title}`, (t) => {
    const endpoints = peers.map((peerId, index) => endpointOf(index, { peerId }));
    const chosen: string[] = [];
    let after: string | undefined;
    for (let call = 0; call < 2 * expected.length; call += 1) {
      const endpoint = choose(endpoints, { balancing: { policy: 'closest' }, costOf, after });
      after = endpoint?.instance;
      chosen.push(indexOf(endpoint) ?? 'none');
    }
    t.deepEqual(chosen, [...expected, ...expected], 'equals get the same share');
  });
}

test('closest never takes one that costs more than an equal of the least, and goes further when that is ejected', (t) => {
  histories(200, (_, below, seed) => {
    const endpoints = Array.from({ length: 1 + below(8) }, (_, index) =>
      endpointOf(index, { peerId: `${below(50_000)}` }),
    );
    const ejected = new Set(endpoints.filter(() => below(3) === 0).map(({ instance }) => instance));
    const cost = ({ peerId }: Endpoint) => Number(peerId);
    const chosen = choose(endpoints, { balancing: { policy: 'closest' }, costOf: Number, ejected });
    const healthy = endpoints.filter(({ instance }) => !ejected.has(instance));
    const least = Math.min(...(healthy.length > 0 ? healthy : endpoints).map(cost));
    const bound = Math.max(least * equalCostRatio, least + equalCostMicroseconds);
    t.true(chosen !== undefined && cost(chosen) <= bound, seed);
    t.is(chosen !== undefined && ejected.has(chosen.instance), healthy.length === 0, seed);
  });
});

test('least-connections always takes one with the fewest open calls, and goes round among those', (t) => {
  histories(100, (random, below, seed) => {
    const endpoints = Array.from({ length: 2 + below(6) }, (_, index) => endpointOf(index));
    const open = new Map<string, number>();
    const openCallsTo = (instance: string) => open.get(instance) ?? 0;
    let after: string | undefined;
    for (let step = 0; step < 100; step += 1) {
      const least = Math.min(...endpoints.map(({ instance }) => openCallsTo(instance)));
      const chosen = choose(endpoints, { balancing: { policy: 'least-connections' }, openCallsTo, after });
      after = chosen?.instance ?? '';
      t.is(openCallsTo(after), least, seed);
      open.set(after, least + 1);
      const other = endpoints[below(endpoints.length)]?.instance ?? '';
      if (random.next() < 0.7) open.set(other, Math.max(openCallsTo(other) - 1, 0));
    }
  });
  const idle = Array.from({ length: 3 }, (_, index) => endpointOf(index));
  const balancing: Balancing = { policy: 'least-connections' };
  t.is(indexOf(choose(idle, { balancing, after: nameOf(1) })), '2');
});

test('local first: the own node while one is ready and well there, by whatever policy among them; else all', (t) => {
  histories(200, (random, below, seed) => {
    const policy = (['round-robin', 'closest', 'least-connections', 'sticky'] as const)[below(4)] ?? 'sticky';
    const endpoints = Array.from({ length: 1 + below(8) }, (_, index) =>
      endpointOf(index, { peerId: random.next() < 0.4 ? 'here' : 'there', ready: random.next() < 0.7 }),
    );
    const ejected = new Set(endpoints.filter(() => below(4) === 0).map(({ instance }) => instance));
    const ready = endpoints.filter((one) => one.ready);
    const healthy = ready.filter(({ instance }) => !ejected.has(instance));
    const able = healthy.length > 0 ? healthy : ready;
    const chosen = choose(endpoints, { balancing: { policy, localFirst: true }, ejected });
    t.is(chosen === undefined, ready.length === 0, seed);
    const isLocal = (one: Endpoint | undefined) => one?.peerId === 'here';
    t.is(isLocal(chosen), able.some(isLocal), `${seed}, ${policy}`);
  });
});

test('an instance by its number is the only one that is called, also ejected; without it there is a reason', (t) => {
  const balancing: Balancing = { instance: 1 };
  const wanted = { ...service, balancing };
  const [zero, one, eleven] = [endpointOf(0), endpointOf(1), endpointOf(11)];
  t.is(choose([zero, one, eleven], { balancing }), one);
  t.is(choose([zero, one, eleven], { balancing, ejected: names('1') }), one);
  t.is(choose([zero, one, eleven], { balancing, excluded: names('1') }), undefined);
  const unready = [zero, { ...one, ready: false }, eleven];
  t.is(choose(unready, { balancing }), undefined);
  t.is(whyNoEndpoint(unready, wanted), 'its instance 1 is not ready');
  t.is(whyNoEndpoint([zero, eleven], wanted), 'its instance 1 is served by no node that is known here');
  t.is(whyNoEndpoint([{ ...zero, ready: false }], service), 'no instance of it is ready');
});

test('a policy of a newer controller is round-robin', (t) => {
  const balancing = { policy: 'of-tomorrow' } as unknown as Balancing;
  const endpoints = [endpointOf(0), endpointOf(1)];
  t.is(indexOf(choose(endpoints, { balancing, after: nameOf(0) })), '1');
  t.is(indexOf(choose(endpoints, { balancing, after: nameOf(1) })), '0');
});
