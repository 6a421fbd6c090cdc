// The views: "is all well, and if not, what and why", with an exact answer to "is it live yet?".

import test from 'ava';
import type { InstanceState, ObservedInstance } from '../../control/fabric.ts';
import type { WorkloadSpec } from '../../control/plan.ts';
import { saltContent } from '../../control/salted-content.ts';
import { nodeStatus } from '../../control/status.ts';
import { createStatusReader, readMailbox } from '../../control/status-reader.ts';
import { contentKey } from '../../control/workload-spec.ts';
import { createPlannerFixture } from './planner-fixture.ts';
import { applicationRecord, configRecord, microservice, nodeRecord } from './records.ts';

async function fixture() {
  const planned = await createPlannerFixture();
  const linked = new Set(['peer-box1', 'peer-box2']);
  const reader = createStatusReader({
    fabric: planned.fabric,
    mailbox: planned.mailbox,
    identity: { id: 'fabric-1', name: 'home' },
    self: 'box1',
    linked: (peerId) => linked.has(peerId),
  });
  /** The node takes its plan and reports each of its instances. */
  const report = async (node: string, state: InstanceState = 'running', changes: Partial<ObservedInstance> = {}) => {
    const plan = await planned.planOf(node);
    if (plan === undefined) return;
    const { epoch, term, generation } = plan;
    const version = { epoch, term, generation };
    const mailbox = await planned.mailbox(node);
    await mailbox.update('observed/node', () => ({
      ...{ _id: 'observed/node', node, peerId: `peer-${node}`, software: 'test', startedAt: 0, version },
      ...{ controllerReachable: true, links: [], addresses: ['/ip4/127.0.0.1/tcp/1'], problems: [] },
    }));
    for (const { name, specHash } of plan.instances) {
      await mailbox.update(`observed/instance/${name}`, () => ({
        ...{
          _id: `observed/instance/${name}`,
          instance: name,
          node,
          engine: 'process',
          state,
          ready: state === 'running',
        },
        ...{ reason: '', since: 5, pid: 42, restarts: 1, specHash, version },
        ...changes,
      }));
    }
  };
  return { ...planned, reader, report, linked };
}

test('a fabric that is well says so, and each step before that says what is missing', async (t) => {
  const { reader, report, write, boot } = await fixture();
  await write(nodeRecord('box1', { controller: true }), nodeRecord('box2'));
  await write(applicationRecord('app', [microservice('web', { replicas: 2 })]));
  const before = await reader.application('default', 'app');
  t.like(before, { ready: false, reason: 'default.app.web.0: not placed yet' });
  const { planner } = await boot();
  t.regex((await reader.status()).problems.join('\n'), /node box1 does not obey its newest plan yet/);
  t.like(await reader.instance('default.app.web.0'), {
    state: 'planned',
    ready: false,
    reason: 'box1 has not taken its plan yet',
  });
  await report('box1');
  await report('box2', 'backingOff', { reason: 'exit status 1; next try in 2 s', nextTryAt: 9 });
  const waiting = await reader.status();
  t.false(waiting.ok);
  t.deepEqual(waiting.problems, [
    'application default/app: default.app.web.1 is backingOff: exit status 1; next try in 2 s',
  ]);
  await report('box2');
  const well = await reader.status();
  t.deepEqual(well.problems, []);
  t.true(well.ok);
  t.like(well.applications[0], { ready: true, reason: '', generation: 1 });
  t.deepEqual(well.applications[0]?.microservices, [
    { name: 'web', engine: 'process', replicas: 2, ports: [{ name: 'http', port: 8080 }], ready: 2 },
  ]);
  t.deepEqual(
    well.nodes.map(({ name, state, upToDate }) => ({ name, state, upToDate })),
    [
      { name: 'box1', state: 'connected', upToDate: true },
      { name: 'box2', state: 'connected', upToDate: true },
    ],
  );
  t.like(well.nodes[0]?.instances[0], { name: 'default.app.web.0', pid: 42, restarts: 1, node: 'box1' });
  await planner.stop();
});

test('a new generation is not ready before its plan is written and answered', async (t) => {
  const { reader, report, write, boot } = await fixture();
  await write(nodeRecord('box1'), configRecord('c', { 'a.js': '1' }));
  await write(applicationRecord('app', [microservice('web', { configs: ['c'] })]));
  const { planner } = await boot();
  await report('box1');
  t.true((await reader.application('default', 'app'))?.ready);
  // Nobody plans: the old instance is still there and ready, but answers another spec.
  await planner.stop();
  for (const change of [
    configRecord('c', { 'a.js': '2' }),
    applicationRecord('app', [microservice('web', { configs: ['c'], env: { A: 'b' } })]),
  ]) {
    await write(change);
    t.like(await reader.application('default', 'app'), {
      ready: false,
      reason: 'default.app.web.0: its new plan is being written',
    });
  }
  await planner.start();
  t.regex((await reader.instance('default.app.web.0'))?.reason ?? '', /has not replaced the older one yet \(running\)/);
  await report('box1');
  t.true((await reader.application('default', 'app'))?.ready);
  await planner.stop();
});

test('an instance is not ready with older content than its plan says, and one of an older version does not tell', async (t) => {
  const { reader, report, write, boot, planOf } = await fixture();
  await write(nodeRecord('box1'), configRecord('c', { 'a.js': '1' }));
  await write(applicationRecord('app', [microservice('web', { configs: ['c'] })]));
  const { planner } = await boot();
  const specOf = async () => (await planOf('box1'))?.instances[0]?.spec as WorkloadSpec;
  const older = contentKey(await specOf());
  await write(configRecord('c', { 'a.js': '2' }));
  await planner.idle();
  await report('box1', 'running', { content: older });
  t.like(await reader.application('default', 'app'), {
    ready: false,
    reason: 'default.app.web.0: box1 has not given it the changed Configs and Secrets yet',
  });
  await report('box1', 'running', { content: contentKey(await specOf()) });
  t.true((await reader.application('default', 'app'))?.ready);
  await report('box1');
  t.true((await reader.application('default', 'app'))?.ready);
  await planner.stop();
});

test('an instance whose Secret is missing waits, and its reason names the Secret and the key', async (t) => {
  const { reader, report, write, boot, fabric } = await fixture();
  await write(nodeRecord('box1'));
  const web = microservice('web', { envFrom: { PASSWORD: { secret: 'db', key: 'password' } } });
  await write(applicationRecord('app', [web]));
  const { planner } = await boot();
  await report('box1');
  t.like(await reader.instance('default.app.web.0'), {
    state: 'waiting',
    ready: false,
    reason: 'there is no Secret db in project default',
  });
  const record = { _id: 'secret/default/db', project: 'default', name: 'db', generation: 1 };
  await fabric.update('secret/default/db', () => ({ ...record, data: {} }));
  t.regex((await reader.instance('default.app.web.0'))?.reason ?? '', /^there is no password in Secret db/);
  // Damaged: no salt before it.
  await fabric.update('secret/default/db', (old) => ({ ...old, ...record, data: { password: 'c2hvcnQ=' } }));
  await planner.idle();
  t.regex((await reader.instance('default.app.web.0'))?.reason ?? '', /^there is no Secret db/);
  await fabric.update('secret/default/db', (old) => ({
    ...{ ...old, ...record },
    data: { password: saltContent(Buffer.from('x'), Buffer.alloc(32)) },
  }));
  await planner.idle();
  await report('box1');
  t.true((await reader.instance('default.app.web.0'))?.ready);
  await planner.stop();
});

test('a node that obeys a newer plan than there is, as after an old backup, is not well', async (t) => {
  const { reader, report, write, boot, mailbox } = await fixture();
  await write(nodeRecord('box1', { controller: true }));
  const { planner } = await boot();
  await report('box1');
  t.true((await reader.status()).ok);
  const newer = { epoch: 1, term: 7, generation: 1 };
  await (await mailbox('box1')).update('observed/node', (old) => ({ ...old, _id: 'observed/node', version: newer }));
  const { ok, problems, nodes } = await reader.status();
  t.false(ok);
  t.regex(problems.join('\n'), /^node box1 obeys a newer plan than this controller has: .* docs\/operations\.md$/);
  t.false(nodes[0]?.upToDate);
  await planner.stop();
});

test('an instance that answers the newest plan answers it for its node, which speaks of itself more rarely', async (t) => {
  const { reader, report, write, boot, mailbox } = await fixture();
  await write(nodeRecord('box1', { controller: true }), applicationRecord('app', [microservice('web')]));
  const { planner } = await boot();
  await report('box1');
  const older = { epoch: 1, term: 0, generation: 1 };
  await (await mailbox('box1')).update('observed/node', (old) => ({ ...old, _id: 'observed/node', version: older }));
  t.true((await reader.application('default', 'app'))?.ready);
  const { ok, nodes } = await reader.status();
  t.deepEqual([ok, nodes[0]?.upToDate], [true, true]);
  await planner.stop();
});

test('what cannot be heard is not ready, and says what was heard last', async (t) => {
  const { reader, report, write, boot, linked } = await fixture();
  await write(
    nodeRecord('box1'),
    nodeRecord('box2'),
    applicationRecord('app', [microservice('web', { placement: { node: 'box2' } })]),
  );
  const { planner } = await boot();
  await report('box1');
  await report('box2');
  t.true((await reader.status()).ok);
  linked.clear();
  const status = await reader.status();
  t.deepEqual(
    status.nodes.map(({ state }) => state),
    ['connected', 'unreachable'],
  );
  t.deepEqual(status.problems, [
    'node box2 is unreachable',
    'application default/app: default.app.web.0 is running: box2 is unreachable; last heard: running, ready',
  ]);
  await planner.stop();
});

test('an instance without a place says for every node why', async (t) => {
  const { reader, report, write, boot } = await fixture();
  await write(
    nodeRecord('box1'),
    applicationRecord('app', [microservice('web', { placement: { labels: { zone: 'x' } } })]),
  );
  const { planner } = await boot();
  await report('box1');
  t.like(await reader.instance('default.app.web.0'), {
    state: 'unplaced',
    reason: 'no node may run it: box1: has no label zone (zone=x is wanted)',
  });
  t.false((await reader.status()).ok);
  await planner.stop();
});

test('completed instances are well, leftovers are shown, a mailbox that fails is not the end', async (t) => {
  const { reader, report, write, boot, fabric, mailbox } = await fixture();
  await write(
    nodeRecord('box1'),
    nodeRecord('box2'),
    applicationRecord('app', [microservice('job', { placement: { node: 'box1' } })]),
  );
  const { planner } = await boot();
  await report('box1', 'completed', { reason: 'exit status 0' });
  await report('box2');
  t.true((await reader.application('default', 'app'))?.ready);
  await fabric.remove('application/default/app');
  await planner.idle();
  t.like(await reader.instance('default.app.job.0'), { ready: false, reason: 'no longer wanted here' });
  const box2 = await mailbox('box2');
  box2.get = () => Promise.reject(new Error('closed'));
  const status = await reader.status();
  t.false(status.nodes.find(({ name }) => name === 'box2')?.upToDate);
  await planner.stop();
});

test('a worker answers about itself, and says when no controller is reachable', async (t) => {
  const { report, write, boot, mailbox, planOf } = await fixture();
  await write(nodeRecord('box1'), applicationRecord('app', [microservice('web')]));
  const { planner } = await boot();
  await report('box1');
  const facts = {
    fabric: { id: 'fabric-1', name: 'home' },
    node: { ...nodeRecord('box1'), links: [], addresses: [], problems: [] },
    obeyed: await planOf('box1'),
    mailbox: await readMailbox(await mailbox('box1')),
  };
  const well = nodeStatus({ ...facts, controllerReachable: true });
  t.like(well, { scope: 'node', ok: true, problems: [], controllerReachable: true, node: 'box1' });
  t.like(well.nodes[0]?.instances[0], { ready: true, pid: 42 });
  const alone = nodeStatus({ ...facts, controllerReachable: false });
  t.false(alone.ok);
  t.deepEqual(alone.problems, ['no controller is reachable from box1; it goes on with its plan (generation 1)']);
  const fresh = nodeStatus({ ...facts, obeyed: undefined, controllerReachable: true });
  t.deepEqual(fresh.problems, ['box1 does not obey its newest plan yet']);
  await planner.stop();
});
