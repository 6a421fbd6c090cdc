// Approval by code with real daemons, real sockets and the real command line. Other tests' fabrics answer on the same box: the new
// box registers with all of them, and only the one that knows the code gets it.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ApprovedView, EventView, PendingView, StatusView } from '../../control/views.ts';
import { selvedgeJson as json, selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';

test('a box without token shows a code; who types it at a controller gets the box', async (t) => {
  const step = tell(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-e2e-'));
  const daemons: Daemon[] = [];
  const data = (name: string): string => join(folder, name);
  const up = (name: string, ...options: string[]): Daemon => {
    const daemon = startDaemon({ name, dataFolder: data(name), options });
    daemons.push(daemon);
    return daemon;
  };
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    await Promise.all(daemons.map((daemon) => (daemon.end === undefined ? daemon.kill('SIGTERM') : undefined)));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  await step('a controller, and another fabric beside it', async () => {
    await Promise.all(
      [up('control', '--found', '--fabric', 'plant'), up('other', '--found')].map((one) => one.answers()),
    );
  });
  const box = up('press', '--label', 'room=4');

  const code = await step('the box shows its code, in its output and its status', async () => {
    const event = await box.event('code');
    const status = await waitFor('both fabrics to hold its request', async () => {
      const view = await box.client.status();
      const names = view.approval?.waitingAt.map(({ fabricName }) => fabricName) ?? [];
      return names.includes('plant') && names.includes('selvedge') ? view : undefined;
    });
    t.regex(String(event['code']), /^[0-9A-Z]{2}-[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{2}$/);
    t.is(status.approval?.code, event['code'] as string);
    t.true((await selvedge(data('press'), 'status')).out.includes(`selvedge nodes approve ${event['code']}`));
    return String(event['code']);
  });

  await step('the controllers list it, and neither knows the code', async () => {
    for (const name of ['control', 'other']) {
      const pending = await json<PendingView[]>(data(name), 'nodes', 'pending');
      const one = pending.find((each) => each.name === 'press');
      t.like(one, { handle: code.slice(0, 2), labels: { room: '4' }, trustLan: false });
      t.true((await selvedge(data(name), 'nodes', 'list')).out.includes('press'));
    }
    const said = await selvedge(data('press'), 'nodes', 'approve', code);
    t.is(said.status, 1);
    t.regex(said.error, /is a worker/);
  });

  await step('a mistyped code admits nobody, and is an event on both sides', async () => {
    const wrong = `${code.slice(0, -1)}${code.endsWith('Z') ? 'Y' : 'Z'}`;
    const { status, error } = await selvedge(data('control'), 'nodes', 'approve', wrong);
    t.is(status, 1);
    t.regex(error, /none shows this code/);
    t.true(box.events.some(({ type, message }) => type === 'problem' && /does not know the code/.test(message)));
    t.is((await json<StatusView>(data('press'), 'status')).approval?.code, code);
  });

  await step('a box that is denied goes from the one list alone', async () => {
    t.regex((await selvedge(data('other'), 'nodes', 'deny', code.slice(0, 2))).out, /press .* was denied/);
    t.false((await json<PendingView[]>(data('other'), 'nodes', 'pending')).some(({ name }) => name === 'press'));
    t.true((await json<PendingView[]>(data('control'), 'nodes', 'pending')).some(({ name }) => name === 'press'));
  });

  await step('the right code admits it', async () => {
    const typed = code.toLowerCase().replaceAll('-', '');
    const options = ['--name', 'press-4', '--label', 'site=north'];
    const approved = await json<ApprovedView>(data('control'), 'nodes', 'approve', typed, ...options);
    t.like(approved, { node: 'press-4', router: 'edge' });
    await box.event('joined');
    await waitFor('it to be linked', async () => {
      const { nodes } = (await daemons[0]?.client.status()) ?? { nodes: [] };
      return nodes.find(({ name, state }) => name === 'press-4' && state === 'connected');
    });
    const { nodes } = await json<StatusView>(data('control'), 'status');
    t.like(nodes.find(({ name }) => name === 'press-4')?.labels, { site: 'north', room: '4' });
    t.is((await json<StatusView>(data('press'), 'status')).approval, undefined);
    t.deepEqual(
      (await json<PendingView[]>(data('control'), 'nodes', 'pending')).filter(({ name }) => name === 'press'),
      [],
    );
  });

  await step('every decision is in the ledger, and no code is', async () => {
    const events = await json<EventView[]>(data('control'), 'events');
    const types = new Set(events.map(({ type }) => type));
    for (const type of ['approval-failed', 'node-admitted', 'node-approved']) t.true(types.has(type), type);
    t.false(JSON.stringify(events).includes(code.slice(3)));
    const other = await json<EventView[]>(data('other'), 'events');
    t.true(other.some(({ type }) => type === 'node-denied'));
  });

  await step('the code is used up', async () => {
    const { status, error } = await selvedge(data('other'), 'nodes', 'approve', code);
    t.is(status, 1);
    t.regex(error, /no box with the handle|none shows this code/);
  });

  await step('a window is seen everywhere it should be, and closes', async () => {
    const opened = await selvedge(data('control'), 'enroll', 'open', '--for', '1m', '--cidr', '192.0.2.0/24');
    t.regex(opened.out, /window is open/);
    t.regex((await selvedge(data('control'), 'status')).out, /an enrollment window is open/);
    t.is((await selvedge(data('press'), 'enroll', 'status')).status, 1, 'a worker’s socket refuses');
    t.regex((await selvedge(data('control'), 'enroll', 'close')).out, /is closed/);
    t.false((await selvedge(data('control'), 'status')).out.includes('enrollment window'));
  });
});
