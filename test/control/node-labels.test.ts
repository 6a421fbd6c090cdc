// Labels given and taken while a node is a member: by the registry, and by the command line.

import test from 'ava';
import { createLedger } from '../../control/ledger.ts';
import { createNodeLabels } from '../../control/node-labels.ts';
import type { StoredDocument } from '../../control/store.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { cli, fakeDaemon, temporaryFolder } from './cli-harness.ts';
import { nodeRecord } from './records.ts';

async function fixture() {
  const fabric = await createSimStore().open('fabric');
  const ledger = createLedger({ fabric, controller: 'box1', clock: createSimClock() });
  const put = (name: string, changes = {}) =>
    fabric.update(`node/${name}`, () => ({ ...nodeRecord(name, changes) }) as unknown as StoredDocument);
  await put('press-4', { labels: { 'selvedge/node': 'press-4', site: 'north', spare: 'yes' } });
  await put('gone', { revoked: { at: 1, reason: '' } });
  const labels = createNodeLabels({ fabric, ledger });
  const held = async () => (await fabric.get('node/press-4'))?.['labels'];
  return { labels, ledger, held };
}

test('labels are set and taken away in one step, and the ledger has it once', async (t) => {
  const { labels, ledger, held } = await fixture();
  const change = { set: { hall: '2', site: 'south' }, remove: ['spare', 'never'] };
  const expected = { 'selvedge/node': 'press-4', site: 'south', hall: '2' };
  t.deepEqual(await labels.change('press-4', change), { node: 'press-4', labels: expected, changed: true });
  t.deepEqual(await held(), expected);
  t.false((await labels.change('press-4', change)).changed);
  const events = await ledger.list({ limit: 10 });
  t.deepEqual(
    events.map(({ type, subject, message }) => [type, subject, message]),
    [['node-labelled', 'press-4', 'hall=2 site=south spare- never-']],
  );
});

test('what is refused changes nothing: labels of Selvedge, odd ones, too many, nodes that are unknown or out', async (t) => {
  const { labels, held } = await fixture();
  const before = await held();
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`k${index}`, '']));
  const refused: [string, Parameters<typeof labels.change>[1], RegExp][] = [
    ['press-4', { set: { 'selvedge/arch': 'x64' }, remove: [] }, /is set by Selvedge/],
    ['press-4', { set: {}, remove: ['selvedge/node'] }, /is set by Selvedge/],
    ['press-4', { set: { 'a b': 'c' }, remove: [] }, /is not accepted/],
    ['press-4', { set: { a: 'b c' }, remove: [] }, /value of label a is not accepted/],
    ['press-4', { set: { a: 'b' }, remove: ['a'] }, /both set and removed/],
    ['press-4', { set: many, remove: [] }, /too many/],
    ['gone', { set: { a: 'b' }, remove: [] }, /is revoked/],
    ['nobody', { set: { a: 'b' }, remove: [] }, /nobody/],
  ];
  for (const [node, change, reason] of refused) {
    await t.throwsAsync(labels.change(node, change), { message: reason });
    t.deepEqual(await held(), before);
  }
  // As many as there may be in all, those that are there included.
  const most = Object.fromEntries(Object.entries(many).slice(0, 63));
  await t.throwsAsync(labels.change('press-4', { set: most, remove: [] }), { message: /too many/ });
  t.true((await labels.change('press-4', { set: most, remove: ['spare'] })).changed);
});

test('nodes label: key=value sets, key- takes away, anything else is refused before it is sent', async (t) => {
  const folder = await temporaryFolder(t);
  const view = { node: 'press-4', labels: { hall: '2' }, changed: true };
  const asked = await fakeDaemon(t, folder, { 'POST /v1/nodes/press-4/labels': view });
  const { out, status } = await cli(['nodes', 'label', 'press-4', 'hall=2', 'note=', 'spare-', '--data', folder]);
  t.is(status, 0);
  t.is(out.trim(), 'press-4: hall=2');
  t.deepEqual(asked[0]?.body, { set: { hall: '2', note: '' }, remove: ['spare'] });
  const json = await cli(['nodes', 'label', 'press-4', 'hall=2', '-o', 'json', '--data', folder]);
  t.deepEqual(JSON.parse(json.out), view);
  for (const word of ['hall', '=2', '-'])
    t.is((await cli(['nodes', 'label', 'press-4', '--data', folder, '--', word])).status, 2, word);
  t.is(asked.length, 2);
});
