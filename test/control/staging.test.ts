// Fetching ahead, on a controller: where things go, what a plan says of them, what the views make of what nodes say, and when it is over.

import test from 'ava';
import { createApply } from '../../control/apply.ts';
import type { MicroserviceSpec, ObservedStage } from '../../control/fabric.ts';
import { createLedger } from '../../control/ledger.ts';
import { nodeStageItemsMax, stageLifetimeMs } from '../../control/limits.ts';
import { createStage } from '../../control/stage.ts';
import { placeStages, stageByNode, stagedThing, stageSpec } from '../../control/staging.ts';
import { createStatusReader } from '../../control/status-reader.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createPlannerFixture } from './planner-fixture.ts';
import { applicationRecord, microservice, nodeRecord } from './records.ts';

const container = (name: string, image: string, changes: object = {}): MicroserviceSpec => {
  const { command: _command, engine: _engine, ...rest } = microservice(name);
  return { ...rest, engine: 'docker', image, ...changes } as MicroserviceSpec;
};
const docker = { engines: ['process', 'docker'] };
const manifest = (image: string, more = {}) => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'app' },
  spec: { microservices: [{ name: 'web', engine: 'docker', image, ...more }] },
});

async function fixture() {
  const planned = await createPlannerFixture();
  const { fabric, clock, mailbox } = planned;
  const unheard = new Set<string>();
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  const reader = createStatusReader({
    ...{ fabric, mailbox, identity: { id: 'fabric-1', name: 'home' }, self: 'box1' },
    linked: (peerId) => !unheard.has(peerId),
  });
  /** The node says that it obeys its plan, and of each item what is given. */
  const say = async (node: string, staged?: (id: string, askedAt: number) => Partial<ObservedStage>) => {
    const plan = await planned.planOf(node);
    if (plan === undefined) throw new Error('there is no plan');
    const { epoch, term, generation } = plan;
    const items = (plan.stage ?? []).map(({ id, askedAt }) => ({ id, askedAt, reason: '', ...staged?.(id, askedAt) }));
    await (await mailbox(node)).update('observed/node', () => ({
      ...{ _id: 'observed/node', node, software: '0.0.1', version: { epoch, term, generation } },
      ...{ links: [], addresses: [], problems: [], ...(staged !== undefined && { staged: items }) },
    }));
  };
  const things = async () => (await reader.stage('default', 'app'))?.things;
  const stage = createStage({ fabric, clock, ledger });
  return {
    ...planned,
    ledger,
    reader,
    say,
    things,
    stage,
    apply: createApply({ fabric, clock, ledger, random: createSimRandom('staging') }),
    unheard,
  };
}

test('what is applied is fetched where it is, what is new where it would be placed, and without a place it says why', (t) => {
  const nodes = [nodeRecord('a', docker), nodeRecord('b', docker), nodeRecord('c')];
  const here = applicationRecord('app', [container('web', 'web:1')]);
  const previous = [
    { _id: 'placement/default/app' as const, instances: { 'default.app.web.0': { node: 'b' } }, unplaced: {} },
  ];
  const wish = (name: string, microservices: MicroserviceSpec[]) =>
    ({ _id: `stage/default/${name}`, project: 'default', name, microservices, askedAt: 7, expiresAt: 8 }) as const;
  const placed = (...stages: ReturnType<typeof wish>[]) =>
    placeStages({ applications: [here], stages, nodes, previous }).map(({ stage, microservice: of, node, item }) => [
      ...[stage.name, of, node, (item.spec as { image: string }).image],
    ]);
  t.deepEqual(placed(wish('app', [container('web', 'web:2')])), [['app', 'web', 'b', 'web:2']]);
  // Of two instances on a node one is fetched; a program needs nothing.
  t.deepEqual(placed(wish('more', [container('api', 'api:1', { replicas: 3 }), microservice('program')])), [
    ['more', 'api', 'a', 'api:1'],
    ['more', 'api', 'b', 'api:1'],
  ]);
  const [nowhere] = placeStages({
    ...{ applications: [], nodes, previous: [] },
    stages: [wish('app', [container('web', 'web:1', { placement: { node: 'c' } })])],
  });
  t.is(nowhere?.node, undefined);
  t.is(nowhere?.unplaced?.['c'], 'has no engine docker');
});

test('the same thing for two applications is fetched once, and so many for one node', (t) => {
  const nodes = [nodeRecord('a', docker)];
  const stages = ['one', 'two'].map((name, index) => ({
    ...{ _id: `stage/default/${name}` as const, project: 'default', name, askedAt: index, expiresAt: 8 },
    microservices: [
      container('web', 'web:1'),
      ...Array.from({ length: 60 }, (_, at) => container(`m${at}`, `${name}:${at}`)),
    ],
  }));
  const items = stageByNode(placeStages({ applications: [], stages, nodes, previous: [] })).get('a') ?? [];
  t.is(items.length, nodeStageItemsMax);
  const shared = items.filter(({ spec }) => 'image' in spec && spec.image === 'web:1');
  t.deepEqual(
    shared.map(({ askedAt }) => askedAt),
    [1],
  );
});

test('it is in the plan from being asked until it is applied, and leaves the plan as it was', async (t) => {
  const { write, boot, planOf, stage, apply, fabric } = await fixture();
  await write(nodeRecord('box1', docker));
  const { planner } = await boot();
  const empty = await planOf('box1');
  t.false('stage' in (empty ?? {}));
  t.deepEqual(await stage.ask({ documents: [manifest('web:1')] }), [{ project: 'default', name: 'app' }]);
  await planner.idle();
  const staged = await planOf('box1');
  t.deepEqual(staged?.instances, []);
  t.deepEqual(
    staged?.stage?.map(({ spec }) => spec),
    [{ engine: 'docker', image: 'web:1' }],
  );
  await apply.apply([manifest('web:1')], {});
  await planner.idle();
  t.is(await fabric.get('stage/default/app'), undefined);
  const applied = await planOf('box1');
  t.is(applied?.instances.length, 1);
  t.false('stage' in (applied ?? {}));
  // By name, as it is applied; deleting ends that too.
  await stage.ask({ project: 'default', application: 'app' });
  await planner.idle();
  t.is((await planOf('box1'))?.stage?.length, 1);
  await apply.deleteApplication('default', 'app');
  await planner.idle();
  t.false('stage' in ((await planOf('box1')) ?? {}));
  await planner.stop();
});

test('after a day it is over, also over a restart of the controller', async (t) => {
  const { write, boot, planOf, stage, clock, fabric } = await fixture();
  await write(nodeRecord('box1', docker));
  const first = await boot();
  await stage.ask({ documents: [manifest('web:1')] });
  await first.planner.idle();
  await first.planner.stop();
  await first.lease.stop();
  const { planner } = await boot();
  await clock.advance(stageLifetimeMs - 60_000);
  await planner.idle();
  t.is((await planOf('box1'))?.stage?.length, 1);
  await clock.advance(120_000);
  await planner.idle();
  t.false('stage' in ((await planOf('box1')) ?? {}));
  t.is(await fabric.get('stage/default/app'), undefined);
  await planner.stop();
});

test('the view says each step, and never takes the answer to an earlier asking for this one', async (t) => {
  const { write, boot, stage, say, things, reader, unheard, planOf } = await fixture();
  await write(nodeRecord('box1', { controller: true }), nodeRecord('box2', docker));
  const one = async () =>
    (await things())?.map(({ node, thing, state, reason }) => [node, thing, state, reason].join(' '));
  await stage.ask({ documents: [manifest('web:1')] });
  t.deepEqual(await one(), ['box2 web:1 waiting its plan is being written']);
  const { planner } = await boot();
  t.deepEqual(await one(), ['box2 web:1 waiting box2 has not taken its plan yet']);
  await say('box2', () => ({ state: 'pulling', reason: 'pulling web:1: 40 % of 9 MB' }));
  t.deepEqual(await one(), ['box2 web:1 pulling pulling web:1: 40 % of 9 MB']);
  t.deepEqual((await reader.status()).notices, [
    'staging default/app: 0 of 1 are there; box2: pulling web:1: 40 % of 9 MB',
  ]);
  await say('box2', () => ({ state: 'failed', reason: 'no such image' }));
  t.deepEqual(await one(), ['box2 web:1 failed no such image']);
  await stage.ask({ documents: [manifest('web:1')] });
  await planner.idle();
  t.deepEqual(await one(), ['box2 web:1 waiting box2 has not taken its plan yet']);
  await say('box2', () => ({ state: 'staged', reason: 'was there already' }));
  t.deepEqual(await one(), ['box2 web:1 staged was there already']);
  t.is((await reader.status()).notices, undefined);
  // A node of an older version obeys the plan and says nothing of it.
  await say('box2');
  t.deepEqual(await one(), ['box2 web:1 failed box2 runs 0.0.1, which does not stage: upgrade it']);
  // What a node makes up harms nobody.
  await say('box2', () => ({ state: 'eaten' }) as never);
  t.regex((await one())?.join() ?? '', /^box2 web:1 failed/);
  unheard.add('peer-box2');
  await stage.ask({ documents: [manifest('web:1')] });
  await planner.idle();
  t.deepEqual(await one(), ['box2 web:1 waiting box2 is unreachable']);
  t.is((await planOf('box1'))?.stage, undefined);
  await planner.stop();
});

test('a module is fetched from where it is, and that of a Config comes with its instance', (t) => {
  const spec = (module: object) => {
    const { command: _command, engine: _engine, ...rest } = microservice('m');
    return stageSpec({ ...rest, engine: 'wasm', module } as object as MicroserviceSpec);
  };
  const module = { url: 'https://example.test/m.wasm', sha256: 'a'.repeat(64) };
  t.deepEqual(spec(module), { engine: 'wasm', module });
  t.is(stagedThing({ engine: 'wasm', module }), module.url);
  t.is(spec({ config: 'code', file: 'm.wasm' }), undefined);
});

test('what cannot be staged is refused, and nothing is written', async (t) => {
  const { stage, fabric } = await fixture();
  const config = {
    apiVersion: 'selvedge/v1',
    kind: 'Config',
    metadata: { name: 'c' },
    spec: { files: { a: { text: 'b' } } },
  };
  await t.throwsAsync(stage.ask({ project: 'default', application: 'app' }), { name: 'NotFoundError' });
  await t.throwsAsync(stage.ask({ documents: [{ ...manifest('web:1'), kind: 'Aplication' }] }), {
    name: 'ManifestError',
  });
  await t.throwsAsync(stage.ask({ documents: [config] }), { message: /no Application/ });
  t.deepEqual(await fabric.list('stage/'), []);
});
