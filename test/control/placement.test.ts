// Placement: what holds for any input (seeded random ones), and what an operator expects of simple ones.

import test from 'ava';
import type { ApplicationRecord, MicroserviceSpec, NodeRecord } from '../../control/fabric.ts';
import { nodeInstancesMax } from '../../control/limits.ts';
import { place } from '../../control/placement.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

const seeds = Array.from({ length: 40 }, (_, index) => index + 1);

function drawn(seed: number): {
  nodes: NodeRecord[];
  applications: ApplicationRecord[];
  pick: (count: number) => number;
} {
  const random = createSimRandom(seed);
  const pick = (count: number): number => Math.floor(random.next() * count);
  const nodes = Array.from({ length: pick(8) }, (_, index) =>
    nodeRecord(`box${index}`, {
      labels: { zone: `z${pick(3)}` },
      engines: pick(5) === 0 ? [] : ['process'],
      ...(pick(6) === 0 && { revoked: { at: 0, reason: '' } }),
    }),
  );
  const applications = Array.from({ length: 1 + pick(4) }, (_, index) =>
    applicationRecord(
      `app${index}`,
      Array.from({ length: 1 + pick(4) }, (_unused, number) =>
        microservice(`m${number}`, {
          replicas: pick(6),
          placement: [{}, {}, { node: `box${pick(8)}` }, { labels: { zone: `z${pick(4)}` } }][pick(4)] ?? {},
        }),
      ),
    ),
  );
  return { nodes, applications, pick };
}

function allowed(node: NodeRecord | undefined, spec: MicroserviceSpec): boolean {
  if (node === undefined || node.revoked !== undefined || !node.engines.includes('process')) return false;
  if (spec.placement.node !== undefined && spec.placement.node !== node.name) return false;
  return Object.entries(spec.placement.labels ?? {}).every(([key, value]) => node.labels[key] === value);
}

for (const seed of seeds) {
  test(`places every instance where it may run or says for every node why not (seed ${seed})`, (t) => {
    const { nodes, applications } = drawn(seed);
    const byName = new Map(nodes.map((node) => [node.name, node]));
    for (const record of place({ applications, nodes, previous: [] })) {
      const application = applications.find(({ name }) => record._id === `placement/default/${name}`);
      for (const spec of application?.microservices ?? []) {
        for (let index = 0; index < spec.replicas; index += 1) {
          const name = `default.${application?.name}.${spec.name}.${index}`;
          const at = record.instances[name];
          const why = record.unplaced[name];
          t.true((at === undefined) !== (why === undefined), name);
          if (at !== undefined) t.true(allowed(byName.get(at.node), spec), `${name} on ${at.node}`);
          else {
            t.false(
              nodes.some((node) => allowed(node, spec)),
              `${name} could run`,
            );
            t.deepEqual(Object.keys(why ?? {}), nodes.map((node) => node.name).sort());
          }
        }
      }
      const wanted = (application?.microservices ?? []).reduce((sum, { replicas }) => sum + replicas, 0);
      t.is(Object.keys(record.instances).length + Object.keys(record.unplaced).length, wanted);
    }
  });

  test(`gives the same places whatever the order of its input, and moves nothing without a reason (seed ${seed})`, (t) => {
    const { nodes, applications, pick } = drawn(seed);
    const first = place({ applications, nodes, previous: [] });
    t.deepEqual(place({ applications: [...applications].reverse(), nodes: [...nodes].reverse(), previous: [] }), first);
    t.deepEqual(place({ applications, nodes, previous: first }), first);
    // A node more, or one less: who may stay stays.
    const gone = nodes[pick(nodes.length)]?.name;
    const after = [...nodes.filter(({ name }) => name !== gone), nodeRecord('new')];
    const second = place({ applications, nodes: after, previous: first });
    for (const [index, record] of first.entries()) {
      for (const [name, { node }] of Object.entries(record.instances)) {
        if (node !== gone) t.is(second[index]?.instances[name]?.node, node, name);
      }
    }
  });
}

test('spreads a microservice over nodes first, then all instances', (t) => {
  const nodes = ['a', 'b', 'c'].map((name) => nodeRecord(name));
  const applications = [
    applicationRecord('app', [microservice('one', { replicas: 4 }), microservice('two', { replicas: 2 })]),
  ];
  const [record] = place({ applications, nodes, previous: [] });
  const placesOf = (name: string) =>
    Object.entries(record?.instances ?? {}).flatMap(([instance, { node }]) =>
      instance.includes(`.${name}.`) ? node : [],
    );
  t.deepEqual(placesOf('one'), ['a', 'b', 'c', 'a']);
  t.deepEqual(placesOf('two'), ['b', 'c']);
});

test('fewer replicas drop the highest indices', (t) => {
  const nodes = ['a', 'b'].map((name) => nodeRecord(name));
  const app = (replicas: number) => [applicationRecord('app', [microservice('m', { replicas })])];
  const before = place({ applications: app(5), nodes, previous: [] });
  const after = place({ applications: app(2), nodes, previous: before });
  t.deepEqual(Object.keys(after[0]?.instances ?? {}), ['default.app.m.0', 'default.app.m.1']);
});

test('a new instance prefers a node that can be heard, an old one stays', (t) => {
  const nodes = ['a', 'b'].map((name) => nodeRecord(name));
  const app = (replicas: number) => [applicationRecord('app', [microservice('m', { replicas })])];
  const reachable = new Set(['b']);
  const one = place({ applications: app(1), nodes, previous: [], reachable });
  t.is(one[0]?.instances['default.app.m.0']?.node, 'b');
  t.deepEqual(place({ applications: app(1), nodes, previous: one, reachable: new Set(['a']) }), one);
});

test('says why for each kind of refusal, and stays bounded with many', (t) => {
  const nodes = [
    nodeRecord('a', { engines: [] }),
    nodeRecord('b', { labels: {} }),
    nodeRecord('c', { labels: { zone: 'y' } }),
  ];
  const applications = [
    applicationRecord('app', [microservice('m', { placement: { labels: { zone: 'x' } }, replicas: 600 })]),
  ];
  const [record] = place({ applications, nodes: nodes.map((node) => ({ ...node })), previous: [] });
  const first = record?.unplaced['default.app.m.0'];
  t.regex(first?.b ?? '', /has no label zone/);
  t.regex(first?.c ?? '', /label zone is y, not x/);
  t.is(record?.unplaced['default.app.m.599']?.['*'], 'as for default.app.m.0');
  const pinned = place({
    applications: [applicationRecord('app', [microservice('m', { placement: { node: 'z' } })])],
    nodes,
    previous: [],
  });
  t.is(pinned[0]?.unplaced['default.app.m.0']?.b, 'pinned to z');
  const engine = place({
    applications: [applicationRecord('app', [microservice('m')])],
    nodes: [nodes[0] as NodeRecord],
    previous: [],
  });
  t.is(engine[0]?.unplaced['default.app.m.0']?.a, 'has no engine process');
});

test('a full node takes no more', (t) => {
  const applications = [applicationRecord('app', [microservice('m', { replicas: nodeInstancesMax + 1 })])];
  const [record] = place({ applications, nodes: [nodeRecord('a')], previous: [] });
  t.is(Object.keys(record?.instances ?? {}).length, nodeInstancesMax);
  t.regex(record?.unplaced[`default.app.m.${nodeInstancesMax}`]?.a ?? '', /already has/);
});
