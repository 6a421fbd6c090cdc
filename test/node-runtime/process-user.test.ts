// Programs that run as another user than the daemon: who they are, what they see of the data folder, and what they may not do to root's
// files. Only root can try it; the refusals are tried by everybody.

import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { LaunchRefusedError, ProcessUserError } from '../../node-runtime/errors.ts';
import { policyRefusal } from '../../node-runtime/policy.ts';
import type { ProcessEngineDependencies } from '../../node-runtime/process-engine.ts';
import { launchOf, type ProcessLaunch } from '../conformance/engine.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import { createProcessWorld } from './process-world.ts';

const instance = 'default.app.web.0';
const isRoot = process.geteuid?.() === 0;
const onlyRoot = 'only root can start programs as another user';
const file = (path: string, content: string, mode = 0o400) => ({ path, content: Buffer.from(content), mode });

function asUser(command: string[], user: string | undefined, changes: Partial<ProcessLaunch> = {}): ProcessLaunch {
  const launch = launchOf(command, changes);
  return { ...launch, spec: { ...launch.spec, engine: 'process', command, ...(user !== undefined && { user }) } };
}

/** The engine's folder in a closed data folder with a secret in it. */
async function createWorld(t: ExecutionContext, options: Partial<ProcessEngineDependencies> = {}) {
  const data = await mkdtemp(join(tmpdir(), 'selvedge-user-'));
  await writeFile(join(data, 'secret'), 'not for you', { mode: 0o644 });
  const world = await createProcessWorld({
    folder: join(data, 'instances'),
    volumesFolder: join(data, 'volumes'),
    hiddenFolder: data,
    ...options,
  });
  t.teardown(() => rm(data, { recursive: true, force: true }));
  t.teardown(world.close);
  const path = (...parts: string[]): string => join(data, ...parts);
  const read = (...parts: string[]): Promise<string> => readFile(path(...parts), 'utf8');
  /** What a script printed that ran as the user until its end. */
  async function run(script: string, user: string | undefined, changes: Partial<ProcessLaunch> = {}): Promise<string> {
    await world.engine.launch(asUser(['/bin/sh', '-c', script], user, changes));
    await world.engine.waitForExit(instance);
    return (await read('instances', instance, 'stdout.log')) + (await read('instances', instance, 'stderr.log'));
  }
  return { ...world, data, path, read, run };
}

test('it is the user with the user’s groups, by name and by number, and cannot become root again', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  const who = 'id -u; id -g; id -G; echo "$HOME"; grep -E "^(CapEff|NoNewPrivs)" /proc/self/status';
  const groups = execFileSync('id', ['-G', 'games'], { encoding: 'utf8' }).trim();
  const none = 'CapEff:\t0000000000000000\nNoNewPrivs:\t1\n';
  t.is(await world.run(who, 'games'), `5\n60\n${groups}\n/usr/games\n${none}`);
  await world.engine.remove(instance);
  t.is(await world.run(who, '5:daemon'), `5\n1\n1\n/usr/games\n${none}`);
  await world.engine.remove(instance);
  t.is(await world.run(who, '4711:4712'), `4711\n4712\n4712\n/\n${none}`);
  await world.engine.remove(instance);
  t.regex(await world.run(who, 'root'), /^0\n0\n/, 'who the daemon is anyway');
});

test('it reads its own files and writes to its volumes; of the data folder nothing else is there', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  await world.engine.launch(asUser(['sleep', '1000'], 'daemon', { instance: 'default.app.other.0' }));
  const script = `
    cat configs/stock/a identity/key.pem
    stat -c '%U %a' identity/key.pem
    echo kept > "$VOLUME_DATA/word"
    cat "$PWD/configs/stock/a"
    ls "${world.data}" "${world.data}/instances"
    cat "${world.data}/secret" ../../secret
    cat run/launch.json
    rm -rf run stdout.log; echo forged > run/exit; ln -s /etc/passwd stdout.log.1
    mv configs gone
    echo end`;
  const launch = { files: [file('configs/stock/a', 'A\n'), file('identity/key.pem', 'KEY\n')] };
  const base = asUser(['/bin/sh', '-c', script], 'games', launch);
  await world.engine.launch({ ...base, spec: { ...base.spec, volumes: [{ name: 'data' }] } });
  await world.engine.waitForExit(instance);
  const said = await world.read('instances', instance, 'stdout.log');
  t.is(
    said,
    `A\nKEY\ngames 400\nA\n${world.data}:\ninstances\nvolumes\n\n${world.data}/instances:\n${instance}\nend\n`,
  );
  const refused = await world.read('instances', instance, 'stderr.log');
  for (const what of [
    /secret'?: No such file/,
    /launch\.json'?: Permission denied/,
    /run\/exit: Permission denied/,
    /stdout\.log\.1'?.*Permission denied/,
    /configs'?.*Permission denied/,
  ])
    t.regex(refused, what);
  t.is(await world.read('volumes', instance, 'data', 'word'), 'kept\n');
  const { uid, mode } = await stat(world.path('volumes', instance, 'data'));
  t.deepEqual([uid, mode & 0o777], [5, 0o700]);
  // Who is let in by the modes inside is kept out by the folder around.
  t.is((await stat(world.data)).mode & 0o777, 0o700);
});

test('files that are renewed while it runs stay its own; a command beside it is the same user in the same folder', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  const hosts = [{ address: '127.9.9.9', names: ['printer'] }];
  const launch = { hosts, files: [file('identity/key.pem', 'old')] };
  await world.engine.launch(asUser(['sleep', '1000'], 'games', launch));
  await world.engine.writeFiles(instance, [file('identity/key.pem', 'new'), file('configs/late/a', 'late')]);
  const words = `id -un; cat identity/key.pem "$PWD/configs/late/a"; ls "${world.data}/instances"; grep -c printer /etc/hosts`;
  const signal = AbortSignal.timeout(10_000);
  const beside = await world.engine.exec(instance, ['/bin/sh', '-c', words], { signal, outputBytesMax: 1_000 });
  // A next daemon knows who it is.
  t.is(beside.output, `games\nnewlate${instance}\n1\n`);
  const next = await world.open({ folder: world.path('instances') });
  const again = await next.exec(instance, ['id', '-un'], { signal, outputBytesMax: 1_000 });
  t.is(again.output, 'games\n');
  const pid = (await next.list())[0]?.pid;
  await next.terminate(instance, 2_000);
  await t.throwsAsync(stat(`/proc/${pid}`));
});

test('a link in its volume leads root nowhere', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  const outside = world.path('outside');
  await mkdir(outside);
  const launch = (user: string | undefined) => {
    const base = asUser(['true'], user);
    return { ...base, spec: { ...base.spec, volumes: [{ name: 'data' }] } };
  };
  await world.engine.launch(launch('games'));
  await world.engine.waitForExit(instance);
  await symlink(outside, world.path('volumes', instance, 'data', 'link'));
  await world.engine.launch(launch('daemon'));
  await world.engine.waitForExit(instance);
  t.is((await stat(world.path('volumes', instance, 'data'))).uid, 1);
  t.is((await stat(outside)).uid, 0);
});

test('no working directory leads it past what is hidden: not by /proc, not by a link', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  // Modes alone would let everybody in who is inside already.
  await mkdir(world.path('open'));
  await chmod(world.path('open'), 0o755);
  await writeFile(world.path('open', 'secret'), 'not for you', { mode: 0o644 });
  const outside = await mkdtemp(join(tmpdir(), 'selvedge-user-'));
  t.teardown(() => rm(outside, { recursive: true, force: true }));
  await chmod(outside, 0o777);
  const around = `/proc/${process.pid}/root`;
  await symlink(world.path('open'), join(outside, 'link'));
  await symlink(`${around}${world.data}/open`, join(outside, 'proc-link'));
  const at = (workingDirectory: string, command: string[]) => {
    const { spec, ...rest } = asUser(command, 'games');
    return { ...rest, spec: { ...spec, workingDirectory } };
  };
  const look = ['/bin/sh', '-c', 'pwd; cat secret ../secret; ls ..'];
  const refused: [string, RegExp][] = [
    [`${around}${world.data}/open`, /workingDirectory: .* lies in \/proc, .*; accepted: a folder outside of \/proc/],
    ['/proc/self', /lies in \/proc/],
    ['/tmp/../proc/1', /lies in \/proc/],
    ['/sys/kernel', /lies in \/sys/],
    [world.path('open'), /lies in the data folder/],
    [world.data, /lies in the data folder/],
    [world.path('instances'), /lies in the data folder/],
    [join(outside, 'link'), /workingDirectory: .*link \(.*open\) lies in the data folder/],
    [join(outside, 'proc-link'), /lies in the data folder/],
  ];
  for (const [folder, message] of refused)
    await t.throwsAsync(world.engine.launch(at(folder, look)), { instanceOf: LaunchRefusedError, message }, folder);

  // What is not hidden, by a way that leads past the namespace: the user is not let through.
  await symlink(`${around}${outside}`, join(outside, 'past'));
  await world.engine.launch(at(join(outside, 'past'), look));
  t.is((await world.engine.waitForExit(instance)).status, 125);
  t.regex(await world.read('instances', instance, 'stderr.log'), /workingDirectory: its user may not enter .*past/);
  t.is(await world.read('instances', instance, 'stdout.log'), '');

  // Its own places are its own, by a link too, and a command beside it is where it is.
  await symlink(outside, join(outside, 'good'));
  await world.engine.launch(at(join(outside, 'good'), ['/bin/sh', '-c', 'mkdir way; cd way; exec sleep 1000']));
  const signal = AbortSignal.timeout(60_000);
  await eventually(async () => {
    const beside = await world.engine.exec(instance, ['/bin/pwd', '-P'], { signal, outputBytesMax: 1_000 });
    return beside.output === `${outside}/way\n`;
  });
});

test('the node’s default is for those that name nobody', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t, { standardUser: 'games' });
  t.is(await world.run('id -un', undefined), 'games\n');
  await world.engine.remove(instance);
  t.is(await world.run('id -un', 'daemon'), 'daemon\n');
});

test('what its manifest puts into the environment reaches nothing that is root', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  const own = ['LD_PRELOAD', 'LD_LIBRARY_PATH', 'PATH', 'ENV', 'HOME', 'LOCPATH', 'LIBMOUNT_DEBUG'];
  const values = Object.fromEntries(own.map((name) => [name, `/nonexistent/${name}:'"$(id) \n`]));
  const changes = { env: { ...values, UID: '0', SELVEDGE_LAUNCH: 'forged' }, secretEnv: { WORD: 'open sesame' } };
  const script = '/usr/bin/tr "\\0" "|" < /proc/self/environ';
  await world.engine.launch(asUser(['/bin/sh', '-c', `${script}; exec /bin/sleep 1000`], 'games', changes));
  const said = async () => (await world.read('instances', instance, 'stdout.log')).split('|');
  await eventually(async () => (await said()).includes('WORD=open sesame'), { what: 'its environment' });
  const beside = await world.engine.exec(instance, ['/bin/sh', '-c', script], {
    ...{ signal: AbortSignal.timeout(10_000), outputBytesMax: 10_000 },
  });
  for (const seen of [await said(), beside.output.split('|')]) {
    for (const [name, value] of Object.entries(values).filter(([name]) => name !== 'PATH'))
      t.true(seen.includes(`${name}=${value}`), name);
    t.true(seen.some((one) => one.startsWith('PATH=/nonexistent/')));
    t.is(seen.filter((one) => /^SELVEDGE_LAUNCH=/m.test(one)).length, 1);
    t.false(seen.some((one) => one.startsWith('selvedge_env_') || one === 'SELVEDGE_LAUNCH=forged'));
  }
  // The loader complains in the name of whoever is asked to load it: the user's programs alone are.
  const pid = (await world.engine.list())[0]?.pid;
  const shim = /^PPid:\t(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
  const root = (await readFile(`/proc/${shim}/environ`, 'utf8')).split('\0').filter((one) => one !== '');
  t.deepEqual(
    root.filter((one) => !/^(selvedge_env_\w+|SELVEDGE_LAUNCH)=/.test(one)),
    [],
  );
  // Whoever may not enter a folder of PATH is told the same as everybody.
  const absent = await world.engine.exec(instance, ['nothing-of-this-name'], {
    ...{ signal: AbortSignal.timeout(10_000), outputBytesMax: 10_000 },
  });
  t.is(absent.status, 127);
  t.regex(absent.output, /^selvedge: nothing-of-this-name: not found$/m);
  await world.engine.terminate(instance, 0);
});

test('who cannot be is refused, with the reason: unknown users, closed folders, a daemon that is not root', async (t) => {
  const world = await createWorld(t, { trial: { self: { user: 1_000, group: 1_000 } } });
  const refused = async (engine: typeof world.engine, user: string) =>
    t.throwsAsync<ProcessUserError>(engine.launch(asUser(['true'], user)), { instanceOf: ProcessUserError });
  const other = await refused(world.engine, '5:60');
  t.regex(other?.message ?? '', /selvedge runs as user 1000 .* only root/);
  t.true(other?.needsChange);
  await world.engine.launch(asUser(['true'], '1000:1000'));

  const root = await createWorld(t, { trial: { self: { user: 0, group: 0 } } });
  const unknown = await refused(root.engine, 'nobody-of-this-name');
  t.regex(unknown?.message ?? '', /there is no user nobody-of-this-name on this box/);
  t.false(unknown?.needsChange, 'it may be made at any time');
  t.regex((await refused(root.engine, 'games:no-such-group'))?.message ?? '', /there is no group no-such-group/);
  t.regex((await refused(root.engine, '4711'))?.message ?? '', /its group must be named: '4711:4711'/);
  t.regex((await refused(root.engine, '4294967295:1'))?.message ?? '', /there is no user/);

  const closed = await mkdtemp(join(tmpdir(), 'selvedge-closed-'));
  t.teardown(() => rm(closed, { recursive: true, force: true }));
  await chmod(closed, 0o700);
  const folder = join(closed, 'data', 'instances');
  const within = await root.open({ folder, hiddenFolder: join(closed, 'data') });
  t.is(
    (await refused(within, '4711:4711'))?.message.split(': ')[1],
    `it may not enter ${closed}, which the data folder is in`,
  );
  await within.stop();
});

test('without control groups its processes are counted by its user', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const proc = await mkdtemp(join(tmpdir(), 'selvedge-proc-'));
  t.teardown(() => rm(proc, { recursive: true, force: true }));
  await writeFile(join(proc, 'mounts'), '');
  await writeFile(join(proc, 'cgroup'), '0::/\n');
  const world = await createWorld(t, { trial: { proc } });
  const forks = 'for n in 1 2 3 4 5 6 7 8; do sleep 100 & done; wait';
  // A number that nobody else on the box has.
  const base = asUser(['/bin/sh', '-c', forks], '473821:473821');
  const launch = { ...base, spec: { ...base.spec, resources: { pids: 4 } } };
  t.regex(world.engine.notHeld(launch.spec) ?? '', /^pids is held for all processes of its user: /);
  t.regex(world.engine.notHeld({ ...asUser([], undefined).spec, resources: { pids: 4 } }) ?? '', /^pids is not held/);
  await world.engine.launch(launch);
  await eventually(async () => /fork/.test(await world.read('instances', instance, 'stderr.log')), {
    what: 'a refused fork',
  });
});

test('where a user is chosen for programs, another one takes leave', (t) => {
  const spec = (user: string | undefined) => asUser(['true'], user).spec;
  t.is(policyRefusal(spec('root'), { allow: [] }), undefined, 'it is root anyway');
  const chosen = { allow: [], processUser: 'app' } as const;
  t.is(policyRefusal(spec(undefined), chosen), undefined);
  t.is(policyRefusal(spec('app'), chosen), undefined);
  t.regex(
    policyRefusal(spec('root'), chosen) ?? '',
    /runs programs as app, and does not allow root; `selvedge up --allow users`/,
  );
  t.is(policyRefusal(spec('root'), { ...chosen, allow: ['users'] }), undefined);
});

test('its configs and secrets are for its user, change while it runs, and those of others are not even seen', async (t) => {
  if (!isRoot) return skip(t, onlyRoot);
  const world = await createWorld(t);
  const mounts = (password: string) => [
    { kind: 'configs' as const, name: 'web', files: [{ path: 'port', content: Buffer.from('8080') }] },
    { kind: 'secrets' as const, name: 'db', files: [{ path: 'password', content: Buffer.from(password) }] },
  ];
  const other = { ...asUser(['/bin/sleep', '60'], 'games', { mounts: mounts('of another') }) };
  await world.engine.launch({ ...other, instance: 'default.app.other.0' });
  const look = [
    'cat configs/web/port secrets/db/password; echo',
    'ls "$(readlink secrets)/../.." "$(readlink secrets)/.."; cat "$(readlink secrets)/../default.app.other.0/db/password"',
    'echo mine > secrets/db/password',
    'until [ "$(cat secrets/db/password)" = second ]; do sleep 0.05; done; cat secrets/db/password; echo',
  ];
  await world.engine.launch(asUser(['/bin/sh', '-c', look.join('; ')], 'games', { mounts: mounts('first') }));
  await eventually(async () => (await world.read('instances', instance, 'stderr.log')).split('\n').length > 2, {
    what: 'what it may not do',
  });
  const beside = await world.engine.exec(instance, ['/bin/sh', '-c', 'id -u; cat secrets/db/password'], {
    ...{ signal: AbortSignal.timeout(10_000), outputBytesMax: 1_000 },
  });
  t.is(beside.output, '5\nfirst');
  await world.engine.writeMounts(instance, mounts('second'));
  t.is((await world.engine.waitForExit(instance)).status, 0);
  const [seen = '', ...others] = (await world.read('instances', instance, 'stdout.log')).split('\n');
  t.is(seen, '8080first');
  t.is(others.at(-2), 'second');
  t.false(
    others.some((line) => line.includes('other')),
    others.join(),
  );
  t.regex(
    await world.read('instances', instance, 'stderr.log'),
    /No such file[\s\S]*(Permission denied|cannot create)/,
  );
});
