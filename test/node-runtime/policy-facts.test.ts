// Policies as facts: a controller tells what its documents say, once; nodes believe it and nobody else, also among themselves and later.

import test from 'ava';
import type { CallRule } from '../../control/call-policy.ts';
import * as controlLimits from '../../control/limits.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import { policyAuthorization } from '../../mesh/authorization.ts';
import { controllerFactLifetimeMs } from '../../node-runtime/limits.ts';
import { createPolicyFacts } from '../../node-runtime/policy-facts.ts';
import { createTrust, type Trust } from '../../node-runtime/trust.ts';
import { acceptFact, factDocumentOf, factType, subjectOf } from '../../pki/facts.ts';
import type { Fact, PolicyBody } from '../../pki/identity.ts';
import { factBytesMax, policyPortsMax, policyRulesMax } from '../../pki/limits.ts';
import { createSigner } from '../../pki/signature.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { createFabric, dayMs, type Fabric, type Member } from '../pki/fabric-fixture.ts';

const rule: CallRule = { from: { project: 'default', application: 'shop' }, to: { application: 'store' } };
const till = { project: 'default', application: 'shop', microservice: 'till' };
const stock = { project: 'default', application: 'store', microservice: 'stock' };

interface Node {
  trust: Trust;
  database: Database;
  ignored: string[];
  /** Whether the till may call the stock, as this node knows. */
  allows(): boolean;
}

async function newNode(fabric: Fabric, database?: Database): Promise<Node> {
  const own = database ?? (await createSimStore().open('bulletin'));
  const ignored: string[] = [];
  const trust = createTrust({
    ...{ clock: fabric.clock, fabricId: fabric.id, root: fabric.root, database: own, disk: createSimDisk() },
    onChanged: () => undefined,
    onIgnored: (message) => void ignored.push(message),
  });
  await trust.bulletin.start();
  const allows = (): boolean =>
    policyAuthorization(trust.bulletin.policies().map(({ body }) => body))(till, stock, 8080);
  return { trust, database: own, ignored, allows };
}

async function quiet(): Promise<void> {
  // A write tells the bulletin, which reads it in turns of its own.
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What the one has and the other would accept, as replication brings it. Returns why others were refused. */
async function copy(from: Database, to: Node): Promise<string[]> {
  const refused: string[] = [];
  for (const { _rev, ...document } of await from.list('')) {
    const reason = to.trust.bulletin.judge(document as StoredDocument);
    if (reason !== undefined) refused.push(reason);
    else if ((await to.database.get(document._id)) === undefined) await to.database.put(document as StoredDocument);
  }
  await quiet();
  return refused;
}

async function newController(fabric: Fabric, member: Member = fabric.controller, documents?: Database) {
  const store = documents ?? (await createSimStore().open('fabric'));
  const node = await newNode(fabric);
  const { settle } = createPolicyFacts({
    ...{ clock: fabric.clock, fabric: store, bulletin: node.trust.bulletin, issuer: member.peerId },
    sign: createSigner(member),
  });
  let generation = 0;
  const write = async (allow: CallRule[], name = 'open'): Promise<void> => {
    generation += 1;
    await store.update(`policy/default/${name}`, (current) => ({
      ...current,
      ...{ _id: `policy/default/${name}`, project: 'default', name, generation, allow },
    }));
  };
  const facts = async (): Promise<number> => (await node.database.list('')).length;
  return { ...node, documents: store, settle, write, facts };
}

function forged(fabric: Fabric, by: Member, changes: Partial<Fact> = {}, allow = [rule]): StoredDocument {
  const body: PolicyBody = { kind: 'policy', project: 'default', name: 'open', allow };
  const now = fabric.clock.now();
  const fact: Fact = {
    ...{ fabricId: fabric.id, subject: subjectOf(body), sequence: 99, issuer: by.peerId, body },
    ...{ issuedAt: now, expiresAt: now + dayMs },
    ...changes,
  };
  return { ...factDocumentOf(createSigner(by)(factType, fact)) };
}

test('a policy is told once, changed and taken back by newer facts, and nodes without a controller pass it on', async (t) => {
  const fabric = createFabric();
  const controller = await newController(fabric);
  const [near, far] = [await newNode(fabric), await newNode(fabric)];
  await controller.settle();
  t.is(await controller.facts(), 0);
  await controller.write([rule]);
  await Promise.all([controller.settle(), controller.settle(), controller.settle()]);
  t.is(await controller.facts(), 1);
  t.deepEqual(await copy(controller.database, near), []);
  t.deepEqual(await copy(near.database, far), []);
  t.true(controller.allows() && near.allows() && far.allows());

  await controller.write([{ ...rule, to: { application: 'store', ports: [9] } }]);
  await controller.settle();
  await copy(controller.database, near);
  t.deepEqual([near.allows(), far.allows()], [false, true], 'who has not heard of it yet goes on');
  await controller.write([rule]);
  await controller.settle();
  await controller.documents.remove('policy/default/open');
  await controller.settle();
  await controller.settle();
  t.is(await controller.facts(), 4);
  await copy(controller.database, near);
  await copy(near.database, far);
  t.false(near.allows() || far.allows());
  // A start reads all four again, in whatever order the store has them.
  t.false((await newNode(fabric, far.database)).allows());
});

test('a Gateway is told as the policy that allows its calls, and taken back with it', async (t) => {
  const fabric = createFabric();
  const controller = await newController(fabric);
  const node = await newNode(fabric);
  const caller = { project: 'default', application: 'selvedge-gateways', microservice: 'web' };
  const allows = (port: number): boolean =>
    policyAuthorization(node.trust.bulletin.policies().map(({ body }) => body))(caller, stock, port);
  const spec = {
    ...{ on: { nodes: ['box2'] }, port: 8443, protocol: 'tcp' },
    routes: [{ to: { application: 'store', microservice: 'stock', port: 8080 } }],
  };
  const gateway = { project: 'default', name: 'web', generation: 1, spec, grants: [], added: [] };
  await controller.documents.put({ _id: 'gateway/default/web', ...gateway });
  await controller.settle();
  await controller.settle();
  t.is(await controller.facts(), 1);
  t.deepEqual(await copy(controller.database, node), []);
  t.deepEqual([allows(8080), allows(8081), node.allows()], [true, false, false]);
  await controller.documents.remove('gateway/default/web');
  await controller.settle();
  await copy(controller.database, node);
  t.false(allows(8080));
});

test('a node that starts again without a controller has its policies', async (t) => {
  const fabric = createFabric();
  const controller = await newController(fabric);
  await controller.write([rule]);
  await controller.settle();
  const node = await newNode(fabric);
  await copy(controller.database, node);
  await fabric.clock.advance(100 * dayMs);
  t.true((await newNode(fabric, node.database)).allows());
});

test('a policy is told again at half of its life, and one that nobody tells again ends', async (t) => {
  const fabric = createFabric();
  const controller = await newController(fabric);
  await controller.write([rule]);
  await controller.settle();
  await fabric.clock.advance(controllerFactLifetimeMs / 2 - dayMs);
  await controller.settle();
  t.is(await controller.facts(), 1);
  await fabric.clock.advance(2 * dayMs);
  await controller.settle();
  t.is(await controller.facts(), 2);
});

test('what nobody but a controller says changes nothing, stored or not', async (t) => {
  const fabric = createFabric();
  const hostile = fabric.addNode('box6');
  const foreign = createFabric();
  const forgeries: [StoredDocument, RegExp][] = [
    [forged(fabric, hostile), /only a controller signs facts/],
    [forged(fabric, hostile, { issuer: fabric.controller.peerId }), /only a controller signs facts/],
    [forged(foreign, foreign.controller, { fabricId: fabric.id }), /signer is not accepted/],
    [forged(fabric, fabric.controller, { subject: 'policy/other/open' }), /subject/],
    [forged(fabric, fabric.controller, { subject: `revocation/${hostile.peerId}` }), /subject/],
    [forged(fabric, fabric.controller, { expiresAt: fabric.clock.now() }), /expired/],
    [
      forged(fabric, fabric.controller, {}, [{ ...rule, from: { ...rule.from, everybody: true } } as CallRule]),
      /malformed at body.allow.0.from/,
    ],
  ];
  const tampering = await createSimStore().open('bulletin');
  for (const [document] of forgeries) await tampering.put(document);
  const node = await newNode(fabric);
  const refused = await copy(tampering, node);
  for (const [, reason] of forgeries)
    t.true(
      refused.some((one) => reason.test(one)),
      `${reason}: ${refused.join('; ')}`,
    );
  t.is(refused.length, forgeries.length);
  t.false(node.allows());
  // Also when they stand in its own store.
  const stored = await newNode(fabric, tampering);
  t.false(stored.allows());
  t.is(stored.ignored.length, forgeries.length);
});

test('a hostile node cannot take a policy back either', async (t) => {
  const fabric = createFabric();
  const controller = await newController(fabric);
  await controller.write([rule]);
  await controller.settle();
  await controller.database.put(forged(fabric, fabric.addNode('box6'), {}, []));
  const node = await newNode(fabric);
  t.is((await copy(controller.database, node)).length, 1);
  t.true(node.allows());
});

test('facts that the documents do not say are put right: a store that was set back, a controller that was revoked', async (t) => {
  const fabric = createFabric();
  const other = fabric.addController('box9');
  const controller = await newController(fabric);
  await controller.database.put(forged(fabric, other));
  await quiet();
  t.true(controller.allows());
  await controller.settle();
  t.false(controller.allows(), 'its documents know of no such policy');
  t.is(controller.trust.bulletin.policies()[0]?.sequence, 100);

  await controller.write([rule]);
  await controller.settle();
  const before = await controller.facts();
  const body = { kind: 'revocation', peerId: fabric.controller.peerId, node: 'box1', reason: 'stolen' } as const;
  const heir = await newController(fabric, other, controller.documents);
  await copy(controller.database, heir);
  await heir.trust.bulletin.publish(createSigner(other), other.peerId, subjectOf(body), body, dayMs);
  await heir.settle();
  t.is(await heir.facts(), before + 2);
  t.true(
    (await newNode(fabric, heir.database)).allows(),
    'the fact of who was revoked counts no more, and is not needed',
  );
});

test('the largest policy that is accepted fits into a fact', (t) => {
  const fabric = createFabric();
  const name = 'x'.repeat(63);
  const side = { application: name, microservice: name };
  const ports = Array.from({ length: policyPortsMax }, (_, index) => 65_535 - index);
  const allow = Array(policyRulesMax).fill({ from: { project: name, ...side }, to: { ...side, ports } });
  const body: PolicyBody = { kind: 'policy', project: name, name, allow };
  const document = forged(fabric, fabric.controller, { body, subject: subjectOf(body) });
  t.true(JSON.stringify(document).length <= factBytesMax, `${JSON.stringify(document).length} bytes`);
  const { verifySigned } = createTrust({
    ...{ clock: fabric.clock, fabricId: fabric.id, root: fabric.root, disk: createSimDisk() },
    database: undefined as never,
    onChanged: () => undefined,
    onIgnored: () => undefined,
  });
  t.like(acceptFact(document, { verifySigned, fabricId: fabric.id, now: fabric.clock.now() }), { accepted: true });
  t.deepEqual(
    [controlLimits.policyRulesMax, controlLimits.policyPortsMax],
    [policyRulesMax, policyPortsMax],
    'what a manifest may say is what nodes accept',
  );
});
