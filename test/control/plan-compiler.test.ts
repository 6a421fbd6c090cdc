// The plan compiler: slots, hashes and tickets, as pure functions of documents.

import test from 'ava';
import { canonicalJson, sha256 } from '../../control/canonical-json.ts';
import type { SecretRecord } from '../../control/fabric.ts';
import type { Plan } from '../../control/plan.ts';
import { type CompileInput, compilePlan } from '../../control/plan-compiler.ts';
import { saltContent } from '../../control/salted-content.ts';
import { createSpecCompiler, fileSlot } from '../../control/workload-spec.ts';
import { fakeSign } from './planner-fixture.ts';
import { applicationRecord, configRecord, microservice, nodeRecord } from './records.ts';

function input(changes: Partial<CompileInput> = {}): CompileInput {
  const application = applicationRecord('app', [microservice('web', { configs: ['c'] })]);
  return {
    node: nodeRecord('box1'),
    applications: [application],
    configs: [configRecord('c', { 'a.js': 'one' })],
    secrets: [],
    placements: [{ _id: 'placement/default/app', instances: { 'default.app.web.0': { node: 'box1' } }, unplaced: {} }],
    version: { epoch: 1, term: 2, generation: 3 },
    fabricId: 'fabric-1',
    signTicket: (ticket) => fakeSign('selvedge-ticket+jws', ticket),
    ...changes,
  };
}

test('no two paths share a slot, and a slot is a legal file name', (t) => {
  const long = 'x'.repeat(150);
  const paths = ['a/b', 'a.b', 'a/b/c', 'a.b/c', 'a/b.c', 'a.b.c', long, `${long}y`, `${long.slice(0, 100)}`, 'A.b'];
  const slots = paths.map((path) => fileSlot('p'.repeat(63), 'c'.repeat(63), path));
  t.is(new Set(slots).size, paths.length);
  for (const slot of slots) {
    t.true(slot.length <= 255 && !slot.includes('/'), slot);
  }
  t.is(fileSlot('default', 'cold-chain-program', 'sensor.js'), 'config.default.cold-chain-program.sensor.js');
});

test('the hash of a spec follows what needs another launch, and nothing else', (t) => {
  const hash = (changes: Partial<CompileInput> = {}) => compilePlan(input(changes)).plan.instances[0]?.specHash;
  const base = hash();
  t.is(hash({ version: { epoch: 9, term: 9, generation: 9 } }), base);
  t.is(
    hash({
      applications: [
        applicationRecord('app', [microservice('web', { configs: ['c'], dependsOn: [] }), microservice('more')]),
      ],
    }),
    base,
  );
  const changed = { configs: [configRecord('c', { 'a.js': 'two', 'b.js': 'more' })] };
  t.is(hash(changed), base, 'content is given to it while it runs');
  const restarted = [
    applicationRecord('app', [microservice('web', { configs: [{ name: 'c', onChange: 'restart' }] })]),
  ];
  t.not(hash({ applications: restarted, ...changed }), hash({ applications: restarted }));
  t.not(hash({ applications: [applicationRecord('app', [microservice('web')])] }), base);
  t.not(
    hash({ applications: [applicationRecord('app', [microservice('web', { configs: ['c'], env: { A: 'b' } })])] }),
    base,
  );
});

test('what is not said leaves the hash of a spec alone, over versions of the program', (t) => {
  const compiled = (changes: Parameters<typeof microservice>[1]) =>
    createSpecCompiler().compile(microservice('web', changes), 'default', {
      configs: new Map(),
      secrets: new Map(),
    });
  t.like(compiled({}), { specHash: 'e2cda20c775bad027f420cca64957230f8f13a4f5bf363807bd59b46a6622f1c' });
  t.like(compiled({ resources: { memory: '64Mi' } }), { spec: { resources: { memory: '64Mi' } } });
  t.like(compiled({ user: 'app' }), { spec: { user: 'app' } });
});

test('a ticket is taken over while it says the same, and signed again when it does not', (t) => {
  const first = compilePlan(input()).plan;
  const later = { previous: first, version: { epoch: 1, term: 5, generation: 8 } };
  const ticket = (changes: Partial<CompileInput>) =>
    compilePlan(input({ ...later, ...changes })).plan.instances[0]?.ticket;
  const held = first.instances[0]?.ticket;
  t.is(ticket({}), held);
  t.is(ticket({ configs: [configRecord('c', { 'a.js': 'two' })] }), held);
  t.not(ticket({ node: nodeRecord('box1', { peerId: 'another' }) }), held);
  t.not(ticket({ fabricId: 'fabric-2' }), held);
  const ports = [{ name: 'http', port: 9090 }];
  t.not(ticket({ applications: [applicationRecord('app', [microservice('web', { configs: ['c'], ports })])] }), held);
  t.not(ticket({ previous: undefined }), held);
});

test('the same documents give the same plan, whatever their order', (t) => {
  const two = applicationRecord('b', [microservice('x')]);
  const place = { _id: 'placement/default/b' as const, instances: { 'default.b.x.0': { node: 'box1' } }, unplaced: {} };
  const given = input();
  const one = compilePlan({
    ...given,
    applications: [...given.applications, two],
    placements: [...given.placements, place],
  });
  const other = compilePlan({
    ...given,
    applications: [two, ...given.applications],
    placements: [place, ...given.placements],
  });
  t.is(canonicalJson(one.plan), canonicalJson(other.plan));
  t.deepEqual(one.covers, other.covers);
});

test('only this node gets what is placed on it', (t) => {
  const { plan, files, covers } = compilePlan(input({ node: nodeRecord('box2') }));
  t.deepEqual([plan.instances, files, covers, plan.files], [[], [], [], []]);
});

/** As the version before this one planned it: the content was in the hash. */
function plannedBefore(changes: Partial<CompileInput> = {}): Plan {
  const { plan } = compilePlan(input(changes));
  return {
    ...plan,
    instances: plan.instances.map((instance) => ({ ...instance, specHash: sha256(canonicalJson(instance.spec)) })),
  };
}

test('what an older version planned keeps its hash, until it is really another workload', (t) => {
  const previous = plannedBefore();
  const hash = (changes: Partial<CompileInput> = {}) =>
    compilePlan(input({ previous, ...changes })).plan.instances[0]?.specHash;
  const held = previous.instances[0]?.specHash;
  t.not(held, compilePlan(input()).plan.instances[0]?.specHash);
  t.is(hash(), held);
  t.is(hash({ configs: [configRecord('c', { 'a.js': 'two' })] }), held);
  const other = [applicationRecord('app', [microservice('web', { configs: ['c'], env: { A: 'b' } })])];
  t.not(hash({ applications: other }), held);
});

const secret: SecretRecord = {
  ...{ _id: 'secret/default/db', project: 'default', name: 'db', generation: 1 },
  data: {
    password: saltContent(Buffer.from('hunter2'), Buffer.alloc(32, 7)),
    unused: saltContent(Buffer.from('more'), Buffer.alloc(32, 8)),
  },
};

test('a secret goes to the nodes that use it, as content whose hash says nothing of it', (t) => {
  const web = microservice('web', { envFrom: { PASSWORD: { secret: 'db', key: 'password' } } });
  const changes = { applications: [applicationRecord('app', [web])], secrets: [secret] };
  const { plan, files } = compilePlan(input(changes));
  t.deepEqual(
    files.map(({ _id }) => _id),
    ['desired/file/secret.default.db.password'],
    'the key that it takes, and no other',
  );
  t.is(plan.files[0]?.sha256, sha256(Buffer.from(secret.data['password'] ?? '', 'base64')));
  const text = JSON.stringify(plan);
  for (const value of ['hunter2', sha256('hunter2'), Buffer.from('hunter2').toString('base64')])
    t.false(text.includes(value));
  t.deepEqual(compilePlan(input({ ...changes, node: nodeRecord('box2') })).files, []);
});

test('an instance whose secret is missing stays as it was, and says what is missing', (t) => {
  const web = microservice('web', { secrets: ['db'], configs: ['c'] });
  const applications = [applicationRecord('app', [web])];
  const previous = compilePlan(input({ applications, secrets: [secret] })).plan;
  const without = compilePlan(input({ applications, previous, configs: [configRecord('c', { 'a.js': 'two' })] }));
  t.deepEqual(without.plan.instances, previous.instances);
  t.deepEqual(without.problems, ['default.app.web.0: there is no Secret db in project default']);
  t.deepEqual(
    without.plan.files.map(({ slot }) => slot),
    previous.files.map(({ slot }) => slot),
  );
  const badKey = microservice('web', { envFrom: { A: { secret: 'db', key: 'pasword' } } });
  const missing = compilePlan(input({ applications: [applicationRecord('app', [badKey])], secrets: [secret] }));
  t.deepEqual([missing.plan.instances, missing.files], [[], []]);
  t.regex(missing.problems[0] ?? '', /there is no pasword in Secret db/);
});

test('what stays is in the plan as it was, with its files, authority and ticket, whatever is declared', (t) => {
  const previous = compilePlan(input({ secrets: [secret] })).plan;
  const staying = ['default.app.web.0', 'default.app.never.0'];
  const nothing = { applications: [], configs: [], placements: [] };
  const version = { epoch: 1, term: 2, generation: 9 };
  const compiled = compilePlan(input({ ...nothing, version, previous, staying }));
  t.deepEqual(compiled.plan, { ...previous, ...version });
  t.deepEqual(
    compiled.covers.map(({ microservice: name }) => name),
    ['web'],
  );
  const declaredAgain = compilePlan(input({ previous, staying, configs: [configRecord('c', { 'a.js': 'two' })] }));
  t.is(declaredAgain.plan.instances.length, 1);
  t.notDeepEqual(declaredAgain.plan.files, previous.files);
});
