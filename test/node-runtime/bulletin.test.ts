// A member passes on a bulletin that it has tampered with: nobody else changes his mind. Facts travel by real replication,
// from the protocol's server through the write guard that member.ts puts before a bulletin.

import test from 'ava';
import { createRemotePeer } from '../../control/remote-peer.ts';
import { replicate } from '../../control/replicate.ts';
import { createReplicationServer } from '../../control/replication-server.ts';
import { firstRevision } from '../../control/revision.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import { bulletinWrites, guardedPeer } from '../../control/write-guard.ts';
import { replicateProtocol } from '../../node-runtime/replicas.ts';
import { createTrust, type Trust } from '../../node-runtime/trust.ts';
import { type FactDocument, factDocumentOf, factType } from '../../pki/facts.ts';
import type { Fact, SignPayload } from '../../pki/identity.ts';
import { createSigner } from '../../pki/signature.ts';
import { createSimClock, type SimClock } from '../../simulations/sim-clock.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { createFramePair } from '../frame-pair.ts';
import { createFabric, dayMs, type Fabric, type Member } from '../pki/fabric-fixture.ts';

const signerOf = ({ key, chain }: Pick<Member, 'key' | 'chain'>): SignPayload => createSigner({ key, chain });

interface Node {
  trust: Trust;
  database: Database;
  refused: string[];
  ignored: string[];
  /** Takes over what it accepts of the other's bulletin. */
  pullFrom(served: Database): Promise<void>;
}

interface World {
  fabric: Fabric;
  /** Whom the true fact revokes. */
  thief: Member;
  /** The fact, as its controller wrote it. */
  revocation: FactDocument;
  factOf(changes?: Partial<Fact>, sign?: SignPayload): FactDocument;
  /** `clock` is the node's own; the fabric's when left out. */
  newNode(clock?: SimClock): Promise<Node>;
  /** The bulletin of a member that stores whatever it likes: the true fact is in it. */
  newForgery(): Promise<Database>;
}

const documentOf = (fact: FactDocument): StoredDocument => ({ ...fact });

/** Stores documents under the revisions that they come with, as only a member without a guard does. */
async function force(database: Database, ...documents: StoredDocument[]): Promise<void> {
  await database.peer.bulkDocs({ docs: documents, new_edits: false });
}

const underFirstRevision = (document: StoredDocument): StoredDocument => ({
  ...document,
  _rev: firstRevision(document),
});

async function createWorld(): Promise<World> {
  const fabric = createFabric();
  const thief = fabric.addNode('thief');
  const sign = signerOf(fabric.controller);

  function factOf(changes: Partial<Fact> = {}, by = sign): FactDocument {
    const now = fabric.clock.now();
    const fact: Fact = {
      fabricId: fabric.id,
      subject: `revocation/${thief.peerId}`,
      sequence: 2,
      issuer: fabric.controller.peerId,
      issuedAt: now,
      expiresAt: now + 300 * dayMs,
      body: { kind: 'revocation', peerId: thief.peerId, node: 'thief', reason: 'stolen' },
      ...changes,
    };
    return factDocumentOf(by(factType, fact));
  }
  const revocation = factOf();

  return {
    fabric,
    thief,
    revocation,
    factOf,
    async newNode(clock = fabric.clock) {
      const database = await createSimStore().open('bulletin');
      const ignored: string[] = [];
      const refused: string[] = [];
      const trust = createTrust({
        clock,
        fabricId: fabric.id,
        root: fabric.root,
        database,
        disk: createSimDisk(),
        onChanged: () => undefined,
        onIgnored: (message) => void ignored.push(message),
      });
      await trust.bulletin.start();
      const guard = bulletinWrites((document) => trust.bulletin.judge(document));
      return {
        trust,
        database,
        refused,
        ignored,
        async pullFrom(served) {
          const pair = createFramePair(replicateProtocol);
          const serve = createReplicationServer({
            resolve: async () => ({ database: served, guard: () => 'facts are never pushed' }),
            onRefused: () => undefined,
          });
          void serve(pair.far, thief.peerId);
          const remote = createRemotePeer(pair.near, { database: 'bulletin', onChanged: () => undefined });
          const local = guardedPeer(database.peer, guard, ({ id, reason }) => void refused.push(`${id}: ${reason}`));
          await replicate(remote, local);
          remote.close();
          // A write tells the bulletin, which reads it in turns of its own.
          for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
        },
      };
    },
    async newForgery() {
      const database = await createSimStore().open('bulletin');
      await database.put(documentOf(revocation));
      return database;
    },
  };
}

interface Tampering {
  title: string;
  tamper(world: World, forgery: Database): Promise<unknown>;
  /** What a node says that is offered it; undefined when there is nothing to refuse. */
  refusal: RegExp | undefined;
}

const historyOf = (generation: number, mark: string) => {
  const ids = Array.from({ length: generation }, (_, index) => {
    const revision = firstRevision({ _id: mark, index });
    return revision.slice(revision.indexOf('-') + 1);
  });
  return { _rev: `${generation}-${ids[0]}`, _revisions: { start: generation, ids } };
};

const tamperings: Tampering[] = [
  {
    title: 'deleted',
    tamper: (world, forgery) => forgery.remove(world.revocation._id),
    refusal: /never deleted/,
  },
  {
    title: 'deleted as if it had never been anything else',
    tamper: ({ revocation }, forgery) => force(forgery, underFirstRevision({ _id: revocation._id, _deleted: true })),
    refusal: /never deleted/,
  },
  {
    title: 'edited',
    tamper: ({ revocation }, forgery) =>
      forgery.update(revocation._id, (current) => ({ ...current, _id: '', jws: 'x' })),
    refusal: /never edited/,
  },
  {
    title: 'edited as if it had never been anything else',
    tamper: ({ revocation }, forgery) => force(forgery, underFirstRevision({ _id: revocation._id, jws: 'x' })),
    refusal: /id is not the hash/,
  },
  {
    title: 'given another field',
    tamper: ({ revocation }, forgery) => force(forgery, underFirstRevision({ ...revocation, lifted: true })),
    refusal: /fields that a fact does not have/,
  },
  {
    title: 'hidden behind an older fact of the subject, under its own id',
    tamper: (world, forgery) => {
      const older = world.factOf({ sequence: 1, issuedAt: world.fabric.clock.now() - dayMs });
      return forgery.update(world.revocation._id, (current) => ({ ...current, _id: '', jws: older.jws }));
    },
    refusal: /never edited/,
  },
  {
    title: 'hidden behind an older fact of the subject, in its place',
    tamper: (world, forgery) => {
      const older = world.factOf({ sequence: 1, issuedAt: world.fabric.clock.now() - dayMs });
      return force(forgery, underFirstRevision({ _id: world.revocation._id, jws: older.jws }));
    },
    refusal: /id is not the hash/,
  },
  {
    title: 'accompanied by an older fact of the subject that is about to expire',
    tamper: async (world, forgery) => {
      const expiresAt = world.fabric.clock.now() + 1000;
      await forgery.put(documentOf(world.factOf({ sequence: 1, expiresAt })));
    },
    refusal: undefined,
  },
  {
    title: 'given a higher revision',
    tamper: ({ revocation }, forgery) => force(forgery, { ...revocation, ...historyOf(40, 'high') }),
    refusal: /never edited/,
  },
  {
    title: 'given another first revision',
    tamper: ({ revocation }, forgery) => force(forgery, { ...revocation, ...historyOf(1, 'other') }),
    refusal: /revision is not that of its content/,
  },
  {
    title: 'lifted by a fact that the member made up',
    tamper: async (world, forgery) => {
      const { peerId } = world.thief;
      const body = { kind: 'authority-floor', peerId, issueNumber: 0 } as const;
      const changes = { subject: `authority-floor/${peerId}`, issuer: peerId, sequence: 99, body };
      await forgery.put(documentOf(world.factOf(changes, signerOf(world.thief))));
    },
    refusal: /revoked|only a controller signs facts/,
  },
  {
    title: 'lifted by a made-up fact in the name of the controller',
    tamper: async (world, forgery) => {
      const member = world.fabric.addNode('box7');
      await forgery.put(documentOf(world.factOf({ sequence: 99 }, signerOf(member))));
    },
    refusal: /only a controller signs facts/,
  },
  {
    title: 'accompanied by a policy of the member that lets it call everybody',
    tamper: async (world, forgery) => {
      const member = world.fabric.addNode('box7');
      const rule = { from: { project: 'default', application: 'spy' }, to: { application: 'store' } };
      const body: Fact['body'] = { kind: 'policy', project: 'default', name: 'open', allow: [rule] };
      const changes: Partial<Fact> = { subject: 'policy/default/open', body };
      const sign = signerOf(member);
      await forgery.put(documentOf(world.factOf({ ...changes, issuer: member.peerId }, sign)));
      await forgery.put(documentOf(world.factOf(changes, sign)));
    },
    refusal: /only a controller signs facts/,
  },
  {
    title: 'accompanied by a fact of another fabric about the controller',
    tamper: async (world, forgery) => {
      const { controller } = world.fabric;
      const other = createFabric();
      const body = { kind: 'revocation', peerId: controller.peerId, node: 'box1', reason: 'made up' } as const;
      const changes: Partial<Fact> = {
        subject: `revocation/${controller.peerId}`,
        issuer: other.controller.peerId,
        body,
      };
      const sign = signerOf(other.controller);
      await forgery.put(documentOf(world.factOf(changes, sign)));
      await forgery.put(documentOf(world.factOf({ ...changes, fabricId: other.id }, sign)));
    },
    refusal: /signer is not accepted/,
  },
  {
    title: 'accompanied by a fact of the own controller about another fabric',
    tamper: (world, forgery) => forgery.put(documentOf(world.factOf({ fabricId: createFabric().id, sequence: 99 }))),
    refusal: /another fabric/,
  },
  {
    title: 'accompanied by a fact that says in its subject whom it is not about',
    tamper: (world, forgery) =>
      forgery.put(documentOf(world.factOf({ subject: `revocation/${world.fabric.controller.peerId}` }))),
    refusal: /subject/,
  },
  {
    title: 'accompanied by an expired fact',
    tamper: (world, forgery) => forgery.put(documentOf(world.factOf({ expiresAt: world.fabric.clock.now() }))),
    refusal: /expired/,
  },
  {
    title: 'accompanied by a document that is no fact',
    tamper: (_world, forgery) => forgery.put({ _id: 'desired/plan', jws: 'x'.repeat(1000) }),
    refusal: /id is not the hash/,
  },
  {
    title: 'accompanied by a huge document',
    tamper: (_world, forgery) => forgery.put({ _id: 'fact/large', jws: 'x'.repeat(70_000) }),
    refusal: /bytes, more than/,
  },
];

const stored = async ({ database }: Node) =>
  (await Promise.all((await database.list('')).map(({ _id }) => database.leaves(_id)))).flat();

for (const { title, tamper, refusal } of tamperings) {
  test(`a revocation ${title}: whoever knew it knows it, and whoever did not learns it from others`, async (t) => {
    const world = await createWorld();
    const { thief, fabric, revocation } = world;
    const [knowing, fresh, third] = [await world.newNode(), await world.newNode(), await world.newNode()];
    await knowing.pullFrom(await world.newForgery());
    t.true(knowing.trust.bulletin.isRevoked(thief.peerId));
    const before = await stored(knowing);

    const forgery = await world.newForgery();
    await tamper(world, forgery);
    for (const node of [knowing, fresh]) {
      await node.pullFrom(forgery);
      if (refusal === undefined) t.deepEqual(node.refused, []);
      else t.true(node.refused.length > 0 && node.refused.every((line) => refusal.test(line)), node.refused.join('\n'));
      t.false(node.trust.bulletin.isRevoked(fabric.controller.peerId));
      t.is(node.trust.bulletin.authorityFloor(thief.peerId), 0);
      t.deepEqual(node.trust.bulletin.policies(), []);
      t.deepEqual(node.ignored, [], 'what is refused is not even stored');
    }
    t.true(knowing.trust.bulletin.isRevoked(thief.peerId), 'it still knows');
    if (refusal !== undefined) t.deepEqual(await stored(knowing), before, 'and has nothing else');
    t.throws(() => knowing.trust.verifyChain(thief.chain), { message: /revoked/ });

    // The bulletin that `knowing` serves is as good as the controller's.
    for (const node of [fresh, third]) {
      await node.pullFrom(knowing.database);
      t.true(node.trust.bulletin.isRevoked(thief.peerId), 'learnt from another');
    }
    // Some time passes, whatever was said about it; a start reads it all again.
    await fabric.clock.advance(60_000);
    const again = await world.newNode();
    await again.pullFrom(fresh.database);
    t.true(again.trust.bulletin.isRevoked(thief.peerId));
    t.true((await stored(again)).some(({ jws }) => jws === revocation.jws));
  });
}

test('what a tampering member says is never passed on by those who asked it', async (t) => {
  const world = await createWorld();
  const forgery = await world.newForgery();
  for (const { tamper } of tamperings) await tamper(world, forgery);
  const [first, second] = [await world.newNode(), await world.newNode()];
  await first.pullFrom(forgery);
  await second.pullFrom(first.database);
  t.deepEqual(second.refused, [], 'nothing that would have to be refused again');
  t.deepEqual(await stored(second), await stored(first));
  // Both facts are genuine: the older one, about to expire, and, where it was not hidden, the revocation.
  const genuine = (await stored(first)).map(({ _id }) => _id);
  t.true(genuine.length <= 2 && genuine.length > 0, genuine.join());
});

test('of two revocations of one peer the one that lasts longer counts, in whatever order they come', async (t) => {
  const world = await createWorld();
  const { fabric, thief } = world;
  const short = world.factOf({ sequence: 9, expiresAt: fabric.clock.now() + dayMs });
  for (const facts of [
    [short, world.revocation],
    [world.revocation, short],
  ]) {
    const node = await world.newNode();
    for (const fact of facts) {
      const database = await createSimStore().open('bulletin');
      await database.put(documentOf(fact));
      await node.pullFrom(database);
    }
    t.true(node.trust.bulletin.isRevoked(thief.peerId));
    t.is((await stored(node)).length, 2);
    t.true(node.trust.bulletin.isRevoked(thief.peerId));
  }
  await fabric.clock.advance(2 * dayMs);
  const node = await world.newNode();
  const database = await createSimStore().open('bulletin');
  for (const fact of [short, world.revocation]) await database.put(documentOf(fact));
  await node.pullFrom(database);
  t.true(node.trust.bulletin.isRevoked(thief.peerId), 'the short one has expired, the other has not');
});

test('facts of a controller that was revoked itself are no longer taken', async (t) => {
  const world = await createWorld();
  const { fabric, thief } = world;
  const gone = fabric.addController('box9');
  const node = await world.newNode();
  const database = await createSimStore().open('bulletin');
  const body = { kind: 'revocation', peerId: gone.peerId, node: 'box9', reason: 'stolen' } as const;
  await database.put(documentOf(world.factOf({ subject: `revocation/${gone.peerId}`, body })));
  await node.pullFrom(database);
  await database.put(documentOf(world.factOf({ issuer: gone.peerId, sequence: 9 }, signerOf(gone))));
  await node.pullFrom(database);
  t.true(node.trust.bulletin.isRevoked(gone.peerId));
  t.false(node.trust.bulletin.isRevoked(thief.peerId));
  t.regex(node.refused.join(), /revoked/);
});

test('a revocation that came while the own clock was days behind counts once the clock is right', async (t) => {
  const world = await createWorld();
  const { fabric, thief } = world;
  await fabric.clock.advance(3 * dayMs);
  const clock = createSimClock(fabric.clock.now() - 2 * dayMs);
  const node = await world.newNode(clock);
  const database = await createSimStore().open('bulletin');
  await database.put(documentOf(world.factOf()));
  await node.pullFrom(database);
  await clock.advance(2 * dayMs);
  await node.pullFrom(database);
  t.true(node.trust.bulletin.isRevoked(thief.peerId));
});
