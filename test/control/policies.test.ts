// Policies as operators apply, see and remove them, what of them is refused, and how declared calls reach a plan.

import test, { type ExecutionContext } from 'ava';
import { createApply, createTurns } from '../../control/apply.ts';
import { takeDenials } from '../../control/denied-calls.ts';
import { ManifestError } from '../../control/errors.ts';
import type { ApplicationRecord, ObservedDenial } from '../../control/fabric.ts';
import { createLedger } from '../../control/ledger.ts';
import { policiesMax } from '../../control/limits.ts';
import { manifestJsonSchema, validateManifests } from '../../control/manifest.ts';
import { compilePlan } from '../../control/plan-compiler.ts';
import { createPolicies } from '../../control/policies.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { cli, fakeDaemon, temporaryFolder } from './cli-harness.ts';

const clock = createSystemClock();

async function fixture() {
  const store = createSimStore();
  const fabric = await store.open('fabric');
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  const serialized = createTurns();
  /** What was stored each time that nodes were to hear of it. */
  const told: string[][] = [];
  const policiesChanged = async (): Promise<void> => {
    told.push((await fabric.list('policy/')).map(({ _id }) => _id));
  };
  const applying = createApply({ fabric, clock, random: createSystemRandom(), ledger, serialized, policiesChanged });
  const policies = createPolicies({ fabric, ledger, serialized, policiesChanged });
  return { store, fabric, ledger, told, ...applying, ...policies };
}

const rule = { from: { application: 'shop' }, to: { application: 'store' } };
const policy = (allow: unknown, more: Record<string, unknown> = {}) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Policy', metadata: { name: 'open', ...more } },
  spec: { allow },
});
const application = (name: string, calls?: unknown, more: Record<string, unknown> = {}) => ({
  ...{ apiVersion: 'selvedge/v1', kind: 'Application', metadata: { name, ...more } },
  spec: {
    microservices: [
      {
        name: 'till',
        engine: 'process',
        command: ['run'],
        ports: [{ name: 'http', port: 80 }],
        ...(calls !== undefined && { calls }),
      },
    ],
  },
});

test('a policy is applied, listed with what it names that is not there, changed and deleted, each an event', async (t) => {
  const { apply, list, describe, remove, ledger, told } = await fixture();
  const whole = {
    from: { ...rule.from, microservice: 'till' },
    to: { ...rule.to, microservice: 'stock', ports: [80, 81] },
  };
  t.like((await apply([policy([whole])])).applied, [{ kind: 'Policy', generation: 1, change: 'created' }]);
  t.like((await apply([policy([whole])])).applied, [{ generation: 1, change: 'unchanged' }]);
  await apply([application('shop')]);
  const allow = [{ from: { project: 'default', application: 'shop', microservice: 'till' }, to: whole.to }];
  t.deepEqual(await list(), [
    { project: 'default', name: 'open', generation: 1, allow, missing: ['application default/store'] },
  ]);
  await apply([application('store')]);
  t.deepEqual((await describe('default', 'open'))?.missing, ['microservice stock of default/store']);
  t.like((await apply([policy([rule])])).applied, [{ generation: 2, change: 'changed' }]);
  t.deepEqual((await describe('default', 'open'))?.missing, []);
  await remove('default', 'open');
  t.is(await describe('default', 'open'), undefined);
  await t.throwsAsync(remove('default', 'open'), { name: 'NotFoundError' });
  const events = (await ledger.list()).filter(({ type }) => type.startsWith('policy'));
  // Two applies within a second are one event with a count.
  t.deepEqual(
    [...new Set(events.map(({ type, subject }) => `${type} ${subject}`))],
    ['policy-applied default/open', 'policy-deleted default/open'],
  );
  t.deepEqual(told, [['policy/default/open'], ['policy/default/open'], ['policy/default/open'], []]);
});

test('the same name is another policy in another project, and opens that project alone', (t) => {
  const { policies } = validateManifests([policy([rule]), policy([rule], { project: 'other' })]);
  t.deepEqual(
    policies.map(({ project, allow }) => [project, allow[0]?.from.project]),
    [
      ['default', 'default'],
      ['other', 'other'],
    ],
  );
});

const refusals: [what: string, manifest: unknown, path: string, reason: RegExp, accepted: RegExp, meant?: string][] = [
  ['no rule', policy([]), 'spec.allow', /fewer than 1/, /\{from: \{application: shop\}/],
  ['too many rules', policy(Array(33).fill(rule)), 'spec.allow', /more than 32/, /1 to 32 rules/],
  ['no caller', policy([{ to: rule.to }]), 'spec.allow[0].from', /is missing/, /application: shop/],
  ['no called application', policy([{ ...rule, to: {} }]), 'spec.allow[0].to.application', /is missing/, /DNS label/],
  [
    'a misspelt field',
    policy([{ ...rule, from: { aplication: 'shop' } }]),
    'spec.allow[0].from.aplication',
    /not a known field/,
    /project, application, microservice/,
    'application',
  ],
  [
    'another project that is called',
    policy([{ ...rule, to: { application: 'store', project: 'other' } }]),
    'spec.allow[0].to.project',
    /not a known field/,
    /application, microservice, ports/,
  ],
  [
    'a bad name',
    policy([{ ...rule, from: { application: 'Shop' } }]),
    'spec.allow[0].from.application',
    /./,
    /DNS label/,
    'shop',
  ],
  [
    'a port by name',
    policy([{ ...rule, to: { application: 'store', ports: ['http'] } }]),
    'spec.allow[0].to.ports[0]',
    /is a string/,
    /1 to 65535/,
  ],
  [
    'no ports',
    policy([{ ...rule, to: { application: 'store', ports: [] } }]),
    'spec.allow[0].to.ports',
    /fewer than 1/,
    /\[8080\]/,
  ],
  [
    'an application that calls itself',
    policy([{ ...rule, to: rule.from }]),
    'spec.allow[0].to.application',
    /always allowed/,
    /another application/,
  ],
  ['a misspelt kind', { ...policy([rule]), kind: 'Polcy' }, 'kind', /not a kind/, /Policy/, 'Policy'],
  [
    'a call without a port',
    application('shop', [{ application: 'store', microservice: 'stock' }]),
    'spec.microservices[0].calls[0].port',
    /is missing/,
    /1 to 65535/,
  ],
  [
    'one call twice',
    application('shop', [
      { application: 'store', microservice: 'stock', port: 80 },
      { application: 'store', microservice: 'stock', port: 80 },
    ]),
    'spec.microservices[0].calls[1]',
    /"stock\.store:80" is there twice/,
    /^$/,
  ],
];

for (const [what, manifest, path, reason, accepted, meant] of refusals) {
  test(`refused: ${what}`, async (t) => {
    const { apply, fabric, told } = await fixture();
    const error = (await t.throwsAsync(apply([manifest]), { instanceOf: ManifestError })) as ManifestError;
    const issue = error.issues.find((one) => one.path === path);
    t.truthy(issue, error.message);
    t.regex(issue?.reason ?? '', reason);
    t.regex(issue?.accepted ?? '', accepted);
    t.is(issue?.didYouMean, meant);
    t.deepEqual([await fabric.list('policy/'), told], [[], []]);
  });
}

test('there is a bound on how many policies every node has to hold', async (t) => {
  const { apply, fabric } = await fixture();
  for (let index = 0; index < policiesMax; index += 1) {
    const allow = [{ ...rule, from: { project: 'default', ...rule.from } }];
    await fabric.put({ _id: `policy/default/p${index}`, project: 'default', name: `p${index}`, generation: 1, allow });
  }
  await t.notThrowsAsync(apply([policy([rule], { name: 'p0' })]));
  const error = await t.throwsAsync(apply([policy([rule])]), { instanceOf: ManifestError });
  t.regex(error?.message ?? '', /1001 policies.*at most 1000/);
});

test('the form is published to editors', (t) => {
  const { oneOf } = manifestJsonSchema() as { oneOf: { properties: { kind: { const: string } } }[] };
  t.deepEqual(
    oneOf.map(({ properties }) => properties.kind.const),
    ['Application', 'Config', 'Secret', 'Policy', 'Gateway'],
  );
});

function planOf(t: ExecutionContext, calls?: unknown) {
  const [found] = validateManifests([application('shop', calls)]).applications;
  const { project = '', name = '', microservices = [] } = found ?? {};
  const record: ApplicationRecord = {
    _id: `application/${project}/${name}`,
    project,
    name,
    generation: 1,
    microservices,
    appliedAt: 0,
  };
  const { plan, problems } = compilePlan({
    node: { name: 'box1', peerId: 'peer' },
    applications: [record],
    configs: [],
    secrets: [],
    placements: [
      { _id: 'placement/default/shop', instances: { 'default.shop.till.0': { node: 'box1' } }, unplaced: {} },
    ],
    version: { epoch: 1, term: 1, generation: 1 },
    fabricId: 'f',
    signTicket: () => 'ticket',
  });
  t.deepEqual(problems, []);
  const [planned] = plan.instances;
  return { microservice: microservices[0], calls: planned?.calls, specHash: planned?.specHash };
}

test('declared calls come after those of the own application, and make no other workload', (t) => {
  const own = { project: 'default', application: 'shop', microservice: 'till', port: 80 };
  const plain = planOf(t);
  t.deepEqual(plain.calls, [own]);
  t.false(Object.hasOwn(plain.microservice ?? {}, 'calls'), 'what is not said is not stored');
  const declared = planOf(t, [
    { application: 'store', microservice: 'stock', port: 8080 },
    { project: 'other', application: 'store', microservice: 'stock', port: 8080 },
    { application: 'shop', microservice: 'till', port: 80 },
  ]);
  t.deepEqual(declared.calls, [
    own,
    { project: 'default', application: 'store', microservice: 'stock', port: 8080 },
    { project: 'other', application: 'store', microservice: 'stock', port: 8080 },
  ]);
  t.is(declared.specHash, plain.specHash);
});

test('each denied call that a node tells of is one event, however often it tells of it', async (t) => {
  const { store, fabric, ledger } = await fixture();
  const mailbox = await store.open('mailbox/box2');
  const denial = (id: string, changes: Partial<ObservedDenial> = {}): ObservedDenial => ({
    ...{ id, at: 1, caller: 'default.shop.till', from: 'peer3', called: 'default.store.stock:80', reason: 'no policy' },
    ...changes,
  });
  const say = async (denied: unknown) => {
    await mailbox.update('observed/node', (current) => ({ ...current, _id: 'observed/node', denied }));
    const nodeOf = async (peerId: string) => (peerId === 'peer3' ? 'box3' : peerId);
    await takeDenials(fabric, mailbox, { name: 'box2', peerId: 'peer2' }, { ledger, nodeOf });
  };
  const events = async () =>
    (await ledger.list()).flatMap(({ type, subject, message }) =>
      type === 'call-denied' ? [`${subject}: ${message}`] : [],
    );
  await say(undefined);
  await say([denial('1')]);
  await say([denial('1')]);
  const first = 'default.shop.till: its call of default.store.stock:80 from box3 was denied on box2: no policy';
  t.deepEqual(await events(), [first]);
  await say([denial('2', { caller: 'default.shop.door', from: 'peer2' }), denial('1')]);
  const second = 'default.shop.door: its call of default.store.stock:80 from box2 was denied on box2: no policy';
  t.deepEqual(await events(), [first, second]);
  for (const bad of ['x', [null, 7, { id: '3' }, denial('4', { caller: 'x'.repeat(1000) })], {}]) await say(bad);
  t.is((await events()).length, 2, 'what is malformed is left out');
  await ledger.stop();
});

test('the command line shows and deletes policies', async (t) => {
  const folder = await temporaryFolder(t);
  const view = {
    ...{ project: 'default', name: 'open', generation: 3 },
    allow: [
      {
        from: { project: 'other', application: 'shop', microservice: 'till' },
        to: { application: 'store', ports: [80, 81] },
      },
      { from: { project: 'default', application: 'kiosk' }, to: { application: 'store', microservice: 'stock' } },
    ],
    missing: ['application default/kiosk'],
  };
  const asked = await fakeDaemon(t, folder, {
    'GET /v1/policies': [view],
    'GET /v1/policies/default/open': view,
    'DELETE /v1/policies/default/open': { deleted: { project: 'default', name: 'open' } },
  });
  const run = (...args: string[]) => cli(['--data', folder, ...args]);
  const list = await run('policies', 'list');
  t.regex(
    list.out,
    /default\/open\s+3\s+other\/shop\/till\s+default\/store\s+80 81\n\s+default\/kiosk\s+default\/store\/stock\s+all/,
  );
  t.deepEqual(JSON.parse((await run('policies', 'list', '-o', 'json')).out), [view]);
  t.regex((await run('policies', 'describe', 'open')).out, /not there\s+application default\/kiosk/);
  t.is((await run('policies', 'delete', 'open')).out, 'Policy default/open deleted');
  t.like(asked.at(-1), { method: 'DELETE', path: '/v1/policies/default/open' });
  t.is((await run('policies', 'describe', 'nobody')).status, 1);
});
