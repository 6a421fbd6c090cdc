// The plan compiler: slots, hashes and tickets, as pure functions of documents.

import test from 'ava';
import { canonicalJson } from '../../control/canonical-json.ts';
import { type CompileInput, compilePlan } from '../../control/plan-compiler.ts';
import { createSpecCompiler, fileSlot } from '../../control/workload-spec.ts';
import { fakeSign } from './planner-fixture.ts';
import { applicationRecord, configRecord, microservice, nodeRecord } from './records.ts';

function input(changes: Partial<CompileInput> = {}): CompileInput {
  const application = applicationRecord('app', [microservice('web', { configs: ['c'] })]);
  return {
    node: nodeRecord('box1'),
    applications: [application],
    configs: [configRecord('c', { 'a.js': 'one' })],
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

test('the hash of a spec follows its configs, and nothing else that does not concern the engine', (t) => {
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
  t.not(hash({ configs: [configRecord('c', { 'a.js': 'two' })] }), base);
  t.not(
    hash({ applications: [applicationRecord('app', [microservice('web', { configs: ['c'], env: { A: 'b' } })])] }),
    base,
  );
});

test('what is not said leaves the hash of a spec alone, over versions of the program', (t) => {
  const compiled = (changes: Parameters<typeof microservice>[1]) =>
    createSpecCompiler().compile(microservice('web', changes), 'default', new Map());
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
