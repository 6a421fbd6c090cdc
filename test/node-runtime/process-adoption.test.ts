// What the next daemon makes of what an earlier one left: killed daemons, killed shims, other boots, pids used again.

import { execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { InstanceRunningError, InstanceUnknownError } from '../../node-runtime/errors.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createProcessWorld, gone, lives, type ProcessWorld } from './process-world.ts';

const INSTANCE = 'default.app.web.0';
const identityOf = (record: string) => Number(/^pid=(\d+)$/m.exec(record)?.[1]);
const shimOf = async (world: ProcessWorld) => identityOf(await world.text(INSTANCE, 'run', 'shim'));

/** A process that is none of ours, with the record that the shim would have written about it. */
async function stranger(t: { teardown(run: () => void): void }) {
  const process_ = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
  t.teardown(() => process_.kill('SIGKILL'));
  await new Promise((resolve) => process_.once('spawn', resolve));
  const pid = process_.pid as number;
  const fields = (await readFile(`/proc/${pid}/stat`, 'latin1')).split(') ')[1]?.split(' ') ?? [];
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const record = (startTicks: number) => `pid=${pid}\nstart=${startTicks}\nboot=${boot}\nend\n`;
  return { pid, startTicks: Number(fields[19]), record };
}

test('a daemon that is killed leaves its instances running for the next one', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const source = (name: string) => JSON.stringify(join(import.meta.dirname, '../../node-runtime', name));
  const code = `
    import { createProcessEngine } from ${source('process-engine.ts')};
    import { createSystemClock } from ${source('system-clock.ts')};
    const engine = createProcessEngine({ folder: ${JSON.stringify(world.folder)}, clock: createSystemClock() });
    await engine.start();
    const { pid } = await engine.launch(${JSON.stringify(launchOf(['/bin/sh', '-c', 'while [ ! -e go ]; do sleep 0.05; done; echo still; exit 6']))});
    console.log(pid);
    setInterval(() => undefined, 1000);`;
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => daemon.kill('SIGKILL'));
  const pid = Number(await new Promise((resolve) => daemon.stdout.once('data', resolve)));
  const closed = new Promise((resolve) => daemon.once('close', resolve));
  daemon.kill('SIGKILL');
  await closed;

  t.is((await world.engine.list())[0]?.pid, pid);
  const waiting = world.engine.waitForExit(INSTANCE);
  await writeFile(world.path(INSTANCE, 'go'), '');
  t.is((await waiting).status, 6);
  t.is(await world.text(INSTANCE, 'stdout.log'), 'still\n');
});

test('folders that a killed daemon made or half removed go once the plan is known; what is planned, ran or is nobody’s stays', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['true']));
  await world.engine.waitForExit(INSTANCE);
  const put = async (...path: string[]) => {
    const file = world.path(...path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, '');
  };
  await put('default.app.made.0', 'run', '.selvedge-0.tmp');
  await put('default.app.half.0', 'run', 'exit');
  await put('default.app.half.0', 'stdout.log');
  await put('default.app.damaged.0', 'run', 'launch.json');
  await put('default.app.planned.0', 'stdout.log');
  await put('.volumes', 'data');
  await put('notes', 'mine.txt');
  const next = await world.open();
  const before = await readdir(world.folder);
  next.want?.([{ name: 'default.app.planned.0', spec: launchOf(['true']).spec }], []);
  const gone = ['default.app.half.0', 'default.app.made.0'];
  await eventually(async () => !(await readdir(world.folder)).some((name) => gone.includes(name)), { what: 'an end' });
  t.deepEqual(
    before.filter((name) => !gone.includes(name)),
    await readdir(world.folder),
  );
});

test('a stranger with a pid that was ours is neither adopted nor signalled', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['sleep', '1000']));
  await world.engine.terminate(INSTANCE, 5_000);
  const other = await stranger(t);
  await rm(world.path(INSTANCE, 'run', 'exit'));
  for (const who of ['shim', 'workload'])
    await writeFile(world.path(INSTANCE, 'run', who), other.record(other.startTicks - 1));

  const next = await world.open();
  const [found] = await next.list();
  t.is(found?.pid, undefined);
  t.is(found?.exit?.status, undefined);
  t.is(found?.exit?.signal, undefined);
  await next.terminate(INSTANCE, 0);
  await next.launch(launchOf(['true']));
  await next.waitForExit(INSTANCE);
  await next.remove(INSTANCE);
  t.true(await lives(other.pid));
});

test('a pid that the kernel really gave again, in a pid namespace: the stranger is left alone, twice', async (t) => {
  if (process.geteuid?.() !== 0) return skip(t, 'a pid namespace takes root');
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-reuse-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const source = (path: string) => JSON.stringify(join(import.meta.dirname, '../..', path));
  const code = `
    import { spawn } from 'node:child_process';
    import { readFile, writeFile } from 'node:fs/promises';
    import { setTimeout as sleep } from 'node:timers/promises';
    import { createProcessEngine } from ${source('node-runtime/process-engine.ts')};
    import { createSystemClock } from ${source('node-runtime/system-clock.ts')};
    const folder = ${JSON.stringify(folder)};
    const open = async () => {
      const engine = createProcessEngine({ folder, clock: createSystemClock() });
      await engine.start();
      return engine;
    };
    const engine = await open();
    const launch = ${JSON.stringify(launchOf(['sleep', '1000']))};
    const { pid } = await engine.launch(launch);
    const shim = Number(/^pid=(\\d+)/.exec(await readFile(folder + '/${INSTANCE}/run/shim', 'utf8'))[1]);
    const comm = (one) => readFile('/proc/' + one + '/comm', 'utf8').then((text) => text.trim(), () => '');
    const takenOver = [];
    for (const one of [shim, pid]) {
      process.kill(one, 'SIGKILL');
      while ((await comm(one)) !== '') await sleep(10);
    }
    for (const one of [shim, pid]) {
      for (let tries = 0; tries < 200 && (await comm(one)) !== 'tail'; tries++) {
        await writeFile('/proc/sys/kernel/ns_last_pid', String(one - 1));
        const stranger = spawn('tail', ['-f', '/dev/null'], { stdio: 'ignore', detached: true });
        await new Promise((resolve) => stranger.once('spawn', resolve));
        while ((await comm(stranger.pid)) === 'node') await sleep(5);
        if (stranger.pid !== one) stranger.kill('SIGKILL');
      }
      takenOver.push(await comm(one));
    }
    const next = await open();
    const [found] = await next.list();
    await next.terminate(launch.instance, 500);
    const again = await next.launch(launch);
    await next.terminate(launch.instance, 500);
    await next.remove(launch.instance);
    console.log(JSON.stringify({ takenOver, pid: found.pid ?? null, ended: found.exit !== undefined, other: again.pid !== pid, left: [await comm(shim), await comm(pid)] }));
    process.exit(0);`;
  // The shell is the first process there, which waits for what loses its parent.
  const words = ['--pid', '--fork', '--mount-proc', '--kill-child', 'sh', '-c', '"$0" "$@"; exit $?'];
  const node = [process.execPath, '--input-type=module', '-e', code];
  const { stdout } = await promisify(execFile)('unshare', [...words, ...node], { timeout: 60_000 });
  t.deepEqual(JSON.parse(stdout), {
    takenOver: ['tail', 'tail'],
    pid: null,
    ended: true,
    other: true,
    left: ['tail', 'tail'],
  });
});

test('after another boot nothing counts as running, even with the same pid and start time', async (t) => {
  const world = await createProcessWorld();
  const next = await world.open({ trial: { boot: '00000000-0000-4000-8000-000000000000' } });
  t.teardown(world.close);
  const { pid, startedAt } = await world.engine.launch(launchOf(['sleep', '1000']));
  t.teardown(async () => {
    // The world believes what the engine of another boot wrote: that it ended.
    process.kill(await shimOf(world), 'SIGKILL');
    process.kill(pid as number, 'SIGKILL');
  });
  const [found] = await next.list();
  t.truthy(found?.exit);
  t.is(found?.exit?.status, undefined);
  t.true(found?.exit?.boxRestarted);
  t.true(Math.abs((found?.exit?.at ?? 0) - startedAt) < 60_000, 'its last sign of life');
  await next.terminate(INSTANCE, 0);
  t.true(await lives(pid as number));
});

test('a workload whose shim was killed is waited for, and ends with nobody knowing how', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { pid } = await world.engine.launch(launchOf(['sleep', '1000']));
  const waiting = world.engine.waitForExit(INSTANCE);
  const shim = await shimOf(world);
  process.kill(shim, 'SIGKILL');
  await gone(shim);
  t.is((await world.engine.list())[0]?.pid, pid, 'still running');
  process.kill(pid as number, 'SIGKILL');
  const exit = await waiting;
  t.is(exit.status, undefined);
  t.is(exit.signal, undefined);
  const next = await world.open();
  t.deepEqual(await next.waitForExit(INSTANCE), exit, 'and stays so');
});

test('a workload whose shim was killed is ended with all that belongs to it', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const family = `sh -c 'trap "" TERM; while :; do sleep 0.2; done' & echo child $!; wait`;
  const { pid } = await world.engine.launch(launchOf(['/bin/sh', '-c', family]));
  const [, child] = await eventually(async () => /child (\d+)/.exec(await world.text(INSTANCE, 'stdout.log')));
  process.kill(await shimOf(world), 'SIGKILL');
  await gone(await shimOf(world));
  t.truthy(await world.engine.terminate(INSTANCE, 300));
  t.false(await lives(pid as number));
  t.false(await lives(Number(child)));
});

test('what an instance left when shim and workload were killed together is gone at its next launch', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { pid } = await world.engine.launch(launchOf(['/bin/sh', '-c', 'sleep 1000 & echo child $!; wait']));
  const [, child] = await eventually(async () => /child (\d+)/.exec(await world.text(INSTANCE, 'stdout.log')));
  process.kill(await shimOf(world), 'SIGKILL');
  process.kill(pid as number, 'SIGKILL');
  await world.engine.waitForExit(INSTANCE);
  await world.engine.launch(launchOf(['true']));
  t.false(await lives(Number(child)));
});

test('a launch that was cut off before its shim started never was: no end, no failure, nothing left of it', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['true']));
  await world.engine.waitForExit(INSTANCE);
  await eventually(async () => !(await lives(await shimOf(world))));
  for (const name of ['exit', 'shim', 'workload']) await rm(world.path(INSTANCE, 'run', name));
  const { startedAt } = JSON.parse(await world.text(INSTANCE, 'run', 'launch.json'));
  // By a wall clock that is set back meanwhile, the shim may still be starting.
  const setBack = await world.open({ clock: { ...world.clock, now: () => startedAt + 1 } });
  // Of the two shells between daemon and workload one may outlive the other by a moment.
  await eventually(async () => (await setBack.list()).length === 0);
  const next = await world.open();
  await t.throwsAsync(next.waitForExit(INSTANCE), { instanceOf: InstanceUnknownError });
  await next.launch(launchOf(['sh', '-c', 'exit 3']));
  t.is((await next.waitForExit(INSTANCE)).status, 3);
});

test('a launch whose shim has not written who it is for long still runs', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { pid } = await world.engine.launch(launchOf(['sleep', '1000']));
  const shim = await shimOf(world);
  const records = ['shim', 'workload'].map((name) => world.path(INSTANCE, 'run', name));
  const texts = await Promise.all(records.map((path) => readFile(path)));
  await Promise.all(records.map((path) => rm(path)));
  // Older than the grace that every launch gets.
  const record = world.path(INSTANCE, 'run', 'launch.json');
  const launch = JSON.parse(await readFile(record, 'utf8'));
  await writeFile(record, JSON.stringify({ ...launch, startedAt: launch.startedAt - 60_000 }));
  const next = await world.open();
  const [found] = await next.list();
  t.is(found?.instance, INSTANCE);
  t.is(found?.exit, undefined);
  await t.throwsAsync(next.launch(launchOf(['true'])), { instanceOf: InstanceRunningError });
  await Promise.all(records.map((path, index) => writeFile(path, texts[index] as Buffer)));
  t.true(await lives(shim));
  t.is((await next.list())[0]?.pid, pid);
});

test('a folder without a readable launch record is no instance, and can be launched over', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['true']));
  await world.engine.waitForExit(INSTANCE);
  for (const damage of ['', '{}', '{"instance":"another"}', 'null', '\0\0\0']) {
    await writeFile(world.path(INSTANCE, 'run', 'launch.json'), damage);
    t.deepEqual(await world.engine.list(), [], damage);
  }
  await world.engine.launch(launchOf(['true']));
  t.is((await world.engine.waitForExit(INSTANCE)).status, 0);
});

test('who follows a log reads on while a launch has no record yet, until the instance is removed', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { engine } = world;
  await engine.launch(launchOf(['/bin/sh', '-c', 'echo first']));
  await engine.waitForExit(INSTANCE);
  // As a launch leaves it between clearing what was known and writing what is.
  await rm(join(world.folder, INSTANCE, 'run'), { recursive: true });
  const texts: string[] = [];
  const reading = (async () => {
    const until = AbortSignal.timeout(20_000);
    for await (const { text } of engine.logs(INSTANCE, { tail: 10, follow: true }, until)) texts.push(text);
  })();
  await eventually(() => texts.length === 1);
  await engine.launch(launchOf(['/bin/sh', '-c', 'echo second']));
  await eventually(() => texts.length === 2);
  t.deepEqual(texts, ['first', 'second']);
  await engine.waitForExit(INSTANCE);
  await engine.remove(INSTANCE);
  await reading;
});
