// `nodes revoke`, `nodes remove`, and how a revoked node is shown.

import test from 'ava';
import type { RevokedView } from '../../control/views.ts';
import { cli, fakeDaemon, nodeView, statusView, temporaryFolder } from './cli-harness.ts';

const revoked: RevokedView = {
  node: 'press-4',
  peerId: '12D3KooWtest',
  revokedAt: 1_000,
  reason: 'stolen',
  already: false,
  removed: false,
  instances: [{ name: 'default.work.a.0', node: 'press-5' }, { name: 'default.work.b.0' }],
};

test('revoke says who is out and where the work goes', async (t) => {
  const folder = await temporaryFolder(t);
  const asked = await fakeDaemon(t, folder, { 'POST /v1/nodes/press-4/revoke': revoked });
  const { out, status } = await cli(['nodes', 'revoke', 'press-4', '--reason', 'stolen', '--data', folder]);
  t.is(status, 0);
  t.regex(out, /press-4 \(12D3KooWtest\) is revoked/);
  t.regex(out, /default\.work\.a\.0 goes to press-5/);
  t.regex(out, /default\.work\.b\.0 has no other place \(`selvedge describe` says why\)/);
  t.deepEqual(asked[0]?.body, { reason: 'stolen' });
  const json = await cli(['nodes', 'revoke', 'press-4', '-o', 'json', '--data', folder]);
  t.deepEqual(JSON.parse(json.out), revoked);
  t.deepEqual(asked[1]?.body, { reason: '' });
});

test('again, and remove, say so', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, {
    'POST /v1/nodes/press-4/revoke': { ...revoked, already: true, instances: [] },
    'POST /v1/nodes/press-4/remove': { ...revoked, removed: true },
  });
  t.regex((await cli(['nodes', 'revoke', 'press-4', '--data', folder])).out, /was revoked already/);
  t.regex(
    (await cli(['nodes', 'remove', 'press-4', '--data', folder])).out,
    /its key stays revoked, and its name is free/,
  );
});

test('the help of both says that it cannot be taken back', async (t) => {
  for (const command of ['revoke', 'remove']) {
    const { out, status } = await cli(['nodes', command, '--help']);
    t.is(status, 0);
    t.regex(out, /cannot be taken back/);
    t.regex(out, /never admitted again/);
  }
});

test('a refusal exits with 1 and says what to do; without a name with 2', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, {});
  const { status, error } = await cli(['nodes', 'revoke', 'nobody', '--data', folder]);
  t.is(status, 1);
  t.regex(error, /Look at the list/);
  t.is((await cli(['nodes', 'revoke', '--data', folder])).status, 2);
});

test('a revoked node is listed as such, and is no reason to worry', async (t) => {
  const folder = await temporaryFolder(t);
  const gone = nodeView({
    name: 'press-4',
    state: 'revoked',
    revoked: { at: 0, reason: 'sto\u001b[2Jlen' },
    upToDate: false,
    instances: [],
  });
  await fakeDaemon(t, folder, {
    'GET /v1/status': statusView({ nodes: [nodeView(), gone] }),
    'GET /v1/nodes': [nodeView(), gone],
    'GET /v1/nodes/press-4': gone,
    'GET /v1/pending': [],
  });
  t.regex((await cli(['nodes', 'list', '--data', folder])).out, /press-4 +revoked/);
  const described = (await cli(['nodes', 'describe', 'press-4', '--data', folder])).out;
  t.regex(described, /revoked +1970-01-01.*len/);
  t.false(described.includes('\u001b'));
  t.notRegex(described, /up to date/);
  const { out, status } = await cli(['status', '--data', folder]);
  t.is(status, 0);
  t.regex(out, /1 node connected/);
  t.regex(out, /press-4 +revoked/);
});
