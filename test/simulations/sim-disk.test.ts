// The simulated Disk: the conformance body, power cuts in the middle of a write, and content that is put back.

import test from 'ava';
import { DiskError } from '../../node-runtime/errors.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';
import { testDisk } from '../conformance/disk.ts';

testDisk(test, 'sim disk', async () => {
  const disk = createSimDisk();
  return {
    disk,
    powerCycle: async () => {
      disk.crash();
      return disk;
    },
    close: async () => undefined,
  };
});

const decode = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

test('a power cut loses the write that had not resolved, and nothing that had', async (t) => {
  const disk = createSimDisk();
  await disk.write('plan', 'old');
  const cut = disk.write('plan', 'new');
  disk.crash();
  await t.throwsAsync(cut, { instanceOf: DiskError, message: /power/ });
  t.is(decode(await disk.read('plan')), 'old');
});

test('a snapshot is not changed by later writes and can be put back', async (t) => {
  const disk = createSimDisk();
  await disk.write('plan', 'one');
  const snapshot = disk.snapshot();
  await disk.write('plan', 'two');
  await disk.write('extra', 'x');
  disk.restore(snapshot);
  t.is(decode(await disk.read('plan')), 'one');
  t.is(await disk.read('extra'), undefined);
  await disk.write('plan', 'three');
  t.is(decode(snapshot.get('plan')), 'one');
});
