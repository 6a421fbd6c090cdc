// What stands in the way on a box: told when it begins and when it is over, with real words, and nothing is written while all is well.

import test from 'ava';
import type { Box } from '../../node-runtime/box.ts';
import { judgeDescriptors, judgeDisk, judgeSpeed } from '../../node-runtime/box-conditions.ts';
import { createBoxHealth } from '../../node-runtime/box-health.ts';
import { DiskError } from '../../node-runtime/errors.ts';
import { boxLookMs, boxWatchMs, diskBytesFreeFull, slowDiskMs } from '../../node-runtime/limits.ts';
import { isEmergencyReadOnly, openFilesMax } from '../../node-runtime/system-box.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';

function world() {
  const clock = createSimClock();
  const disk = createSimDisk();
  const told: string[] = [];
  const state = {
    refusal: undefined as string | undefined,
    delayMs: 0,
    bytesFree: 1e9,
    open: 50,
    /** Of the small file that finds out. */
    probes: 0,
  };
  const box: Box = {
    dataFolder: '/data',
    space: async () => ({ bytesFree: state.bytesFree, bytes: 2e9 }),
    checkWritable: async () => {},
    descriptors: async () => ({ open: state.open, max: 100 }),
  };
  const health = createBoxHealth({
    clock,
    box,
    disk: {
      ...disk,
      async write(path, content) {
        if (path === 'disk-probe') state.probes += 1;
        if (state.delayMs > 0) await clock.sleep(state.delayMs);
        const cause = Object.assign(new Error(`${state.refusal}: refused`), { code: state.refusal });
        if (state.refusal !== undefined) throw new DiskError('write', `/data/${path}`, cause);
        await disk.write(path, content);
      },
    },
    onChanged: (id, now) => told.push(`${id} ${now === undefined ? 'over' : 'begins'}`),
  });
  health.start();
  return { clock, disk, health, state, told };
}

test('a healthy box has no conditions, and nothing is written to find that out', async (t) => {
  const { clock, health, state, told } = world();
  await clock.advance(boxLookMs * 100);
  t.deepEqual([health.conditions(), told, state.probes], [[], [], 0]);
  health.stop();
});

test('a write that is refused begins a condition, and the first that is not ends it, without anybody writing', async (t) => {
  for (const [code, words] of [
    ['ENOSPC', /no space is left.*Make room on the volume of \/data/],
    ['EDQUOT', /quota/],
    ['EROFS', /read-only.*Mount the volume/],
    ['EIO', /its disk fails/],
  ] as const) {
    const { clock, disk, health, state, told } = world();
    state.refusal = code;
    await t.throwsAsync(health.disk.write('a', 'b'), { instanceOf: DiskError });
    t.is(health.conditions().length, 1);
    t.regex(health.conditions()[0] ?? '', words);
    await clock.advance(60_000);
    t.deepEqual(told, ['disk begins'], 'told once');
    t.true(state.probes <= 60_000 / boxWatchMs + 1);
    state.refusal = undefined;
    await clock.advance(boxWatchMs * 2);
    t.deepEqual([health.conditions(), told], [[], ['disk begins', 'disk over']]);
    t.deepEqual(await disk.list(''), [], 'the probe is removed');
    health.stop();
  }
});

test('a clock outside the time of the certificate is a condition until it is right again', async (t) => {
  const yearMs = 365 * 86_400_000;
  const { clock } = world();
  const told: string[] = [];
  let offMs = 0;
  const start = clock.now();
  const health = createBoxHealth({
    clock: { ...clock, now: () => clock.now() + offMs },
    disk: createSimDisk(),
    box: undefined,
    span: () => ({ beginMs: start - 86_400_000, endMs: start + 30 * 86_400_000 }),
    onChanged: (id, now) => told.push(`${id} ${now === undefined ? 'over' : 'begins'}`),
  });
  health.start();
  await clock.advance(boxLookMs * 2);
  for (const [jumpMs, words] of [
    [10 * yearMs, /says 2035-\d.*expired at 2026-01-31.*what it runs goes on/],
    [-yearMs, /says 2025-01.*is valid from 2025-12-31/],
  ] as const) {
    told.length = 0;
    offMs = jumpMs;
    await clock.advance(boxLookMs * 2);
    t.regex(health.conditions()[0] ?? '', words);
    offMs = 0;
    await clock.advance(boxLookMs * 2);
    t.deepEqual([health.conditions(), told], [[], ['clock begins', 'clock over']]);
  }
  offMs = -3_600_000;
  await clock.advance(boxLookMs * 2);
  t.deepEqual(health.conditions(), [], 'an hour back is within every certificate');
  health.stop();
});

test('what is no fault of the box is no condition', async (t) => {
  const { health } = world();
  await t.throwsAsync(health.disk.write('../a', 'b'));
  t.deepEqual(health.conditions(), []);
  health.stop();
});

test('a disk that takes seconds for each fsync is said to be slow, one slow write is not, and it is over when it is fast', async (t) => {
  const { clock, health, state, told } = world();
  const write = async (name: string): Promise<void> => {
    const done = health.disk.write(name, 'x');
    await clock.advance(state.delayMs + 1);
    await done;
  };
  state.delayMs = slowDiskMs + 500;
  await write('a');
  t.deepEqual(health.conditions(), []);
  await write('b');
  t.regex(health.conditions()[0] ?? '', /the disk is slow: fsync of a small file took 3\.5 s/);
  state.delayMs = 0;
  await clock.advance(boxWatchMs * 6);
  t.deepEqual([health.conditions(), told], [[], ['disk-slow begins', 'disk-slow over']]);
  health.stop();
});

test('a write that does not come back is seen while it waits, and no others are piled on it', async (t) => {
  const { clock, health, state } = world();
  state.delayMs = 600_000;
  const hanging = health.disk.write('a', 'x');
  await clock.advance(60_000);
  t.regex(health.conditions()[0] ?? '', /waiting for fsync for \d+\.\d s/);
  t.true(state.probes <= 1);
  state.delayMs = 0;
  await clock.advance(1_200_000);
  await hanging;
  t.deepEqual(health.conditions(), []);
  health.stop();
});

test('descriptors and space: from where on they are a condition', (t) => {
  t.is(judgeDescriptors({ open: 89, max: 100 }), undefined);
  t.regex(judgeDescriptors({ open: 90, max: 100 }) ?? '', /^90 of 100 file descriptors are in use\. Raise/);
  t.regex(judgeDescriptors(undefined) ?? '', /no file descriptor is left/);
  t.is(judgeDescriptors({ open: 60, max: 512 + 8 * 20 }, 20), undefined);
  t.regex(
    judgeDescriptors({ open: 60, max: 256 }, 20) ?? '',
    /^this daemon may have 256 file descriptors, and wants 672 for itself and 20 instances\. Raise .*LimitNOFILE/,
  );
  t.regex(judgeDescriptors({ open: 250, max: 256 }, 20) ?? '', /^250 of 256 file descriptors are in use/);
  t.is(judgeDescriptors({ open: 9_000, max: Number.POSITIVE_INFINITY }), undefined);
  t.is(judgeDisk('/data', diskBytesFreeFull, undefined), undefined);
  t.regex(judgeDisk('/data', diskBytesFreeFull - 1, undefined) ?? '', /no space is left/);
  t.is(judgeSpeed([slowDiskMs, 1], 0), undefined);
  t.is(
    openFilesMax(
      'Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n',
    ),
    1024,
  );
  t.is(
    openFilesMax('Max open files            unlimited            unlimited            files\n'),
    Number.POSITIVE_INFINITY,
  );
  t.is(openFilesMax('Max locked memory 1 2 bytes'), undefined);
});

test('ext4 that found an error is seen among the options of its file system', (t) => {
  const line = (device: string, path: string, options: string): string =>
    `36 35 ${device} / ${path} rw,relatime shared:1 - ext4 /dev/sda2 ${options}\n`;
  const device = 8 * 256 + 2;
  t.true(
    isEmergencyReadOnly(line('8:1', '/', 'rw') + line('8:2', '/data', 'rw,errors=remount-ro,emergency_ro'), device),
  );
  t.false(isEmergencyReadOnly(line('8:1', '/', 'rw,emergency_ro') + line('8:2', '/data', 'rw'), device));
  t.false(isEmergencyReadOnly(line('8:2', '/emergency_ro', 'rw'), device));
  t.true(
    isEmergencyReadOnly(line('259:70000', '/', 'emergency_ro'), 259 * 256 + (70_000 & 0xff) + ((70_000 >> 8) << 20)),
  );
});
