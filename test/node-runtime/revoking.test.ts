// An operator takes nodes out: what follows on the controller (places, mailbox, views, ledger), and that it outlives a power cut.
// The product's own composition on simulated ports; what happens on the mesh is in revocation.test.ts.

import test from 'ava';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createScenarioApplication } from '../../simulations/sim-application.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import type { SimBox } from '../../simulations/sim-node.ts';
import { createSimFabric, type SimFabric } from './sim-fabric.ts';

const nodeOf = async (fabric: SimFabric, name: string) => fabric.controller().status.node(name);
const eventsOf = async (fabric: SimFabric, type: string) =>
  (await fabric.controller().ledger.list()).filter((event) => event.type === type);
const mailboxes = (fabric: SimFabric): string[] =>
  [...fabric.founder.store.snapshot()].flatMap(([name]) => (name.startsWith('mailbox/') ? [name] : [])).sort();

const revocationsOn = (box: SimBox): string[] =>
  [...box.disk.snapshot().keys()].filter((path) => path.startsWith('revocations/'));

/** The key of a box that was a node asks to become one again. */
const askAgain = (fabric: SimFabric, peerId: string, by: 'token' | 'approval' | 'window') =>
  fabric.controller().admission.admit({
    ...{ peerId, name: 'box2', nameChosen: false, labels: {}, router: 'edge', engines: ['process'], by },
    publicKey: new Uint8Array(),
    platform: { arch: 'x64', os: 'linux', software: 'simulated' },
  });

test('a revoked node loses its work, its mailbox and its place in the fabric, once', async (t) => {
  const fabric = await createSimFabric(t, 'revoking');
  const { during } = fabric;
  const out = await fabric.join('box2');
  await fabric.join('box3');
  await fabric.controller().apply.apply(createScenarioApplication('work', 3));
  const isReady = async () => (await fabric.controller().status.application('default', 'work'))?.ready === true;
  await fabric.until('the application runs', isReady);
  const had = (await nodeOf(fabric, 'box2'))?.instances.map(({ name }) => name) ?? [];
  t.is(had.length, 1);

  const view = await during(fabric.controller().revoking.revoke('box2', 'stolen'));
  t.like(view, { node: 'box2', peerId: fabric.peerId(out), reason: 'stolen', already: false, removed: false });
  t.deepEqual(
    view.instances.map(({ name }) => name),
    had,
  );
  t.true(view.instances.every(({ node }) => node === 'box1' || node === 'box3'));
  t.deepEqual(mailboxes(fabric), ['mailbox/box1', 'mailbox/box3']);
  t.is(revocationsOn(fabric.founder).length, 1);
  await fabric.until('its work runs elsewhere', isReady);
  t.like(await nodeOf(fabric, 'box2'), { state: 'revoked', revoked: { reason: 'stolen' }, instances: [], links: [] });
  const { ok, problems } = await fabric.controller().status.status();
  t.true(ok, problems.join());
  const [event, ...more] = await eventsOf(fabric, 'node-revoked');
  t.like(event, { subject: 'box2' });
  t.regex(event?.message ?? '', /was revoked by an operator at box1; it had 1 instance\(s\): stolen/);

  const again = await during(fabric.controller().revoking.revoke('box2', 'sold'));
  t.like(again, { already: true, reason: 'stolen', revokedAt: view.revokedAt, instances: [] });
  t.is(revocationsOn(fabric.founder).length, 1);
  t.is((await eventsOf(fabric, 'node-revoked')).length, 1 + more.length);
  t.deepEqual(mailboxes(fabric), ['mailbox/box1', 'mailbox/box3'], 'nobody made it again by looking');

  // New work does not go there either.
  await fabric.controller().apply.apply(createScenarioApplication('more', 6));
  await fabric.until('more runs', async () => {
    const application = await fabric.controller().status.application('default', 'more');
    return application?.ready === true && application.instances.every(({ node }) => node !== 'box2');
  });
});

test('work that may run nowhere else says why', async (t) => {
  const fabric = await createSimFabric(t, 'pinned');
  await fabric.join('box2');
  const [application] = createScenarioApplication('work', 1) as [
    { spec: { microservices: { placement?: { node: string } }[] } },
  ];
  for (const microservice of application.spec.microservices) microservice.placement = { node: 'box2' };
  await fabric.controller().apply.apply([application]);
  const read = () => fabric.controller().status.application('default', 'work');
  await fabric.until('it runs', async () => (await read())?.ready === true);
  const { instances } = await fabric.during(fabric.controller().revoking.revoke('box2', ''));
  t.deepEqual(instances, [{ name: 'default.work.worker.0' }]);
  const [instance] = (await read())?.instances ?? [];
  t.like(instance, { state: 'unplaced', ready: false });
  t.regex(instance?.reason ?? '', /box2[^;]*is revoked/);
});

test('a revoked key is admitted again by nothing; a removed one neither, but its name is free', async (t) => {
  const fabric = await createSimFabric(t, 'readmission');
  const out = await fabric.join('box2');
  const peerId = fabric.peerId(out);
  await fabric.during(fabric.controller().revoking.revoke('box2', ''));
  for (const by of ['token', 'approval', 'window'] as const) {
    const answer = await askAgain(fabric, peerId, by);
    t.regex('refused' in answer ? answer.refused : '', /key of this box was revoked/);
  }
  t.is(await fabric.controller().mailboxOf(peerId), undefined);
  const removed = await fabric.during(fabric.controller().revoking.remove('box2', ''));
  t.like(removed, { already: true, removed: true });
  t.is(await nodeOf(fabric, 'box2'), undefined);
  t.true('refused' in (await askAgain(fabric, peerId, 'approval')));
  t.is((await eventsOf(fabric, 'node-removed')).length, 1);
  await t.throwsAsync(fabric.controller().revoking.remove('box2', ''), { name: 'NotFoundError' });

  const newcomer = createSimKeys(fabric.random.fork('newcomer'));
  const answer = await fabric.controller().admission.admit({
    ...{ name: 'box2', nameChosen: true, labels: {}, router: 'edge', engines: ['process'], by: 'token' },
    peerId: peerIdOf(newcomer.create('Ed25519').publicKey),
    publicKey: newcomer.create('P-256').publicKey,
    platform: { arch: 'x64', os: 'linux', software: 'simulated' },
  });
  t.like(answer, { node: 'box2' });
});

test('the controller that answers, and what is no node, are refused and nothing changes', async (t) => {
  const fabric = await createSimFabric(t, 'refused');
  for (const act of ['revoke', 'remove'] as const) {
    await t.throwsAsync(fabric.controller().revoking[act]('box1', ''), {
      name: 'NodeNotRevocableError',
      message: /box1 is the controller that answers/,
    });
    await t.throwsAsync(fabric.controller().revoking[act]('box9', ''), { name: 'NotFoundError', message: /"box9"/ });
  }
  t.is((await nodeOf(fabric, 'box1'))?.state, 'connected');
  t.deepEqual(revocationsOn(fabric.founder), []);
});

test('a revocation outlives a power cut that sets the store back, and a damaged file', async (t) => {
  const fabric = await createSimFabric(t, 'power');
  const { founder } = fabric;
  const out = await fabric.join('box2');
  const peerId = fabric.peerId(out);
  await out.stop();
  const before = founder.store.snapshot();
  await fabric.during(fabric.controller().revoking.revoke('box2', 'stolen'));
  const restart = async (): Promise<void> => {
    await founder.start();
    await fabric.until('box1 runs', () => founder.node().member() !== undefined);
  };

  await founder.stop();
  founder.store.restore(before);
  await restart();
  t.is((await nodeOf(fabric, 'box2'))?.state, 'revoked');
  t.true('refused' in (await askAgain(fabric, peerId, 'token')));

  const [path = ''] = revocationsOn(founder);
  const whole = founder.disk.snapshot().get(path) ?? new Uint8Array();
  await founder.stop();
  await founder.disk.write(path, whole.slice(0, whole.length / 2));
  await restart();
  t.deepEqual(founder.disk.snapshot().get(path), whole, 'mended from the store');

  // Neither the file nor the bulletin has it: the node's record does.
  await founder.stop();
  await founder.disk.remove(path);
  await founder.store.destroy('bulletin');
  await restart();
  t.is(revocationsOn(founder).length, 1);
  t.true('refused' in (await askAgain(fabric, peerId, 'token')));
  t.true(fabric.said('box1').some((line) => line.includes('the revocation of box2 was lost, and is published again')));
});

test('every node keeps a revocation on its disk, and believes it after a power cut with nobody to ask', async (t) => {
  const fabric = await createSimFabric(t, 'kept');
  const out = await fabric.join('box2', 'interior');
  const other = await fabric.join('box3', 'interior');
  const before = other.store.snapshot();
  await fabric.during(fabric.controller().revoking.revoke('box2', ''));
  await fabric.until('box3 keeps it', () => revocationsOn(other).length === 1);
  await fabric.founder.stop();
  await other.stop();
  other.store.restore(before);
  await other.start();
  await fabric.until('box3 runs', () => other.node().member() !== undefined);
  await fabric.clock.advance(30_000);
  t.deepEqual(await fabric.linkedTo(other), []);
  t.deepEqual(await fabric.linkedTo(out), []);
});
