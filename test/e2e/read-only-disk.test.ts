// A real node whose data folder becomes read-only while its daemon runs: what runs goes on, its status says so, what cannot be stored is
// refused with what to do, and nothing that was acknowledged is lost. Once by a mount over it, which goes away again; once by a file
// system that finds an error, as on a disk that fails.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { skip } from '../skip.ts';
import { failingDiskMissing, smallDiskMissing } from '../small-disk.ts';
import type { Daemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { application, apply, onFailingDisk, onSmallDisk, ready } from './on-small-disk.ts';
import { isAlive } from './processes.ts';

const told =
  /^node control: the data folder .* cannot be written: its volume is read-only\. Mount the volume of .* for writing/;

const saysSo = (daemon: Daemon) =>
  waitFor('its status to say so', async () => {
    const status = await daemon.client.status();
    return status.problems.some((problem) => told.test(problem)) ? status : undefined;
  });

const missing = smallDiskMissing();

test('a data folder that can be written no more for a while: the next plan waits for it, and all goes on by itself', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { disk, start } = await onSmallDisk(t, 'control');
  const control = start(['--found']);
  await control.answers();
  await apply(control, application('before', 'control'));
  const pid = (await ready(control, 'before'))?.pid ?? 0;

  disk.cover();
  const status = await saysSo(control);
  t.false(status.ok);
  // The store has its journal open and may take it; the plan cannot be obeyed: a folder for it cannot be made.
  await apply(control, application('during', 'control'));
  await waitFor('the plan to be refused for now', () =>
    control.events.some(({ message }) => /what the mailbox holds cannot be taken over: .*read-only/.test(message)),
  );
  t.false((await control.client.application('default', 'during')).ready);
  t.true(await isAlive(pid));

  disk.uncover();
  await ready(control, 'during');
  await waitFor('all to be well', async () => (await control.client.status()).ok);
  t.is((await ready(control, 'before'))?.pid, pid);
  t.is(control.end, undefined);
  t.deepEqual(
    readdirSync(join(disk.folder, 'data')).filter((name) => name === 'disk-probe'),
    [],
  );
});

const brokenMissing = failingDiskMissing();

test('a file system that goes read-only because of an error: refused with what to do, and all is there once it is mended', async (t) => {
  if (brokenMissing !== undefined) return skip(t, brokenMissing);
  const { disk, start } = await onFailingDisk(t, 'control');
  const control = start(['--found']);
  await control.answers();
  await apply(control, application('before', 'control'));
  const pid = (await ready(control, 'before'))?.pid ?? 0;

  disk.fail();
  const failure = await apply(control, application('during', 'control')).then(
    () => undefined,
    (error: Error & { action?: string }) => error,
  );
  t.regex(String(failure?.message), /its volume is read-only/);
  t.regex(String(failure?.action), /Mount the volume of .* for writing/);
  const status = await saysSo(control);
  t.false(status.ok);
  t.true(status.nodes.some(({ instances }) => instances.some((one) => one.pid === pid && one.ready)));
  t.true(await isAlive(pid));
  t.is(control.end, undefined);

  t.is(await control.kill('SIGTERM'), 'status 0', 'it can be ended');
  const blocked = start();
  t.is(await blocked.ended, 'status 1');
  t.regex(blocked.output(), /its volume is read-only/);
  disk.mend();
  const again = start();
  await again.answers();
  t.is((await ready(again, 'before'))?.pid, pid, 'what ran is adopted');
  t.deepEqual(
    (await again.client.applications()).map(({ name }) => name),
    ['before'],
    'what was acknowledged, and no more',
  );
  await apply(again, application('after', 'control'));
  await ready(again, 'after');
  await waitFor('all to be well', async () => (await again.client.status()).ok);
});
