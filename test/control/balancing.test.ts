// Balancing as a manifest says it: what is accepted, what a plan says of it and to whom, and what an operator sees of calls that fail.

import test from 'ava';
import { ManifestError } from '../../control/errors.ts';
import type { ObservedCalls, ObservedNode } from '../../control/fabric.ts';
import { validateManifests } from '../../control/manifest.ts';
import { type Balancing, balancingPolicies, type Plan } from '../../control/plan.ts';
import { compilePlan } from '../../control/plan-compiler.ts';
import { nodeStatus } from '../../control/status.ts';
import { readPlan } from '../../node-runtime/plan-schema.ts';
import { cli, fakeDaemon, instanceView, temporaryFolder } from './cli-harness.ts';
import { fakeSign } from './planner-fixture.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

function stored(balancing: unknown, replicas = 3): Balancing | undefined {
  const one = { name: 'stock', engine: 'process', command: ['node'], replicas, balancing };
  const { applications } = validateManifests([
    { apiVersion: 'selvedge/v1', kind: 'Application', metadata: { name: 'shop' }, spec: { microservices: [one] } },
  ]);
  return applications[0]?.microservices[0]?.balancing;
}

const issuesOf = (balancing: unknown, replicas?: number) => {
  try {
    stored(balancing, replicas);
  } catch (error) {
    if (error instanceof ManifestError) return error.issues;
    throw error;
  }
  return [];
};

test('each policy is accepted, by its name alone or with more; round-robin says nothing more than nothing', (t) => {
  for (const policy of balancingPolicies) {
    const kept = policy === 'round-robin' ? undefined : { policy };
    t.deepEqual(stored(policy), kept);
    t.deepEqual(stored({ policy }), kept);
    t.deepEqual(stored({ policy, localFirst: false }), kept);
    t.deepEqual(stored({ policy, localFirst: true }), { policy, localFirst: true });
  }
  t.deepEqual(stored({ localFirst: true }), { policy: 'round-robin', localFirst: true });
  t.deepEqual(stored({ instance: 2 }), { instance: 2 });
  t.deepEqual(stored({ instance: 2 }, 0), { instance: 2 }, 'scaled down for a while');
  t.deepEqual([stored(undefined), stored({})], [undefined, undefined]);
});

for (const [title, balancing, path, reason] of [
  ['another word', 'random', '', /"random"/],
  ['another policy', { policy: 'random' }, '', /is an object, which is not accepted/],
  ['no object', 3, '', /is a number, which is not accepted/],
  ['a field that is none', { policy: 'sticky', by: 'cookie' }, '.by', /is not a known field/],
  ['a number of no instance', { instance: 3 }, '.instance', /is 3, and there are 3 instances/],
  ['a negative number', { instance: -1 }, '.instance', /is -1, less than 0/],
  ['a policy beside an instance', { instance: 1, policy: 'sticky' }, '.policy', /says nothing beside instance/],
  ['local first beside an instance', { instance: 1, localFirst: true }, '.localFirst', /says nothing beside instance/],
] as const) {
  test(`balancing is refused with the accepted form: ${title}`, (t) => {
    const [issue, ...more] = issuesOf(balancing);
    t.deepEqual(more, []);
    t.true(issue?.path.startsWith(`spec.microservices[0].balancing${path}`), issue?.path);
    t.regex(issue?.reason ?? '', reason);
    t.not(issue?.accepted, '');
  });
}

function planned(balancing?: Balancing): Plan {
  const microservices = [microservice('stock', balancing && { balancing }), microservice('till')];
  const places = { 'default.shop.stock.0': { node: 'box2' }, 'default.shop.till.0': { node: 'box1' } };
  return compilePlan({
    node: nodeRecord('box1'),
    applications: [applicationRecord('shop', microservices)],
    configs: [],
    secrets: [],
    placements: [{ _id: 'placement/default/shop', instances: places, unplaced: {} }],
    version: { epoch: 1, term: 2, generation: 3 },
    fabricId: 'fabric-1',
    signTicket: (ticket) => fakeSign('selvedge-ticket+jws', ticket),
  }).plan;
}

test('the plan of a caller says how the called service is balanced; no specification changes for it', (t) => {
  const [plain, closest] = [planned(), planned({ policy: 'closest', localFirst: true })];
  const service = { project: 'default', application: 'shop', port: 8080 };
  t.deepEqual(plain.instances[0]?.calls, [
    { ...service, microservice: 'stock' },
    { ...service, microservice: 'till' },
  ]);
  t.deepEqual(closest.instances[0]?.calls[0], {
    ...service,
    microservice: 'stock',
    balancing: { policy: 'closest', localFirst: true },
  });
  const withoutCalls = ({ instances }: Plan) => instances.map(({ calls: _, ...rest }) => rest);
  t.deepEqual(withoutCalls(closest), withoutCalls(plain));
  for (const plan of [plain, closest, planned({ instance: 0 })]) t.true('plan' in readPlan(plan));
  t.true('plan' in readPlan(planned({ policy: 'of-tomorrow' } as unknown as Balancing)), 'of a newer controller');
  t.true('malformed' in readPlan(planned('sticky' as unknown as Balancing)));
});

const calls: ObservedCalls = {
  ejected: [{ instance: 'default.shop.stock.0', port: 8080, reason: 'refused', failures: 2, until: 9_000 }],
  failing: [{ caller: 'default.shop.till.0', called: 'stock:8080', reason: 'its instance 1 is not ready', since: 5 }],
};

function instancesWith(said: unknown) {
  const plan = planned();
  const observed = { links: [], addresses: [], problems: [], calls: said } as unknown as ObservedNode;
  const { nodes } = nodeStatus({
    fabric: { id: 'fabric-1', name: 'home' },
    node: {
      ...{ name: 'box1', peerId: 'peer-box1', router: 'edge', controller: false, labels: {}, engines: ['process'] },
      ...{ links: [], addresses: [], problems: [] },
    },
    obeyed: {
      ...plan,
      instances: plan.instances.flatMap((one) => [
        one,
        { ...one, name: 'default.shop.stock.0', microservice: 'stock' },
      ]),
    },
    mailbox: { plan: undefined, node: observed, instances: [] },
    controllerReachable: true,
  });
  return nodes[0]?.instances ?? [];
}

test('a view of an instance has what its node says of its calls, and who passes it over', (t) => {
  const [till, stock] = instancesWith(calls);
  t.deepEqual(till?.failingCalls, [{ called: 'stock:8080', reason: 'its instance 1 is not ready', since: 5 }]);
  t.is(till?.passedOver, undefined);
  const { instance: _, ...ejection } = calls.ejected[0] as ObservedCalls['ejected'][number];
  t.deepEqual(stock?.passedOver, [{ by: 'box1', ...ejection }]);
});

test('what a node says of calls is not taken on trust', (t) => {
  const [failing] = calls.failing;
  for (const said of [
    null,
    7,
    [],
    { failing: 'x' },
    { failing: [null, { caller: 'default.shop.till.0' }], ejected: {} },
  ])
    t.is(instancesWith(said)[0]?.failingCalls, undefined);
  const flood = Array.from({ length: 5_000 }, () => ({ ...failing, reason: 'x'.repeat(5_000) }));
  const shown = instancesWith({ failing: flood })[0]?.failingCalls ?? [];
  t.true(shown.length > 0 && shown.length < 100);
  t.true(shown.every(({ reason }) => reason.length <= 300));
});

test('describe instance says whose calls fail, and who passes it over until when', async (t) => {
  const folder = await temporaryFolder(t);
  const name = 'default.cold-chain.sensor.0';
  const view = instanceView({
    failingCalls: [{ called: 'stock:8080', reason: 'its instance 1 is not ready', since: 0 }],
    passedOver: [{ by: 'box1', port: 8080, reason: 'refused', failures: 2, until: 0 }],
  });
  await fakeDaemon(t, folder, { [`GET /v1/instances/${name}`]: view });
  const { out } = await cli(['describe', 'instance', name, '--data', folder]);
  t.regex(out, /calls fail +stock:8080 since .*: its instance 1 is not ready/);
  t.regex(out, /passed over +by box1 until .*, port 8080, after 2 failures in a row: refused/);
});
