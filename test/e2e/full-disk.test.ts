// A real controller and a real worker, each on a small volume of its own that becomes full: what runs goes on, status on both says what is
// wrong, what cannot be stored is refused and what was acknowledged is there, and all goes on by itself once there is room. A data folder
// that cannot be written at the start is one clear line.

import test from 'ava';
import { skip } from '../skip.ts';
import { smallDiskMissing } from '../small-disk.ts';
import { waitFor } from './fabric.ts';
import { application, apply, onSmallDisk, ready } from './on-small-disk.ts';
import { isAlive } from './processes.ts';

const missing = smallDiskMissing();
test('disks of a controller and a worker become full, and have room again', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const [first, second] = [await onSmallDisk(t, 'control'), await onSmallDisk(t, 'edge-1')];
  const control = first.start(['--found']);
  await control.answers();
  const { token } = await control.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
  const edge = second.start([], token);
  await edge.event('joined');
  await apply(control, application('before', 'edge-1'));
  const pid = (await ready(control, 'before'))?.pid ?? 0;
  t.log('both nodes run, with an application on the worker');

  first.disk.fill();
  // What still fits behind the last file is taken first.
  const accepted: string[] = [];
  let failure: (Error & { action?: string }) | undefined;
  for (let number = 0; failure === undefined && number < 20; number++) {
    const name = `during-${number}`;
    failure = await apply(control, application(name, 'edge-1')).then(
      () => void accepted.push(name),
      (error: Error) => error,
    );
  }
  t.regex(String(failure?.message), /no space is left/);
  t.regex(String(failure?.action), /Make room/);
  const status = await waitFor('the status of the controller to say so', async () => {
    const found = await control.client.status();
    return found.problems.some((problem) => /^node control: .*no space is left/.test(problem)) ? found : undefined;
  });
  t.false(status.ok);
  t.true(status.nodes.some(({ instances }) => instances.some((one) => one.pid === pid && one.ready)));
  t.log('the controller says that its disk is full, refuses an apply, and the application runs');

  first.disk.makeRoom();
  await waitFor('an apply after room was made', async () => {
    await apply(control, application('after', 'edge-1'));
    return true;
  });
  await ready(control, 'after');
  await waitFor('all to be well', async () => (await control.client.status()).ok);
  t.is(control.end, undefined);
  t.log('with room again everything goes on, without a restart');

  second.disk.fill();
  await apply(control, application('later', 'edge-1'));
  await waitFor('the worker’s own status to say so', async () =>
    (await edge.client.status()).problems.some((problem) => problem.includes('no space is left')),
  );
  await waitFor('the controller to hear of it', async () =>
    (await control.client.status()).problems.some((problem) => /^node edge-1: .*no space is left/.test(problem)),
  );
  t.true(await isAlive(pid));
  second.disk.makeRoom();
  await ready(control, 'later');
  await waitFor('all to be well again', async () => (await control.client.status()).ok);
  t.true(await isAlive(pid));
  t.deepEqual([control.end, edge.end], [undefined, undefined]);
  t.log('a worker with a full disk is seen from the controller, and obeys what came meanwhile once there is room');

  await control.kill('SIGKILL');
  const again = first.start();
  await again.answers();
  const names = (await again.client.applications()).map(({ name }) => name);
  for (const name of ['before', ...accepted, 'after', 'later'])
    t.true(names.includes(name), `${name} is there after a kill -9`);
});

test('a data folder on a read-only volume: one line that says so, for a new node and for one that was there', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const { disk, start } = await onSmallDisk(t, 'control');
  disk.remount('ro');
  const fresh = start(['--found']);
  t.is(await fresh.ended, 'status 1');
  t.regex(fresh.output(), /read-only file system/i);
  disk.remount('rw');
  const control = start(['--found']);
  await control.answers();
  await control.client.down(false);
  await control.ended;
  disk.remount('ro');
  const blocked = start();
  t.is(await blocked.ended, 'status 1');
  t.regex(blocked.output(), /its volume is read-only/);
  t.regex(blocked.output(), /Mount the volume of .* for writing/);
  t.notRegex(blocked.output(), /\n\s+at /, 'no stack');
  disk.remount('rw');
  const again = start();
  await again.answers();
  t.true((await again.client.status()).nodes.length === 1);
});
