// Names for workloads: an /etc/hosts of their own, as root and as an ordinary user.

import { execFile } from 'node:child_process';
import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { launchOf } from '../conformance/engine.ts';
import { skip } from '../skip.ts';
import { createProcessWorld, isInstalled } from './process-world.ts';

const INSTANCE = 'default.app.web.0';
const HOSTS = [{ address: '127.45.6.7', names: ['monitor', 'monitor.cold-chain'] }];
const NOBODY = 65_534;

test('a workload resolves its own names, and the box does not', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  if (world.engine.names === 'none') {
    t.not(world.engine.namesReason, '');
    skip(t, world.engine.namesReason);
    return;
  }
  const resolve = `const { lookup } = await import('node:dns/promises'); console.log((await lookup('monitor')).address);`;
  const command = ['/bin/sh', '-c', `node -e "$1"; echo $$; cat /etc/hosts /proc/self/mountinfo`, 'sh', resolve];
  const { pid } = await world.engine.launch(launchOf(command, { hosts: HOSTS }));
  t.is((await world.engine.waitForExit(INSTANCE)).status, 0);
  const printed = await world.text(INSTANCE, 'stdout.log');
  t.regex(printed, /^127\.45\.6\.7$/m);
  t.regex(printed, new RegExp(`^${pid}$`, 'm'), 'the pid stayed the same through the namespaces');
  t.true(printed.includes(await readFile('/etc/hosts', 'utf8')), 'the box’s own names are there too');
  t.notRegex(await readFile('/etc/hosts', 'utf8'), /127\.45\.6\.7/);
  t.notRegex(await readFile('/proc/self/mountinfo', 'utf8'), new RegExp(`${world.folder}.*/etc/hosts`));
});

test('a running workload sees names that are written later', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  const script = 'until grep -q 127.45.9.9 /etc/hosts; do sleep 0.05; done; cat /etc/hosts';
  await world.engine.launch(launchOf(['/bin/sh', '-c', script], { hosts: HOSTS }));
  await world.engine.writeHosts(INSTANCE, [{ address: '127.45.9.9', names: ['added'] }]);
  if (world.engine.names === 'none') return skip(t, world.engine.namesReason);
  await world.engine.waitForExit(INSTANCE);
  const printed = await world.text(INSTANCE, 'stdout.log');
  t.regex(printed, /^127\.45\.9\.9\tadded$/m);
  t.notRegex(printed, /127\.45\.6\.7/, 'names that are gone are gone');
  t.true(printed.includes(await readFile('/etc/hosts', 'utf8')));
});

test('a workload without names to resolve is in no namespace of its own', async (t) => {
  const world = await createProcessWorld();
  t.teardown(world.close);
  await world.engine.launch(launchOf(['readlink', '/proc/self/ns/mnt']));
  await world.engine.waitForExit(INSTANCE);
  const { stdout } = await promisify(execFile)('readlink', ['/proc/self/ns/mnt']);
  t.is(await world.text(INSTANCE, 'stdout.log'), stdout);
});

test('an ordinary user’s workload has names, its own user id, no capability, and can be ended', async (t) => {
  const root = process.getuid?.() === 0;
  if (!root || !(await isInstalled('/usr/bin/setpriv'))) {
    skip(t, 'becoming an ordinary user needs root and setpriv');
    return;
  }
  const world = await createProcessWorld();
  t.teardown(world.close);
  await chmod(world.folder, 0o777);
  const folder = world.path('of-nobody');
  const source = (name: string) => JSON.stringify(join(import.meta.dirname, '../../node-runtime', name));
  const launch = launchOf(['/bin/sh', '-c', 'cat /etc/hosts /proc/self/status; umount /etc/hosts; exec sleep 1000'], {
    hosts: HOSTS,
  });
  const code = `
    import { createProcessEngine } from ${source('process-engine.ts')};
    import { createSystemClock } from ${source('system-clock.ts')};
    import { readFile } from 'node:fs/promises';
    const engine = createProcessEngine({ folder: ${JSON.stringify(folder)}, clock: createSystemClock() });
    await engine.start();
    const { pid } = await engine.launch(${JSON.stringify(launch)});
    let log = '';
    for (let look = 0; look < 200 && !/superuser|permitted|denied/.test(log); look++) {
      await new Promise((resolve) => setTimeout(resolve, 25));
      log = '';
      for await (const { text } of engine.logs(${JSON.stringify(INSTANCE)}, { tail: 1000, follow: false })) log += text + '\\n';
    }
    const exit = await engine.terminate(${JSON.stringify(INSTANCE)}, 5000);
    console.log(JSON.stringify({ names: engine.names, reason: engine.namesReason, pid, log, exit }));
    await engine.stop();`;
  const asNobody = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups', '--'];
  const child = promisify(execFile)('setpriv', [...asNobody, process.execPath, '--input-type=module', '-e', code], {
    env: { PATH: process.env['PATH'] ?? '', HOME: '/' },
    timeout: 60_000,
    cwd: '/',
  });
  let said: { names: string; reason: string; pid: number; log: string; exit: { signal: string } };
  try {
    said = JSON.parse((await child).stdout);
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    if (!/EACCES|ERR_MODULE_NOT_FOUND/.test(`${stderr}${String(error)}`)) throw error;
    t.log('skipped: this checkout may not be read by an ordinary user');
    t.pass();
    return;
  }
  t.is(said.exit.signal, 'SIGTERM');
  if (said.names === 'none') {
    t.log(`no names for ordinary users: ${said.reason}`);
    t.not(said.reason, '');
    return;
  }
  t.is(said.names, 'user');
  t.regex(said.log, /^127\.45\.6\.7\tmonitor monitor\.cold-chain$/m);
  t.regex(said.log, new RegExp(`^Uid:\\t${NOBODY}\\t${NOBODY}\\t`, 'm'));
  t.regex(said.log, new RegExp(`^Gid:\\t${NOBODY}\\t`, 'm'));
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) t.regex(said.log, new RegExp(`^${set}:\\t0+$`, 'm'));
});
