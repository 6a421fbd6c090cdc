// The planner on a simulated store: what it writes, in which order, what it leaves alone, and what survives a restart.

import test from 'ava';
import { sha256 } from '../../control/canonical-json.ts';
import type { PlacementRecord } from '../../control/fabric.ts';
import type { Balancing, Ticket } from '../../control/plan.ts';
import { asTicket, compareVersions, decodePayload } from '../../control/plan-version.ts';
import { createPlannerFixture, fakeSign } from './planner-fixture.ts';
import { applicationRecord, configRecord, microservice, nodeRecord } from './records.ts';

const ticketOf = (jws: string | undefined): Ticket | undefined => asTicket(decodePayload(jws ?? ''));

test('an empty plan is a plan', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'));
  const { planner } = await fixture.boot();
  const plan = await fixture.planOf('box1');
  t.like(plan, {
    node: 'box1',
    peerId: 'peer-box1',
    fabricId: 'fabric-1',
    epoch: 1,
    term: 1,
    instances: [],
    files: [],
  });
  t.deepEqual(fixture.issued, [{ node: 'box1', covers: [], number: 2 }]);
  await planner.stop();
});

test('one application becomes places, files, authorities and plans, in that order', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), nodeRecord('box2'));
  const { planner } = await fixture.boot();
  const order: string[] = [];
  for (const node of ['box1', 'box2']) (await fixture.mailbox(node)).subscribe(({ id }) => order.push(`${node} ${id}`));
  await fixture.write(configRecord('program', { 'a.js': 'one', 'b/c.js': 'two' }));
  await fixture.write(
    applicationRecord('app', [
      microservice('web', { replicas: 2, configs: ['program'], dependsOn: ['store'] }),
      microservice('store', {
        ports: [
          { name: 'db', port: 5432 },
          { name: 'http', port: 80 },
        ],
      }),
    ]),
  );
  await planner.idle();
  const placement = (await fixture.fabric.get('placement/default/app')) as unknown as PlacementRecord;
  t.deepEqual(placement.instances, {
    'default.app.store.0': { node: 'box1' },
    'default.app.web.0': { node: 'box1' },
    'default.app.web.1': { node: 'box2' },
  });
  for (const node of ['box1', 'box2']) {
    const own = order.filter((entry) => entry.startsWith(node)).map((entry) => entry.slice(5));
    const last = own.indexOf('desired/plan');
    t.true(own.slice(0, last).filter((id) => id.startsWith('desired/file/')).length === 2, own.join());
    t.true(own.indexOf('desired/authority') < last);
  }
  const plan = await fixture.planOf('box1');
  t.deepEqual(
    plan?.instances.map(({ name }) => name),
    ['default.app.store.0', 'default.app.web.0'],
  );
  const web = plan?.instances[1];
  t.deepEqual(
    web?.calls.map(({ microservice: name, port }) => `${name}:${port}`),
    ['web:8080', 'store:5432', 'store:80'],
  );
  t.deepEqual(web?.dependsOn, ['store']);
  t.deepEqual(plan?.files.map(({ slot }) => slot).length, 2);
  for (const { slot, sha256: hash } of plan?.files ?? []) {
    const file = await (await fixture.mailbox('box1')).get(`desired/file/${slot}`);
    t.is(sha256(Buffer.from(String(file?.contentBase64), 'base64')), hash);
  }
  t.like(ticketOf(web?.ticket), {
    instance: 'default.app.web.0',
    peerId: 'peer-box1',
    ports: [8080],
    fabricId: 'fabric-1',
  });
  t.is(ticketOf(web?.ticket)?.generation, plan?.generation);
  const covers = fixture.issued.findLast(({ node }) => node === 'box1')?.covers;
  t.deepEqual(
    covers?.map((name) => name.microservice),
    ['store', 'web'],
  );
  t.is((await fixture.fabric.get('node/box1'))?.issueNumber, 3);
  await planner.stop();
});

test('a service of another application is called as it says itself, and its callers hear of another word', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), nodeRecord('box2'));
  const store = (balancing?: Balancing) =>
    applicationRecord('store', [
      microservice('stock', { placement: { node: 'box2' }, ...(balancing && { balancing }) }),
      microservice('other', { placement: { node: 'box2' }, balancing: { policy: 'closest' } }),
    ]);
  const calls = [{ application: 'store', microservice: 'stock', port: 8080 }];
  await fixture.write(
    store({ policy: 'sticky' }),
    applicationRecord('shop', [microservice('till', { calls, placement: { node: 'box1' } })]),
  );
  const { planner } = await fixture.boot();
  const said = async () => (await fixture.planOf('box1'))?.instances[0]?.calls.slice(1);
  const stock = { project: 'default', application: 'store', microservice: 'stock', port: 8080 };
  t.deepEqual(await said(), [{ ...stock, balancing: { policy: 'sticky' } }]);
  const before = await fixture.planOf('box1');
  await fixture.write(store({ instance: 0 }));
  await planner.idle();
  t.deepEqual(await said(), [{ ...stock, balancing: { instance: 0 } }]);
  const [now] = (await fixture.planOf('box1'))?.instances ?? [];
  t.like(now, { specHash: before?.instances[0]?.specHash, ticket: before?.instances[0]?.ticket }, 'nothing restarts');
  await fixture.write(store());
  await planner.idle();
  t.deepEqual(await said(), [stock], 'round-robin is not said');
  await planner.stop();
});

test('what is unchanged is not written again, and tickets are taken over', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), nodeRecord('box2', { labels: { zone: 'x' } }));
  await fixture.write(applicationRecord('app', [microservice('web', { placement: { node: 'box1' } })]));
  const { planner } = await fixture.boot();
  const before = await fixture.planOf('box1');
  const revision = (await (await fixture.mailbox('box1')).get('desired/plan'))?._rev;
  await fixture.write(applicationRecord('other', [microservice('far', { placement: { node: 'box2' } })]));
  await planner.idle();
  t.is((await (await fixture.mailbox('box1')).get('desired/plan'))?._rev, revision);
  await fixture.write(applicationRecord('third', [microservice('near', { placement: { node: 'box1' } })]));
  await planner.idle();
  const after = await fixture.planOf('box1');
  t.true((after?.generation ?? 0) > (before?.generation ?? 0));
  t.is(after?.instances[0]?.ticket, before?.instances[0]?.ticket);
  t.is(ticketOf(after?.instances[1]?.ticket)?.generation, after?.generation);
  await planner.stop();
});

test('an instance that moves gets a ticket above every older one, wherever it was', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), nodeRecord('box2'));
  const { planner } = await fixture.boot();
  const at = (node: string, env: Record<string, string> = {}) =>
    fixture.write(applicationRecord('app', [microservice('web', { placement: { node }, env })]));
  const seen: Ticket[] = [];
  // box1's plan is written more often than box2's: a count for each node would make the newer ticket the lower one.
  for (const [node, env] of [
    ['box1', '1'],
    ['box1', '2'],
    ['box1', '3'],
    ['box2', '4'],
    ['box1', '5'],
  ] as const) {
    await at(node, { ROUND: env });
    await planner.idle();
    const ticket = ticketOf((await fixture.planOf(node))?.instances[0]?.ticket);
    if (ticket !== undefined && ticket.peerId !== seen.at(-1)?.peerId) seen.push(ticket);
  }
  t.deepEqual(
    seen.map(({ peerId }) => peerId),
    ['peer-box1', 'peer-box2', 'peer-box1'],
  );
  t.true(seen.every((ticket, index) => index === 0 || compareVersions(ticket, seen[index - 1] as Ticket) > 0));
  await planner.stop();
});

test('a restart writes nothing, and goes on counting with a new term', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), applicationRecord('app', [microservice('web')]));
  const first = await fixture.boot();
  await first.planner.stop();
  await first.lease.stop();
  const before = await fixture.planOf('box1');
  const issued = fixture.issued.length;
  const second = await fixture.boot();
  t.deepEqual(second.lease.current(), { epoch: 1, term: 2 });
  t.deepEqual(await fixture.planOf('box1'), before);
  t.is(fixture.issued.length, issued);
  await fixture.write(applicationRecord('app', [microservice('web', { env: { A: 'b' } })]));
  await second.planner.idle();
  const after = await fixture.planOf('box1');
  t.true(
    compareVersions(after ?? { epoch: 0, term: 0, generation: 0 }, before ?? { epoch: 9, term: 0, generation: 0 }) > 0,
  );
  t.true((after?.generation ?? 0) > (before?.generation ?? 0));
  t.is(after?.term, 2);
  t.not(after?.instances[0]?.specHash, before?.instances[0]?.specHash);
  await second.planner.stop();
});

test('a restart between the authority and the plan writes both again', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'));
  const first = await fixture.boot();
  const mailbox = await fixture.mailbox('box1');
  const put = mailbox.update.bind(mailbox);
  mailbox.update = (id, change) => (id === 'desired/plan' ? Promise.reject(new Error('power cut')) : put(id, change));
  await fixture.write(applicationRecord('app', [microservice('web')]));
  await first.planner.idle();
  await first.planner.stop();
  t.is(fixture.issued.length, 2);
  mailbox.update = put;
  const second = await fixture.boot();
  t.is((await fixture.planOf('box1'))?.instances.length, 1);
  t.is(fixture.issued.at(-1)?.covers.length, 1);
  await second.planner.stop();
});

test('writes nothing without the lease', async (t) => {
  const fixture = await createPlannerFixture();
  fixture.disk.files.set(
    'lease.jsonl',
    `${JSON.stringify({ epoch: 1, term: 1, holder: 'a', controllers: ['a', 'peer-controller'], at: 0 })}\n`,
  );
  await fixture.write(nodeRecord('box1'), applicationRecord('app', [microservice('web')]));
  const { planner } = await fixture.boot();
  await planner.idle();
  t.is(await fixture.planOf('box1'), undefined);
  t.is(await fixture.fabric.get('placement/default/app'), undefined);
  await planner.stop();
});

test('stops writing in the middle of a round once the lease is gone', async (t) => {
  const held = { now: true };
  const lease = { current: () => (held.now ? { epoch: 1, term: 1 } : undefined), subscribe: () => () => undefined };
  const fixture = await createPlannerFixture({
    lease,
    issueAuthority: () => {
      held.now = false;
      return ['AAAA'];
    },
  });
  await fixture.write(nodeRecord('box1'));
  const { planner } = await fixture.boot();
  t.is(await (await fixture.mailbox('box1')).get('desired/authority'), undefined);
  t.is(await fixture.planOf('box1'), undefined);
  await planner.stop();
});

test('a mailbox that fails stops no other, is reported once and tried again', async (t) => {
  const broken = { now: true };
  const fixture = await createPlannerFixture();
  const mailbox = (node: string) =>
    node === 'box1' && broken.now ? Promise.reject(new Error('disk full')) : fixture.mailbox(node);
  await fixture.write(nodeRecord('box1'), nodeRecord('box2'));
  const { planner } = await fixture.boot({ mailbox });
  t.truthy(await fixture.planOf('box2'));
  t.is(await fixture.planOf('box1'), undefined);
  await fixture.clock.advance(5_000);
  await planner.idle();
  t.deepEqual(
    fixture.events.filter(({ type }) => type === 'plan-not-written').map(({ subject }) => subject),
    ['box1'],
  );
  broken.now = false;
  await fixture.clock.advance(60_000);
  await planner.idle();
  t.truthy(await fixture.planOf('box1'));
  t.is(fixture.clock.pending(), 0);
  await planner.stop();
});

test('an issuer that cannot issue, by a wrong clock, changes no record and is tried again', async (t) => {
  let expired = true;
  const fixture = await createPlannerFixture({
    issueAuthority: (_node, _covers, number) => {
      if (expired) throw new Error('the issuer has expired');
      return [`AAA${number}`];
    },
  });
  await fixture.write(nodeRecord('box1'));
  const before = await fixture.fabric.get('node/box1');
  const { planner } = await fixture.boot();
  t.deepEqual(await fixture.fabric.get('node/box1'), before);
  t.deepEqual(
    fixture.events.filter(({ type }) => type === 'plan-not-written').map(({ message }) => message),
    ['the issuer has expired'],
  );
  expired = false;
  await fixture.clock.advance(60_000);
  await planner.idle();
  t.truthy(await fixture.planOf('box1'));
  await planner.stop();
});

test('a malformed document is an event and stops nothing', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(
    nodeRecord('box1'),
    { _id: 'application/default/bad', name: 'bad' },
    { _id: 'node/odd', name: 1 },
  );
  const { planner } = await fixture.boot();
  t.truthy(await fixture.planOf('box1'));
  t.is(fixture.events.filter(({ type }) => type === 'document-malformed').length, 2);
  await planner.stop();
});

/** Writes a second leaf beside the winner, as a stale edit that was replicated does. */
async function addLeaf(
  database: Awaited<ReturnType<Awaited<ReturnType<typeof createPlannerFixture>>['mailbox']>>,
  document: object,
  depth: number,
) {
  const ids = Array.from({ length: depth }, (_, index) =>
    String(index + 7)
      .repeat(32)
      .slice(0, 32),
  );
  const revision = { _rev: `${depth}-${ids[0]}`, _revisions: { start: depth, ids } };
  await database.peer.bulkDocs({ docs: [{ ...document, ...revision }] }, { new_edits: false });
}

test('removes losing leaves, and keeps the newest plan even where a stale one wins', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), applicationRecord('app', [microservice('web')]));
  const { planner } = await fixture.boot();
  const mailbox = await fixture.mailbox('box1');
  const good = await fixture.planOf('box1');
  const stale = fakeSign('selvedge-plan+jws', { ...good, generation: 0, instances: [] });
  await addLeaf(mailbox, { _id: 'desired/plan', jws: stale }, 9);
  await planner.idle();
  t.deepEqual(await fixture.planOf('box1'), good);
  const live = (await mailbox.leaves('desired/plan')).filter(({ _deleted }) => _deleted !== true);
  t.is(live.length, 1);
  // Also one that came while the planner was not there.
  await planner.stop();
  await addLeaf(mailbox, { _id: 'desired/plan', jws: stale }, 20);
  const second = await fixture.boot();
  t.deepEqual(await fixture.planOf('box1'), good);
  t.is((await mailbox.leaves('desired/plan')).filter(({ _deleted }) => _deleted !== true).length, 1);
  await second.planner.stop();
});

test('a plan that was deleted or tampered with is written again', async (t) => {
  const fixture = await createPlannerFixture();
  const verifySigned = (jws: string) => {
    if (!jws.endsWith(Buffer.from('"selvedge-plan+jws"').toString('base64url'))) throw new Error('bad signature');
    const signer = {
      kind: 'controller',
      fabricId: 'f',
      node: 'c',
      peerId: 'p',
      authorityKeySha256: '',
      notAfter: 0,
    } as const;
    return { payload: decodePayload(jws), signer };
  };
  await fixture.write(nodeRecord('box1'));
  const { planner } = await fixture.boot({ verifySigned });
  const mailbox = await fixture.mailbox('box1');
  const good = await fixture.planOf('box1');
  await mailbox.update('desired/plan', () => ({
    _id: 'desired/plan',
    jws: `${fakeSign('x', { ...good, node: 'evil' })}`,
  }));
  await planner.idle();
  t.is((await fixture.planOf('box1'))?.node, 'box1');
  await mailbox.remove('desired/plan');
  await planner.idle();
  t.is((await fixture.planOf('box1'))?.node, 'box1');
  await planner.stop();
});

test('a verifier that refuses what the planner itself writes does not make it write for ever', async (t) => {
  const fixture = await createPlannerFixture({
    verifySigned: () => {
      throw new Error('no');
    },
    verifyChain: () => {
      throw new Error('no');
    },
  });
  await fixture.write(nodeRecord('box1'));
  const { planner } = await fixture.boot();
  await planner.idle();
  t.is(fixture.issued.length, 1);
  t.is((await fixture.planOf('box1'))?.generation, 1);
  await planner.stop();
});

test('files that are no longer used stay until the node obeys the newer plan', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), configRecord('old', { 'a.js': '1' }));
  await fixture.write(applicationRecord('app', [microservice('web', { configs: ['old'] })]));
  const { planner } = await fixture.boot();
  const mailbox = await fixture.mailbox('box1');
  const before = await fixture.planOf('box1');
  await fixture.obey('box1', before ?? { epoch: 0, term: 0, generation: 0 });
  await fixture.write(applicationRecord('app', [microservice('web')]));
  await planner.idle();
  t.is((await mailbox.list('desired/file/')).length, 1);
  const { epoch = 0, term = 0, generation = 0 } = (await fixture.planOf('box1')) ?? {};
  await fixture.obey('box1', { epoch, term, generation });
  await planner.idle();
  t.is((await mailbox.list('desired/file/')).length, 0);
  await planner.stop();
});

test('a changed config, a new key and a renewal each issue what they must', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), configRecord('c', { 'a.js': '1' }));
  await fixture.write(applicationRecord('app', [microservice('web', { configs: ['c'] })]));
  const { planner } = await fixture.boot();
  const numbers = () => fixture.issued.map(({ number }) => number);
  t.deepEqual(numbers(), [2]);
  const before = await fixture.planOf('box1');
  await fixture.write(configRecord('c', { 'a.js': '2' }));
  await planner.idle();
  const after = await fixture.planOf('box1');
  t.not(after?.files[0]?.sha256, before?.files[0]?.sha256);
  t.is(after?.instances[0]?.specHash, before?.instances[0]?.specHash, 'it is given the new file while it runs');
  t.deepEqual(numbers(), [2], 'the covered services are the same');
  await planner.renewAuthority('box1');
  t.deepEqual(numbers(), [2, 3]);
  await fixture.fabric.update('node/box1', (current) => current && { ...current, authorityPublicKey: 'bmV3' });
  await planner.idle();
  t.deepEqual(numbers(), [2, 3, 4]);
  await planner.stop();
});

test('a deleted application leaves an empty plan, and a removed node frees its instances', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), nodeRecord('box2'), applicationRecord('app', [microservice('web')]));
  const { planner } = await fixture.boot();
  t.is((await fixture.planOf('box1'))?.instances.length, 1);
  await fixture.fabric.remove('node/box1');
  await planner.idle();
  t.is((await fixture.planOf('box2'))?.instances.length, 1);
  await fixture.fabric.remove('application/default/app');
  await planner.idle();
  t.is((await fixture.planOf('box2'))?.instances.length, 0);
  t.is(await fixture.fabric.get('placement/default/app'), undefined);
  await planner.stop();
});

test('an instance whose config went missing stays as it was planned', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'), configRecord('c', { 'a.js': '1' }));
  await fixture.write(applicationRecord('app', [microservice('web', { configs: ['c'] })]));
  const { planner } = await fixture.boot();
  const before = await fixture.planOf('box1');
  await fixture.fabric.remove('config/default/c');
  await planner.idle();
  t.deepEqual((await fixture.planOf('box1'))?.instances, before?.instances);
  t.is(fixture.events.filter(({ type }) => type === 'plan-incomplete').length, 1);
  await planner.stop();
});

test('stop and start are idempotent', async (t) => {
  const fixture = await createPlannerFixture();
  await fixture.write(nodeRecord('box1'));
  const { planner } = await fixture.boot();
  await planner.start();
  await Promise.all([planner.stop(), planner.stop()]);
  await fixture.write(nodeRecord('box2'));
  await planner.idle();
  t.is(await fixture.planOf('box2'), undefined);
  await planner.start();
  t.truthy(await fixture.planOf('box2'));
  await planner.stop();
  t.is(fixture.clock.pending(), 0);
});
