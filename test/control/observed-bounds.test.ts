// What one node may write into its mailbox: only of its plan, and bounded in documents, leaves and bytes.

import test from 'ava';
import {
  observedInstancesMax,
  observedLeavesMax,
  observedMailboxBytesMax,
  plannedLatelyMs,
} from '../../control/limits.ts';
import { createObservedBounds } from '../../control/observed-bounds.ts';
import { firstRevision } from '../../control/revision.ts';
import type { Database, StoredDocument } from '../../control/store.ts';
import { guardedPeer } from '../../control/write-guard.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';

const node = 'edge-1';

async function planFor(mailbox: Database, names: readonly string[]): Promise<void> {
  const plan = {
    ...{ epoch: 1, term: 1, generation: 1, fabricId: 'f', node, peerId: 'p', files: [] },
    instances: names.map((name) => ({ name })),
  };
  const jws = `h.${Buffer.from(JSON.stringify(plan)).toString('base64url')}.s`;
  await mailbox.update('desired/plan', (current) => ({ ...current, _id: 'desired/plan', jws }));
}

async function world(names: readonly string[]) {
  const mailbox = await createSimStore().open('mailbox/edge-1');
  const clock = createSimClock();
  await planFor(mailbox, names);
  const refused: string[] = [];
  const serve = () => {
    const bounds = createObservedBounds({ node, mailbox, clock });
    const peer = guardedPeer(mailbox.peer, bounds.guard, ({ id, reason }) => void refused.push(`${id}: ${reason}`));
    return (...docs: StoredDocument[]) => peer.bulkDocs({ docs, new_edits: false });
  };
  return { mailbox, clock, refused, serve, push: serve() };
}

const observed = (instance: string, more: object = {}): StoredDocument => {
  const document = { _id: `observed/instance/${instance}`, node, instance, ...more };
  return { ...document, _rev: firstRevision(document) };
};

/** The next revision on top of one. */
function after({ _rev = '', _revisions: _, ...document }: StoredDocument, more: object): StoredDocument {
  const [generation, hash] = [Number(_rev.split('-')[0]) + 1, String(_rev.split('-')[1])];
  const own = (firstRevision({ ...document, ...more }).split('-')[1] ?? '').padEnd(32, '0');
  return { ...document, ...more, _rev: `${generation}-${own}`, _revisions: { start: generation, ids: [own, hash] } };
}

test('what is planned may be observed, changed and removed, over and over', async (t) => {
  const { mailbox, refused, push } = await world(['a', 'b']);
  let document = observed('a', { turn: 0 });
  await push(document, observed('b'), nodeDocument(0));
  for (let turn = 1; turn < 100; turn += 1) {
    document = after(document, { turn });
    await push(document);
  }
  const tombstone = after(document, { _deleted: true });
  const { _id, _rev = '', _revisions } = tombstone;
  await push({ _id, _rev, _revisions, _deleted: true });
  await push(after(tombstone, { _deleted: false, again: true }));
  t.deepEqual(refused, []);
  t.deepEqual(
    (await mailbox.list('observed/')).map(({ _id }) => _id),
    ['observed/instance/a', 'observed/instance/b', 'observed/node'],
  );
});

function nodeDocument(turn: number): StoredDocument {
  const document = { _id: 'observed/node', node, turn };
  return { ...document, _rev: firstRevision(document) };
}

test('what was never planned is refused, and the rest of the batch is stored', async (t) => {
  const { mailbox, refused, push } = await world(['a']);
  const strangers = Array.from({ length: 50 }, (_, index) => observed(`stranger-${index}`));
  await push(...strangers, observed('a'));
  t.is(refused.length, 50);
  t.regex(refused[0] ?? '', /^observed\/instance\/stranger-0: no such instance was planned for this node lately$/);
  t.deepEqual(
    (await mailbox.list('observed/')).map(({ _id }) => _id),
    ['observed/instance/a'],
  );
  // A tombstone of what is not there would be a row for ever, too.
  await push({ _id: 'observed/instance/gone', _deleted: true, _rev: `1-${'a'.repeat(32)}` });
  t.is(refused.length, 51);
});

test('a new plan counts at once, and an old one for a day', async (t) => {
  const { mailbox, clock, refused, push } = await world(['old']);
  await push(observed('old'));
  await planFor(mailbox, ['new', 'never-said']);
  await push(observed('new'));
  await planFor(mailbox, []);
  await push(observed('never-said'), after(observed('old'), { state: 'stopped' }));
  t.deepEqual(refused, []);
  await planFor(mailbox, ['late']);
  await push(observed('new', { other: 1 }));
  await planFor(mailbox, []);
  await push(observed('new', { other: 2 }));
  await clock.advance(plannedLatelyMs + 1);
  await push(observed('late'), after(observed('old'), { state: 'removed' }));
  t.deepEqual(refused, ['observed/instance/late: no such instance was planned for this node lately']);
});

test('leaves of one document are bounded, also by a new process; its true history goes on', async (t) => {
  const { mailbox, refused, push, serve } = await world(['a']);
  const document = observed('a');
  await push(document, ...Array.from({ length: 100 }, (_, branch) => observed('a', { branch })));
  t.is((await mailbox.leaves(document._id)).length, observedLeavesMax);
  t.is(refused.length, 101 - observedLeavesMax);
  await serve()(observed('a', { branch: 1000 }), after(document, { state: 'running' }));
  t.is((await mailbox.leaves(document._id)).length, observedLeavesMax);
  t.is(refused.length, 102 - observedLeavesMax);
  t.true((await mailbox.leaves(document._id)).some(({ state }) => state === 'running'));
});

test('bytes of all observations are bounded, and removing some makes room', async (t) => {
  const names = Array.from({ length: 200 }, (_, index) => `i${index}`);
  const { mailbox, refused, push } = await world(names);
  const text = 'x'.repeat(60_000);
  for (const name of names) await push(observed(name, { text }));
  const stored = await mailbox.list('observed/');
  t.true(JSON.stringify(stored).length <= observedMailboxBytesMax * 1.01);
  t.is(stored.length + refused.length, names.length);
  t.regex(refused[0] ?? '', /the mailbox would have more than 8388608 bytes of observations/);
  await push(after(observed('i0', { text }), { text: '' }), after(observed('i1', { text }), { text: '' }));
  const before = refused.length;
  await push(observed('i199', { text }));
  t.is(refused.length, before);
});

test('documents are bounded whatever the plans of a long time were', async (t) => {
  const { mailbox, refused, push } = await world([]);
  for (let round = 0; round < 4; round += 1) {
    const names = Array.from({ length: 400 }, (_, index) => `r${round}-${index}`);
    await planFor(mailbox, names);
    for (let from = 0; from < names.length; from += 100)
      await push(...names.slice(from, from + 100).map((name) => observed(name)));
  }
  t.is((await mailbox.list('observed/')).length, observedInstancesMax);
  t.is(refused.length, 1600 - observedInstancesMax);
});
