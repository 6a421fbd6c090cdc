// Who a process is: what /proc says, in its odder forms.

import test from 'ava';
import { createProcessTable, parseIdentity, parseStat, sendSignal } from '../../node-runtime/process-table.ts';

const FIELDS = 'S 1 120 119 0 -1 4194304 152 0 0 0 0 0 0 0 20 0 1 0 987654 2700000 223 18446744073709551615';

test('fields are found behind any command name', (t) => {
  for (const name of ['sleep', 'a b', 'evil) S 1 1 1', 'new\nline', ')', '']) {
    const stat = parseStat(`4321 (${name}) ${FIELDS}\n`);
    t.deepEqual(stat, { pid: 4321, state: 'S', group: 120, session: 119, startTicks: 987_654 }, JSON.stringify(name));
  }
});

test('what is no line of /proc is nobody', (t) => {
  for (const text of ['', '1', '1 (x)', '1 (x) S 1', 'x (x) S 1 1 1', ')(']) t.is(parseStat(text), undefined, text);
});

test('a record counts only when it is whole', (t) => {
  const whole = 'pid=12\nstart=34\nboot=11111111-2222-3333-4444-555555555555\nend\n';
  t.deepEqual(parseIdentity(whole), { pid: 12, startTicks: 34, boot: '11111111-2222-3333-4444-555555555555' });
  for (let length = 0; length < whole.length; length++) t.is(parseIdentity(whole.slice(0, length)), undefined);
  t.is(parseIdentity(whole.replace('pid=12', 'pid=0')), undefined);
  t.is(parseIdentity(whole.replace('pid=12', 'pid=-1')), undefined);
});

test('this process is alive under its start time and boot alone', async (t) => {
  const table = await createProcessTable();
  const { startTicks } = (await table.stat(process.pid)) ?? { startTicks: -1 };
  const identity = { pid: process.pid, startTicks, boot: table.boot };
  t.is((await table.alive(identity))?.pid, process.pid);
  t.is(await table.alive({ ...identity, startTicks: startTicks - 1 }), undefined);
  t.is(await table.alive({ ...identity, boot: '11111111-2222-3333-4444-555555555555' }), undefined);
});

test('nobody is signalled through the pids that mean everybody', (t) => {
  for (const pid of [0, 1, -1, Number.NaN, 1.5]) t.false(sendSignal(pid, 'SIGTERM'));
});
