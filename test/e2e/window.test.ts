// The open window with real daemons on networks of their own: who gets in, who does not, and that it is seen and closes by itself.
// In network namespaces, since on the host itself fabrics of other tests answer.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { NodeView, WindowView } from '../../control/views.ts';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();

/** A network of its own, and daemons on it. */
async function createPlace(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-window-'));
  const daemons: Daemon[] = [];
  // Before the namespaces: their teardown comes last.
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-2_000));
    await Promise.all(daemons.map((daemon) => (daemon.end === undefined ? daemon.kill('SIGTERM') : undefined)));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const lan = namespaces.lan();
  const data = (name: string): string => join(folder, name);
  return {
    data,
    /** `selvedge up` in a box with this address. */
    up(name: string, address: string, options: readonly string[] = [], token?: string): Daemon {
      const box = namespaces.box();
      lan.attach(box, 'eth0', [`${address}/16`]);
      const daemon = startDaemon({ name, dataFolder: data(name), options, namespace: box, ...(token && { token }) });
      daemons.push(daemon);
      return daemon;
    },
    nodes: async (name: string): Promise<string[]> =>
      (await selvedgeJson<NodeView[]>(data(name), 'nodes', 'list')).map((node) => node.name).sort(),
  };
}

const joined = (daemon: Daemon): boolean => daemon.events.some(({ type }) => type === 'joined');
const waits = (daemon: Daemon): Promise<unknown> => daemon.event('waiting');

test('a window admits whom both sides want, is seen everywhere, and closes by itself', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const control = place.up('control', '10.88.0.1', ['--found', '--fabric', 'plant']);
  const folder = place.data('control');

  const worker = await step('a controller and a worker', async () => {
    await control.answers();
    const { token } = await control.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
    const daemon = place.up('worker', '10.88.0.2', [], token);
    await daemon.event('linked');
    return daemon;
  });

  const [willing, wary, far, late] = await step('boxes that wait: willing, without the option, elsewhere', async () => {
    const boxes = [
      place.up('willing', '10.88.1.1', ['--trust-lan']),
      place.up('wary', '10.88.1.2'),
      place.up('far', '10.88.2.1', ['--trust-lan']),
    ] as const;
    await Promise.all(boxes.map(waits));
    t.false(boxes.some(joined), 'no window, nobody');
    return [...boxes, () => place.up('late', '10.88.1.3', ['--trust-lan'])] as const;
  });

  await step('it opens: the willing one joins, and `status` shows it on the controller and on the worker', async () => {
    const { status, error } = await selvedge(folder, 'enroll', 'open', '--for', '10m', '--cidr', '10.88.1.0/24');
    t.is(status, 0, error);
    await willing.event('joined');
    t.regex((await selvedge(folder, 'status')).out, /an enrollment window is open until/);
    await waitFor('the worker to show it', async () =>
      /an enrollment window is open at control until .*for at most 10 boxes from 10\.88\.1\.0\/24/.test(
        (await worker.client.status()).notices?.join() ?? '',
      ),
    );
    await waitFor('the new node to show it', async () => (await willing.client.status()).notices?.length === 1);
    t.regex((await selvedge(place.data('worker'), 'status')).out.replaceAll(/\s+/g, ' '), /window is open at control/);
    t.deepEqual(await place.nodes('control'), ['control', 'willing', 'worker']);
    t.false(joined(wary), 'without --trust-lan');
    t.false(joined(far), 'outside of the range');
  });

  await step('an operator closes it: nobody shows it any more, and who comes late waits', async () => {
    await selvedge(folder, 'enroll', 'close');
    await waitFor('the worker to show no window', async () => (await worker.client.status()).notices === undefined);
    const box = late();
    await waits(box);
    t.false(joined(box));
    const opened = await selvedgeJson<WindowView>(
      folder,
      ...['enroll', 'open', '--for', '10m', '--cidr', '10.88.1.0/24', '--cidr', '10.88.2.0/24', '--max', '1'],
    );
    t.true(opened.open);
    await waitFor('one of two to be admitted', () => [box, far].filter(joined).length === 1);
    await waitFor('the window to close when it admitted one', async () => {
      const { open } = await selvedgeJson<WindowView>(folder, 'enroll', 'status');
      return !open;
    });
    await waitFor('the worker to hear of that', async () => (await worker.client.status()).notices === undefined);
    t.is([box, far].filter(joined).length, 1);
    t.is((await place.nodes('control')).length, 4);
  });

  await step('one whose time is over closes by itself', async () => {
    await selvedge(folder, 'enroll', 'open', '--for', '10s', '--cidr', '192.0.2.0/24');
    await waitFor('the worker to show it', async () => (await worker.client.status()).notices !== undefined);
    await waitFor('it to close', async () => (await control.client.status()).notices === undefined);
    await waitFor('the worker to show it no more', async () => (await worker.client.status()).notices === undefined);
    const events = await control.client.events({ limit: 1000 });
    const closed = events.filter(({ type }) => type === 'window-closed').map(({ message }) => message);
    t.is(closed.length, 3, closed.join());
    t.regex(closed[0] ?? '', /^an operator closed it; it admitted 1: willing/);
    t.regex(closed[1] ?? '', /^it admitted 1; it admitted 1: (late|far)/);
    t.regex(closed[2] ?? '', /^its time is over; it admitted 0/);
    t.is(events.filter(({ type }) => type === 'window-used').length, 2);
    t.false(joined(wary));
  });
});

test('a box that finds two fabrics joins neither, and says so', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const fabrics = ['plant', 'attacker'];
  await step('two fabrics on one network, both with a window', async () => {
    const founders = fabrics.map((name, index) =>
      place.up(name, `10.89.0.${index + 1}`, ['--found', '--fabric', name]),
    );
    await Promise.all(founders.map((founder) => founder.answers()));
    for (const name of fabrics)
      t.is((await selvedge(place.data(name), 'enroll', 'open', '--for', '10m', '--cidr', '10.89.0.0/16')).status, 0);
  });
  await step('the box takes none', async () => {
    const box = place.up('box', '10.89.1.1', ['--trust-lan']);
    const told = await waitFor('it to say why', () =>
      box.events.find(({ type, message }) => type === 'problem' && /fabrics answer here/.test(message)),
    );
    t.is(told.message, '2 fabrics answer here: none is trusted without a code or a token');
    t.false(joined(box));
    for (const name of fabrics) t.deepEqual(await place.nodes(name), [name]);
    t.regex((await selvedge(place.data('box'), 'status')).out, /belongs to no fabric yet/);
  });
});
