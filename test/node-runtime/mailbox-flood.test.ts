// An admitted node that replicates thousands of documents into its mailbox: what is its own is stored, what is not is refused and
// told, and neither its mailbox nor the ledger grows. The product's own composition on simulated ports.

import test from 'ava';
import { firstRevision } from '../../control/revision.ts';
import type { StoredDocument } from '../../control/store.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import { joinAsBareMember } from './bare-member.ts';
import { createSimFabric } from './sim-fabric.ts';

const revised = (document: StoredDocument): StoredDocument => ({ ...document, _rev: firstRevision(document) });

test('a hostile node’s thousands of documents do not fill the controller', async (t) => {
  const fabric = await createSimFabric(t, 'flood');
  const { clock, founder } = fabric;
  const keys = createSimKeys(fabric.random.fork('bare'));
  const mesh = fabric.network.createMesh({ peerId: peerIdOf(keys.create('Ed25519').publicKey), name: 'bare' });
  await mesh.start();
  const controller = fabric.peerId(founder);
  await fabric.until('the controller is found', () => mesh.found().some(({ peerId }) => peerId === controller));
  const addresses = mesh.found().flatMap((found) => (found.peerId === controller ? found.addresses : []));
  const token = await fabric.token();
  const bare = await fabric.during(joinAsBareMember({ mesh, clock, keys, controller, addresses, token, name: 'bare' }));
  await fabric.during(bare.present());
  const eventsBefore = (await fabric.controller().ledger.list({ limit: 1000 })).length;

  let refused = 0;
  for (let stream = 0; stream < 5; stream += 1) {
    const mailbox = await fabric.during(bare.replication('mailbox'));
    t.deepEqual(mailbox.opening, { opened: 'mailbox' });
    for (let batch = 0; batch < 32; batch += 1) {
      const docs = Array.from({ length: 32 }, (_, index) => {
        const instance = `made-up-${stream}-${batch}-${index}`;
        return revised({ _id: `observed/instance/${instance}`, node: 'bare', instance, text: 'x'.repeat(500) });
      });
      const answer = await fabric.during(mailbox.ask('bulkDocs', { docs }));
      if (Array.isArray(answer?.['result'])) refused += answer['result'].length;
    }
    const own = revised({ _id: 'observed/node', node: 'bare', links: [], addresses: [], problems: [], stream });
    t.deepEqual((await fabric.during(mailbox.ask('bulkDocs', { docs: [own] })))?.['result'], [], 'the rest goes on');
    await mailbox.stream.close();
  }
  t.is(refused, 5 * 32 * 32);
  const database = await founder.store.open('mailbox/bare');
  t.deepEqual(
    (await database.list('observed/')).map(({ _id }) => _id),
    ['observed/node'],
  );
  t.is((await database.leaves('observed/node')).length, 5);
  await clock.advance(5_000);
  const events = (await fabric.controller().ledger.list({ limit: 1000 })).slice(eventsBefore);
  const told = events.filter(({ type, subject }) => type === 'request-refused' && subject === mesh.peerId);
  t.true(told.length > 0 && told.length <= 30, `${told.length} events`);
  t.regex(told[0]?.message ?? '', /observed\/instance\/made-up-.*no such instance was planned for this node lately/);
  t.true((await fabric.controller().ledger.verify()).ok);
});
