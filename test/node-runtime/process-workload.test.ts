// What a workload of the process engine is given, and what is left when it ends: on real processes, under each shell here.

import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { InstanceRunningError, LaunchFailedError, WorkingDirectoryError } from '../../node-runtime/errors.ts';
import { launchOf } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createProcessWorld, gone, isInstalled, lives, pidsWith } from './process-world.ts';

const INSTANCE = 'default.app.web.0';
const script = (text: string) => ['/bin/sh', '-c', text];

test('the pid is the workload’s own, it leads nothing, and its shim leads the session', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { pid } = await world.engine.launch(launchOf(['sleep', '1000']));
  t.is(
    await eventually(async () => (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() === 'sleep' && 'sleep'),
    'sleep',
  );
  const fields = (await readFile(`/proc/${pid}/stat`, 'latin1')).split(') ')[1]?.split(' ') ?? [];
  const [, parent, group, session] = fields;
  t.is(session, parent);
  t.is(group, parent);
  t.not(session, String(pid));
});

test('the environment is the allowed part of the daemon’s and what was given', async (t) => {
  const nodeFolder = join(tmpdir(), 'selvedge-no-node');
  const world = await createProcessWorld({ nodeExecutableFolder: nodeFolder });
  t.teardown(world.close);
  process.env['SELVEDGE_TEST_SECRET'] = 'of the daemon';
  await world.engine.launch(
    launchOf(['/usr/bin/env'], { env: { PORT: '8080', FROM: 'node', QUOTED: `a'b"c $HOME\nx=y` } }),
  );
  await world.engine.waitForExit(INSTANCE);
  const printed = await world.text(INSTANCE, 'stdout.log');
  t.regex(printed, /^PORT=8080$/m);
  t.regex(printed, /^FROM=node$/m, 'the node’s wins over the spec’s');
  t.true(printed.includes(`QUOTED=a'b"c $HOME\nx=y\n`));
  t.true(new RegExp(`^PATH=.*:${nodeFolder}$`, 'm').test(printed));
  t.notRegex(printed, /of the daemon/);
  const allowed = /^(PATH|HOME|LANG|TZ|TMPDIR|PORT|FROM|QUOTED|x|SELVEDGE_LAUNCH|PWD|OLDPWD|SHLVL|_)=/;
  const lines = printed.trim().split('\n');
  t.deepEqual(
    lines.filter((line) => !allowed.test(line)),
    [],
    'shells add PWD, OLDPWD, SHLVL and _',
  );
});

test('no descriptor of the daemon reaches the workload, and its input is empty', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  // A descriptor that an exec does not close, high and low: only a child can be given one, so the engine runs in that child.
  const secret = openSync(world.path('secret'), 'w+');
  t.teardown(() => closeSync(secret));
  const child = `
    import { createProcessEngine } from ${JSON.stringify(join(import.meta.dirname, '../../node-runtime/process-engine.ts'))};
    import { createSystemClock } from ${JSON.stringify(join(import.meta.dirname, '../../node-runtime/system-clock.ts'))};
    import { readlinkSync } from 'node:fs';
    const engine = createProcessEngine({ folder: ${JSON.stringify(world.folder)}, clock: createSystemClock() });
    await engine.start();
    await engine.launch(${JSON.stringify(launchOf(script('cat; ls -l /proc/self/fd; exit 5')))});
    const exit = await engine.waitForExit(${JSON.stringify(INSTANCE)});
    console.log(readlinkSync('/proc/self/fd/7'), readlinkSync('/proc/self/fd/30'), exit.status);
    await engine.stop();`;
  const stdio = Array.from({ length: 31 }, (_, descriptor) => {
    if (descriptor === 1) return 'pipe' as const;
    return descriptor === 7 || descriptor === 30 ? secret : ('ignore' as const);
  });
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', child], { stdio });
  let said = '';
  daemon.stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await new Promise((resolve) => daemon.once('close', resolve));
  t.is(said.trim(), `${world.path('secret')} ${world.path('secret')} 5`, 'the daemon itself had it');
  const listing = await world.text(INSTANCE, 'stdout.log');
  t.notRegex(listing, /secret/);
  t.regex(listing, /0 -> \/dev\/null/);
  if (await isInstalled('/bin/bash')) t.notRegex(listing, / (4|7|30) -> /, 'closed, not only covered');
});

test('no signal is ignored or blocked in the workload', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['cat', '/proc/self/status']));
  await world.engine.waitForExit(INSTANCE);
  const status = await world.text(INSTANCE, 'stdout.log');
  for (const set of ['SigBlk', 'SigIgn', 'SigCgt']) t.regex(status, new RegExp(`^${set}:\\t0+$`, 'm'));
});

test('folders are 0700, and files have the mode that was asked for', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const files = [{ path: 'configs/a/key', content: new Uint8Array([1]), mode: 0o440 }];
  await world.engine.launch(launchOf(['sleep', '1000'], { files }));
  const mode = async (...parts: string[]) => (await stat(world.path(INSTANCE, ...parts))).mode & 0o7777;
  t.is(await mode(), 0o700);
  t.is(await mode('run'), 0o700);
  t.is(await mode('configs/a/key'), 0o440);
  t.is(await mode('run/launch.json'), 0o600);
  t.is(await mode('stdout.log'), 0o600);
});

test('children and grandchildren are asked to end too, and what stays in the session is killed', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const family = `
    (trap 'echo child asked; exit' TERM; while :; do sleep 0.05; done) &
    (trap '' TERM; sh -c 'echo grandchild $$; while :; do sleep 1; done') &
    wait`;
  await world.engine.launch(launchOf(script(family)));
  const [, grandchild] = await eventually(async () =>
    /grandchild (\d+)/.exec(await world.text(INSTANCE, 'stdout.log')),
  );
  await world.engine.terminate(INSTANCE, 5_000);
  t.false(await lives(Number(grandchild)));
  t.deepEqual(await pidsWith(world.folder), [], 'no shim either');
});

test('what a crashed workload leaves behind is killed before its end is told', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(script('sleep 1000 & echo left $!; (setsid sleep 0.3 &); exit 9')));
  const exit = await world.engine.waitForExit(INSTANCE);
  t.is(exit.status, 9);
  const [, left] = /left (\d+)/.exec(await world.text(INSTANCE, 'stdout.log')) ?? [];
  t.false(await lives(Number(left)));
});

test('no zombie stays with the daemon', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['true']));
  await world.engine.waitForExit(INSTANCE);
  await eventually(async () => {
    const mine: string[] = [];
    for (const name of await readdir('/proc')) {
      const line = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => '');
      if (line.includes(`) Z ${process.pid} `)) mine.push(line);
    }
    return mine.length === 0;
  });
  t.pass();
});

test('a workload that made its own session and group is ended as well', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const { pid } = await world.engine.launch(launchOf(['setsid', 'sh', '-c', 'sleep 1000 & wait']));
  await eventually(async () => (await readFile(`/proc/${pid}/stat`, 'latin1')).includes(` ${pid} ${pid} `));
  t.is((await world.engine.terminate(INSTANCE, 5_000))?.signal, 'SIGTERM');
  await gone(pid as number);
});

test('a program that may not be executed is an exit with status 126', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['/etc/passwd']));
  t.is((await world.engine.waitForExit(INSTANCE)).status, 126);
  t.regex(await world.text(INSTANCE, 'stderr.log'), /\/etc\/passwd.*Permission denied/);
});

test('a working directory that is not there is said clearly, and nothing is started', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const launch = launchOf(['true']);
  for (const workingDirectory of [world.path('nowhere'), '/etc/passwd']) {
    const attempt = world.engine.launch({ ...launch, spec: { ...launch.spec, workingDirectory } });
    const error = await t.throwsAsync(attempt, { instanceOf: WorkingDirectoryError });
    t.true(error.message.includes(workingDirectory));
  }
  t.deepEqual(await world.engine.list(), []);

  const there = await mkdtemp(join(tmpdir(), 'selvedge-work-'));
  t.teardown(() => rm(there, { recursive: true, force: true }));
  await world.engine.launch({
    ...launchOf(['pwd']),
    spec: { ...launch.spec, command: ['pwd'], workingDirectory: there },
  });
  await world.engine.waitForExit(INSTANCE);
  t.is(await world.text(INSTANCE, 'stdout.log'), `${there}\n`);
});

test('of two launches at once one is refused', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const launches = [1, 2].map(() => world.engine.launch(launchOf(['sleep', '1000'])));
  const results = await Promise.allSettled(launches);
  const refused = results.filter((result) => result.status === 'rejected');
  t.is(refused.length, 1);
  t.true((refused[0] as PromiseRejectedResult).reason instanceof InstanceRunningError);
});

test('a shim that cannot be started is a failed launch that leaves nothing', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const engine = await world.open({ trial: { shell: '/bin/false' } });
  await t.throwsAsync(engine.launch(launchOf(['true'])), { instanceOf: LaunchFailedError });
  t.deepEqual(await engine.list(), []);
});

for (const [shell, available] of [
  ['/bin/dash', '/bin/dash'],
  ['/bin/bash', '/bin/bash'],
  ['busybox', '/bin/busybox'],
] as const) {
  test(`the shim works under ${shell}`, async (t) => {
    if (!(await isInstalled(available))) {
      skip(t, `${available} is not installed`);
      return;
    }
    const world = await createProcessWorld();
    t.teardown(world.close);
    let path: string = shell;
    if (shell === 'busybox') {
      // busybox is the shell that its name says.
      const { symlink } = await import('node:fs/promises');
      path = world.path('.sh', 'sh');
      const { mkdir } = await import('node:fs/promises');
      await mkdir(world.path('.sh'));
      await symlink(available, path);
    }
    const engine = await world.open({ trial: { shell: path } });
    const endsOf = async (command: string[]) => {
      await engine.launch(launchOf(command));
      const { status, signal } = await engine.waitForExit(INSTANCE);
      return status ?? signal;
    };
    t.is(await endsOf(['true']), 0);
    t.is(await endsOf(script('exit 139')), 139);
    for (const signal of ['SIGTERM', 'SIGKILL', 'SIGINT', 'SIGSEGV', 'SIGHUP', 'SIGPIPE']) {
      t.is(await endsOf(script(`kill -${signal.slice(3)} $$`)), signal);
    }
    t.is(await endsOf(['selvedge-no-such-program']), 127);
    t.is(await endsOf(script('sleep 1000 & kill -TERM 0; wait')), 'SIGTERM');
    await engine.launch(launchOf(script('trap "" TERM; echo deaf; while :; do sleep 1; done')));
    await eventually(async () => (await world.text(INSTANCE, 'stdout.log')).includes('deaf'));
    t.is((await engine.terminate(INSTANCE, 100))?.signal, 'SIGKILL');
    t.deepEqual(await pidsWith(`${world.folder}/${INSTANCE}`), []);
  });
}
