// `nodes pending|approve|deny`, `enroll …`, and what a box without a fabric shows of itself.

import test from 'ava';
import type { PendingView } from '../../control/views.ts';
import { cli, fakeDaemon, nodeView, statusView, temporaryFolder, testHost } from './cli-harness.ts';

const pending: PendingView = {
  handle: 'K7',
  name: 'press-4',
  peerId: '12D3KooWpending',
  address: '192.0.2.9',
  platform: { os: 'linux', arch: 'arm64', software: '0.1.0' },
  labels: { room: '4' },
  trustLan: false,
  since: 0,
};

test('boxes that wait are listed, alone and under the nodes', async (t) => {
  const folder = await temporaryFolder(t);
  const hostile = { ...pending, name: 'evil\u001b[2Jbox' };
  await fakeDaemon(t, folder, { 'GET /v1/nodes': [nodeView()], 'GET /v1/pending': [pending, hostile] });
  for (const args of [
    ['nodes', 'pending'],
    ['nodes', 'list'],
  ]) {
    const { out, status } = await cli([...args, '--data', folder]);
    t.is(status, 0);
    for (const part of ['K7', 'press-4', '192.0.2.9', 'linux arm64', 'room=4', '12D3KooWpending'])
      t.true(out.includes(part));
    t.false(out.includes('\u001b'), 'what a box says of itself does not reach the terminal');
  }
  t.deepEqual(JSON.parse((await cli(['nodes', 'pending', '-o', 'json', '--data', folder])).out)[0], pending);
  t.deepEqual(JSON.parse((await cli(['nodes', 'list', '-o', 'json', '--data', folder])).out), [nodeView()]);
});

test('nobody waiting is said with what to do', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, { 'GET /v1/pending': [] });
  t.regex((await cli(['nodes', 'pending', '--data', folder])).out, /No box waits.*selvedge up/);
});

test('approve sends the code in the body, with name, labels and place', async (t) => {
  const folder = await temporaryFolder(t);
  const approved = { node: 'press-4', peerId: '12D3KooWpending', router: 'interior' };
  const asked = await fakeDaemon(t, folder, { 'GET /v1/pending': [], 'POST /v1/pending/approve': approved });
  const options = ['--name', 'press-4', '--label', 'site=north', '--router', 'interior', '--data', folder];
  const { out, status } = await cli(['nodes', 'approve', 'k7 abcd efgh jk', ...options]);
  t.is(status, 0);
  t.regex(out, /press-4 is a node now/);
  const body = { code: 'k7 abcd efgh jk', name: 'press-4', labels: { site: 'north' }, router: 'interior' };
  t.deepEqual(asked[1]?.body, body);
  t.false(asked.some(({ path }) => /abcd/i.test(path)));
  const json = await cli(['nodes', 'approve', 'K7-ABCD-EFGH-JK', '-o', 'json', '--data', folder]);
  t.deepEqual(JSON.parse(json.out), approved);
  t.deepEqual(asked[2]?.body, { code: 'K7-ABCD-EFGH-JK', labels: {}, router: 'edge' });
});

test('a code that is not accepted exits with 1 and says why', async (t) => {
  const folder = await temporaryFolder(t);
  const problem = {
    type: 'urn:selvedge:error:approval-failed',
    status: 409,
    detail: 'none shows this code',
    action: 'Look.',
  };
  await fakeDaemon(t, folder, { 'GET /v1/pending': [pending], 'POST /v1/pending/approve': problem });
  const { status, error } = await cli(['nodes', 'approve', 'K7-ABCD-EFGH-JK', '--data', folder]);
  t.is(status, 1);
  t.regex(error, /none shows this code[\s\S]*Look\./);
});

test('who has the handle of a code, or that nobody has, is said before anybody waits', async (t) => {
  const folder = await temporaryFolder(t);
  const evil = { ...pending, handle: 'ZZ', name: 'evil\u001b[2Jbox' };
  const host = testHost();
  let saidBefore = '';
  const boxes = [pending, evil];
  await fakeDaemon(t, folder, {
    'GET /v1/pending': () => boxes,
    'POST /v1/pending/approve': () => {
      saidBefore = host.printed.error.splice(0).join('\n');
      return { node: 'press-4', peerId: '12D3KooWpending', router: 'edge' };
    },
  });
  const approve = async (code: string): Promise<string> => {
    await cli(['nodes', 'approve', code, '--data', folder], host);
    return saidBefore;
  };
  t.regex(await approve(' k7 abcd-efgh jk'), /Asking the box that waits as K7 …/);
  const mistyped = await approve('KT-ABCD-EFGH-JK');
  t.regex(mistyped, /No box waits as KT now; these do: K7 \(press-4\), ZZ \(evil.*box\)\. Trying a few seconds more/);
  t.false(mistyped.includes('\u001b'));
  boxes.length = 0;
  t.regex(await approve('K7-ABCD-EFGH-JK'), /No box waits here now\. Trying/);
  t.false(mistyped.includes('ABCD'), 'the code is not repeated');
});

test('deny lists whom it sent away', async (t) => {
  const folder = await temporaryFolder(t);
  const asked = await fakeDaemon(t, folder, { 'POST /v1/pending/deny': { denied: [pending] } });
  const { out } = await cli(['nodes', 'deny', 'K7', '--data', folder]);
  t.regex(out, /press-4 \(K7, 12D3KooWpending\) was denied/);
  t.deepEqual(asked[0]?.body, { who: 'K7' });
  t.deepEqual(JSON.parse((await cli(['nodes', 'deny', 'K7', '-o', 'json', '--data', folder])).out), [pending]);
});

test('a window is opened, shown and closed', async (t) => {
  const folder = await temporaryFolder(t);
  const window = {
    ...{ open: true, openedAt: 0, until: Date.parse('2100-01-01'), cidrs: ['192.0.2.0/24'], max: 5, router: 'edge' },
    ...{ labels: { site: 'north' }, admitted: ['press-4'] },
  };
  const asked = await fakeDaemon(t, folder, {
    'POST /v1/window': window,
    'GET /v1/window': window,
    'DELETE /v1/window': { ...window, open: false },
  });
  const range = ['--cidr', '192.0.2.0/24', '--cidr', '2001:db8::/32'];
  const opened = await cli(['enroll', 'open', '--for', '5m', ...range, '--max', '5', '--data', folder]);
  t.regex(opened.out, /window is open[\s\S]*192\.0\.2\.0\/24[\s\S]*1 of 5: press-4/);
  const body = { forMs: 300_000, cidrs: ['192.0.2.0/24', '2001:db8::/32'], max: 5, labels: {}, router: 'edge' };
  t.deepEqual(asked[0]?.body, body);
  t.regex((await cli(['enroll', 'status', '--data', folder])).out, /window is open/);
  t.deepEqual(JSON.parse((await cli(['enroll', 'status', '-o', 'json', '--data', folder])).out), window);
  t.regex((await cli(['enroll', 'close', '--data', folder])).out, /closed; it admitted 1/);
});

test('a window without address ranges is wrong usage, and reaches no daemon', async (t) => {
  const folder = await temporaryFolder(t);
  const { status, error } = await cli(['enroll', 'open', '--data', folder]);
  t.is(status, 2);
  t.regex(error, /where boxes may come from[\s\S]*--cidr/);
});

test('an open window is in the status of the fabric', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, { 'GET /v1/status': statusView({ notices: ['an enrollment window is open'] }) });
  t.regex((await cli(['status', '--data', folder])).out, /all is well[\s\S]*an enrollment window is open/);
});

test('a box that belongs to no fabric shows its code and where it waits', async (t) => {
  const folder = await temporaryFolder(t);
  const waitingAt = [{ fabricId: 'f'.repeat(52), fabricName: 'plant', peerId: '12D3KooWcontrol' }];
  const approval = { code: 'K7-ABCD-EFGH-JK', expiresAt: 0, waitingAt, trustLan: true };
  const view = statusView({
    scope: 'node',
    node: 'press-4',
    ok: false,
    controllerReachable: false,
    nodes: [],
    approval,
  });
  await fakeDaemon(t, folder, { 'GET /v1/status': view });
  const { out } = await cli(['status', '--data', folder]);
  t.regex(out, /selvedge nodes approve K7-ABCD-EFGH-JK/);
  t.regex(out, /plant \(f{52}\)/);
  t.regex(out, /opens a window/);
  t.deepEqual(JSON.parse((await cli(['status', '-o', 'json', '--data', folder])).out), view);
});
