// What a revocation does to whole nodes: the product's own composition on simulated ports.

import test from 'ava';
import type { StoredDocument } from '../../control/store.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import type { SimBox } from '../../simulations/sim-node.ts';
import { joinAsBareMember } from './bare-member.ts';
import { createSimFabric, type SimFabric } from './sim-fabric.ts';

const minuteMs = 60_000;

const factsOf = async (box: SimBox): Promise<StoredDocument[]> => {
  const database = await box.store.open('bulletin');
  const documents = await database.list('');
  return (await Promise.all(documents.map(({ _id }) => database.leaves(_id)))).flat();
};

/** Whether each box believes in the revocation, by what it stored. */
async function revocations(box: SimBox, peerId: string): Promise<number> {
  const named = (await factsOf(box)).filter(({ jws }) => {
    const payload = Buffer.from(String(jws).split('.')[1] ?? '', 'base64url').toString('utf8');
    return payload.includes(`"revocation/${peerId}"`);
  });
  return named.length;
}

const linkedUntil = (fabric: SimFabric, box: SimBox, wanted: string) =>
  fabric.until(`${box.name} is linked to ${wanted}`, async () => (await fabric.linkedTo(box)).join() === wanted);

test('a revoked node loses its links everywhere within seconds and does not come back', async (t) => {
  const fabric = await createSimFabric(t, 'revocation');
  const thief = await fabric.join('box2', 'interior');
  const other = await fabric.join('box3', 'interior');
  await linkedUntil(fabric, other, 'box1,box2');
  await linkedUntil(fabric, thief, 'box1,box3');
  const saidBefore = [fabric.said('box1').length, fabric.said('box3').length];

  await fabric.during(fabric.controller().revoking.revoke('box2', 'stolen'));
  const revokedAt = fabric.clock.now();
  await linkedUntil(fabric, fabric.founder, 'box3');
  await linkedUntil(fabric, other, 'box1');
  t.true(fabric.clock.now() - revokedAt <= 2_000, `${fabric.clock.now() - revokedAt} ms`);

  for (let look = 0; look < 30; look += 1) {
    await fabric.clock.advance(minuteMs / 10);
    t.deepEqual(await fabric.linkedTo(fabric.founder), ['box3']);
    t.deepEqual(await fabric.linkedTo(other), ['box1']);
  }
  t.deepEqual(await fabric.linkedTo(thief), [], 'to the thief nobody is linked');
  // A new start of the thief, and of those who refused it, changes nothing.
  await thief.stop();
  await other.stop();
  await thief.start();
  await other.start();
  await fabric.until('box3 runs again', async () => (await fabric.linkedTo(other)).includes('box1'));
  await fabric.clock.advance(minuteMs);
  t.deepEqual(await fabric.linkedTo(other), ['box1']);
  t.deepEqual(await fabric.linkedTo(thief), []);

  for (const [index, name] of ['box1', 'box3'].entries()) {
    const since = fabric.said(name).slice(saidBefore[index]);
    t.false(since.includes('linked linked to box2'), since.join('\n'));
  }
  const refused = fabric.said('box1').filter((line) => line.includes('refused: presented chain: revoked'));
  t.true(refused.length > 0, 'the controller says whom it refused');
  const events = await fabric.controller().ledger.list();
  t.true(events.some(({ type, subject }) => type === 'node-revoked' && subject === 'box2'));
  t.true(events.some(({ type, subject }) => type === 'enrollment-refused' && subject === fabric.peerId(thief)));
});

test('a revocation crosses an island: a node that has no controller hears it from another', async (t) => {
  const fabric = await createSimFabric(t, 'island');
  const bridge = await fabric.join('box2', 'interior');
  const island = await fabric.join('box3', 'interior');
  const thief = await fabric.join('box4', 'interior');
  await linkedUntil(fabric, island, 'box1,box2,box4');
  fabric.network.cut(fabric.peerId(fabric.founder), fabric.peerId(island));
  await linkedUntil(fabric, island, 'box2,box4');
  await fabric.during(fabric.controller().revoking.revoke('box4', 'stolen'));
  await linkedUntil(fabric, island, 'box2');
  t.is(await revocations(island, fabric.peerId(thief)), 1);
  t.is(await revocations(bridge, fabric.peerId(thief)), 1);
});

test('a member that tampers with its bulletin changes nobody’s mind but its own', async (t) => {
  const fabric = await createSimFabric(t, 'tampering');
  const liar = await fabric.join('box2', 'interior');
  const island = await fabric.join('box3', 'edge');
  const thief = await fabric.join('box4', 'interior');
  // From here on box3 hears of facts from the liar alone.
  fabric.network.cut(fabric.peerId(fabric.founder), fabric.peerId(island));
  await linkedUntil(fabric, island, 'box2,box4');
  await fabric.during(fabric.controller().revoking.revoke('box4', 'stolen'));
  // The thief may hear of it first and hang up: the fact itself must have come.
  await fabric.until('box3 hears of it', async () => (await revocations(island, fabric.peerId(thief))) === 1);
  await linkedUntil(fabric, island, 'box2');
  await linkedUntil(fabric, fabric.founder, 'box2');
  const before = { island: await factsOf(island), founder: await factsOf(fabric.founder) };

  const bulletin = await liar.store.open('bulletin');
  const facts = await bulletin.list('');
  t.true(facts.length >= 2, 'a controller and a revocation');
  for (const { _id, jws } of facts) {
    await bulletin.update(_id, (current) => ({ ...current, _id, jws: 'edited' }));
    await bulletin.remove(_id);
    await bulletin.put({ _id: `fact/copy-of-${_id.slice('fact/'.length)}`, jws });
  }
  await fabric.clock.advance(minuteMs);
  t.deepEqual(await factsOf(island), before.island);
  t.deepEqual(await factsOf(fabric.founder), before.founder);
  t.true(fabric.said('box3').some((line) => line.includes('was refused: a fact is never deleted')));
  t.true(fabric.said('box1').some((line) => line.includes('id is not the hash')));

  // The liar forgets by a new start, and links to the thief again; the others do not, even after their own.
  await liar.stop();
  await liar.start();
  await fabric.until('the liar links to the thief', async () => (await fabric.linkedTo(liar)).includes('box4'));
  await island.stop();
  await island.start();
  await fabric.until('box3 runs again', async () => (await fabric.linkedTo(island)).includes('box2'));
  await fabric.clock.advance(minuteMs);
  t.deepEqual(await fabric.linkedTo(island), ['box2']);
  t.false((await fabric.linkedTo(fabric.founder)).includes('box4'));
  t.deepEqual(await factsOf(island), before.island);
});

test('a revoked member that had no link session, and only held streams, loses them too', async (t) => {
  const fabric = await createSimFabric(t, 'bare');
  const { clock } = fabric;
  const keys = createSimKeys(fabric.random.fork('bare'));
  const mesh = fabric.network.createMesh({ peerId: peerIdOf(keys.create('Ed25519').publicKey), name: 'bare' });
  await mesh.start();
  const controller = fabric.peerId(fabric.founder);
  await fabric.until('the controller is found', () => mesh.found().some(({ peerId }) => peerId === controller));
  const addresses = mesh.found().flatMap((found) => (found.peerId === controller ? found.addresses : []));
  const token = await fabric.token();
  const bare = await fabric.during(joinAsBareMember({ mesh, clock, keys, controller, addresses, token, name: 'bare' }));
  await fabric.during(bare.present());
  const stream = await fabric.during(bare.replication('mailbox'));
  t.deepEqual(stream.opening, { opened: 'mailbox' });

  await fabric.during(fabric.controller().revoking.revoke('bare', 'stolen'));
  let ended = false;
  stream.receive().then(
    (message) => {
      ended = message === undefined;
    },
    () => {
      ended = true;
    },
  );
  await fabric.until('the stream is reset', () => ended, 5_000);
  await fabric.until('the connection is closed', () => !mesh.connected().includes(controller), 5_000);
  await t.throwsAsync(fabric.during(bare.present()), { message: /not accepted/ });
  await t.throwsAsync(fabric.during(bare.replication('mailbox')));
});

test('nodes that were stopped leave no timer behind', async (t) => {
  const fabric = await createSimFabric(t, 'timers');
  const other = await fabric.join('box2');
  await linkedUntil(fabric, fabric.founder, 'box2');
  await other.stop();
  await fabric.founder.stop();
  // What was on its way through the network, or drawn for its discovery, arrives within a second or two.
  await fabric.clock.advance(2_000);
  t.is(fabric.clock.pending(), 0);
});
