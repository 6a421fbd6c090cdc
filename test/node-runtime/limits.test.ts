// What an instance may use: real processes in real control groups, their end at the memory limit, and a box that has no groups.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { Resources } from '../../control/plan.ts';
import { detectCgroups, makeGroups, ranOutOfMemory } from '../../node-runtime/cgroups.ts';
import { LaunchFailedError } from '../../node-runtime/errors.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createProcessWorld } from './process-world.ts';

const instance = 'default.app.web.0';
/** A shell that doubles a string for as long as it may. */
const greedy = ['/bin/sh', '-c', 'x=0123456789abcdef; while :; do x=$x$x; done'];

function limited(command: string[], resources: Resources, specHash = 'first') {
  const launch = launchOf(command, { specHash });
  return { ...launch, spec: { ...launch.spec, resources } };
}

const probed = await detectCgroups('limits test');
const withoutGroups = probed.parents.size === 3 ? undefined : `control groups: ${probed.reason}`;
test.after.always(async () => {
  for (const { folder } of probed.parents.values()) await rm(folder, { recursive: true, force: true }).catch(() => {});
});

async function withFakeCgroups(lines: { mounts: string; cgroup: string }) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-limits-'));
  const proc = join(folder, 'proc');
  await mkdir(proc);
  await writeFile(join(proc, 'mounts'), lines.mounts.replaceAll('TOP', folder));
  await writeFile(join(proc, 'cgroup'), lines.cgroup);
  return { folder, proc, close: () => rm(folder, { recursive: true, force: true }) };
}

test('at its memory limit it is ended, which the exit says, to the next daemon too; it starts again with a limit of its own', async (t) => {
  if (withoutGroups !== undefined) return skip(t, withoutGroups);
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(limited(greedy, { memory: '24Mi' }));
  const exit = await world.engine.waitForExit(instance);
  t.is(exit.signal, 'SIGKILL');
  t.true(exit.outOfMemory);
  const next = await world.open();
  t.true((await next.list())[0]?.exit?.outOfMemory);
  t.is(next.notHeld(limited(greedy, { memory: '24Mi', cpus: 0.5, pids: 10 }).spec), undefined);

  // A new launch begins with nothing counted: another end is not laid to memory.
  await next.launch(limited(['/bin/sh', '-c', 'exit 7'], { memory: '24Mi' }));
  t.deepEqual(Object.entries(await next.waitForExit(instance)).slice(0, 2), [
    ['status', 7],
    ['signal', undefined],
  ]);
  t.is((await next.waitForExit(instance)).outOfMemory, undefined);
});

test('processor time and processes are limited, and its groups go with it', async (t) => {
  if (withoutGroups !== undefined) return skip(t, withoutGroups);
  const world = await createProcessWorld();
  t.teardown(world.close);
  const forks = `sh -c 'for n in 1 2 3 4 5 6 7 8; do sleep 100 & done'; exec sleep 100`;
  const { pid } = await world.engine.launch(limited(['/bin/sh', '-c', forks], { cpus: 0.5, pids: 4 }));
  const record = JSON.parse(await world.text(instance, 'run', 'launch.json')) as { groups: string[] };
  t.is(record.groups.length, 2);
  const read = async (file: string): Promise<string> => {
    const texts = await Promise.all(record.groups.map((one) => readFile(join(one, file), 'utf8').catch(() => '')));
    return texts.join('').trim();
  };
  t.regex(await read('cgroup.procs'), new RegExp(`^${pid}$`, 'm'));
  t.is(await read('pids.max'), '4');
  t.is(
    (await read('cpu.max')) || `${await read('cpu.cfs_quota_us')} ${await read('cpu.cfs_period_us')}`,
    '50000 100000',
  );
  await eventually(async () => /fork/.test(await world.text(instance, 'stderr.log')), { what: 'a refused fork' });
  await world.engine.terminate(instance, 0);
  await world.engine.remove(instance);
  for (const folder of record.groups) await t.throwsAsync(readdir(folder));
});

test('a group of the same name with a stranger’s processes is left as it is', async (t) => {
  const { folder = '' } = probed.parents.get('pids') ?? {};
  if (withoutGroups !== undefined) return skip(t, withoutGroups);
  const taken = join(folder, 'taken');
  await mkdir(taken, { recursive: true });
  const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' });
  const ended = once(stranger, 'exit');
  t.teardown(async () => {
    stranger.kill('SIGKILL');
    await ended;
    await eventually(() => rmdir(taken).then(() => true), { what: 'an empty group' });
  });
  await writeFile(join(taken, 'cgroup.procs'), String(stranger.pid));
  await t.throwsAsync(makeGroups(probed, 'taken', { pids: 5 }), { message: /processes of somebody else/ });
  t.is((await readFile(join(taken, 'pids.max'), 'utf8')).trim(), 'max');
  t.is((await readFile(join(taken, 'cgroup.procs'), 'utf8')).trim(), String(stranger.pid));
});

test('without control groups memory is held for each process, and it is said what is not held', async (t) => {
  const none = await withFakeCgroups({ mounts: 'proc /proc proc rw 0 0\n', cgroup: '0::/\n' });
  t.teardown(none.close);
  const world = await createProcessWorld({ trial: { proc: none.proc } });
  t.teardown(world.close);
  const launch = limited([...greedy], { memory: '24Mi', cpus: 1 });
  t.is(
    world.engine.notHeld(launch.spec),
    'memory is held for each process alone, cpus is not held: no control groups are mounted',
  );
  t.is(world.engine.notHeld(limited(greedy, {}).spec), undefined);
  await world.engine.launch(launch);
  const exit = await world.engine.waitForExit(instance);
  t.not(exit.status, 0);
  t.is(exit.outOfMemory, undefined);
});

test('without control groups Node.js starts with little memory, and has not much more', async (t) => {
  const none = await withFakeCgroups({ mounts: '', cgroup: '0::/\n' });
  t.teardown(none.close);
  const world = await createProcessWorld({ trial: { proc: none.proc } });
  t.teardown(world.close);
  const hog = `const all = []; try { for (;;) all.push(Buffer.alloc(8 << 20, 1)); } catch { console.log(all.length * 8); }`;
  const launch = limited(['/bin/sh', '-c', `exec "$0" -e '${hog}'; # node`, process.execPath], { memory: '64Mi' });
  t.regex(world.engine.notHeld(launch.spec) ?? '', /^memory is held for each process alone, 576Mi above the limit/);
  await world.engine.launch(launch);
  t.is((await world.engine.waitForExit(instance)).status, 0);
  const megabytes = Number(await world.text(instance, 'stdout.log'));
  t.true(megabytes >= 32 && megabytes <= 128, `${megabytes} MiB`);
});

test('version 2: controllers are passed on, limits are written as the kernel wants them, swap is none', async (t) => {
  const fake = await withFakeCgroups({ mounts: 'cgroup2 TOP/top cgroup2 rw 0 0\n', cgroup: '0::/init.scope\n' });
  t.teardown(fake.close);
  await mkdir(join(fake.folder, 'top'));
  const cgroups = await detectCgroups('/data/instances', fake.proc);
  t.is(cgroups.reason, '');
  // An ordinary file keeps the last word alone.
  t.is(await readFile(join(fake.folder, 'top', 'cgroup.subtree_control'), 'utf8'), '+pids');
  const parent = cgroups.parents.get('memory')?.folder ?? '';
  // A kernel has the files of a group as soon as the group is there.
  await mkdir(join(parent, 'one'));
  for (const file of ['memory.max', 'cpu.max', 'pids.max']) await writeFile(join(parent, 'one', file), '');
  t.deepEqual(await makeGroups(cgroups, 'one', { memory: '64Mi', cpus: 1.5, pids: 9 }), [join(parent, 'one')]);
  const read = (file: string) => readFile(join(parent, 'one', file), 'utf8');
  t.deepEqual(await Promise.all(['memory.max', 'cpu.max', 'pids.max'].map(read)), ['67108864', '150000 100000', '9']);
  t.false(await ranOutOfMemory([join(parent, 'one')]));
  await writeFile(join(parent, 'one', 'memory.events'), 'low 0\noom 1\noom_kill 2\n');
  t.true(await ranOutOfMemory([join(parent, 'one')]));
});

test('a limit that cannot be set keeps the instance from starting, with the reason', async (t) => {
  const fake = await withFakeCgroups({
    mounts: 'cgroup TOP/top cgroup rw,memory,cpu,pids 0 0\n',
    cgroup: '1:memory:/\n',
  });
  t.teardown(fake.close);
  await mkdir(join(fake.folder, 'top'));
  const world = await createProcessWorld({ trial: { proc: fake.proc } });
  t.teardown(world.close);
  const refused = await t.throwsAsync(world.engine.launch(limited(['/bin/true'], { pids: 9 })), {
    instanceOf: LaunchFailedError,
  });
  t.regex(refused?.message ?? '', /its limits cannot be set: .*pids\.max/);
  t.deepEqual(await world.engine.list(), []);
});
