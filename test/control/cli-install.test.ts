// `install` and `uninstall` against a systemd that is a script: what is refused, what is written. The real one: test/e2e/systemd.test.ts.

import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createClient } from '../../control/cli/client.ts';
import type { Context } from '../../control/cli/context.ts';
import { type InstallOptions, install } from '../../control/cli/install.ts';
import { createSystemd, type Systemd } from '../../control/cli/systemd.ts';
import {
  settingsDifferences,
  settingsOf,
  type ToldSettings,
  type UnitSettings,
  unitText,
} from '../../control/cli/systemd-unit.ts';
import { type UninstallOptions, uninstall } from '../../control/cli/uninstall.ts';
import { fakeDaemon, statusView, temporaryFolder, testHost } from './cli-harness.ts';

const isRoot = process.getuid?.() === 0;
const settings: UnitSettings = {
  command: ['/usr/bin/node', '/opt/selvedge.js', 'up'],
  dataFolder: '/var/lib/selvedge',
  environment: { MALLOC_ARENA_MAX: '1' },
};

/** A box with a systemd that notes what it is told, and in which every unit is in the state `state`. */
async function createBox(t: ExecutionContext, { booted = true, state = 'active', userId = 0 } = {}) {
  const root = await temporaryFolder(t);
  const dataFolder = join(root, 'data');
  await mkdir(join(root, 'etc/systemd/system'), { recursive: true });
  await mkdir(dataFolder);
  if (booted) await mkdir(join(root, 'run/systemd/system'), { recursive: true });
  const asked = join(root, 'asked');
  const systemctl = join(root, 'systemctl');
  await writeFile(systemctl, `#!/bin/sh\necho "$*" >> ${asked}\n[ "$1" = show ] && echo ${state}\nexit 0\n`, {
    mode: 0o755,
  });
  const systemd: Systemd = createSystemd({ root, systemctl, journalctl: 'true' });
  const host = testHost({ userId, workingFolder: root });
  const client = createClient({ socketPath: join(dataFolder, 'selvedge.sock') });
  const context: Context = { host, dataFolder, json: true, form: 'json' as const, client };
  return {
    dataFolder,
    host,
    systemd,
    etc: join(root, 'etc'),
    unit: join(root, 'etc/systemd/system/selvedge.service'),
    install: (options: Partial<InstallOptions> = {}) =>
      install({ join: [], label: {}, port: 7433, ...options }, context, systemd),
    uninstall: (options: UninstallOptions = {}, dataGiven = false) =>
      uninstall(options, { context, dataGiven, systemd }),
    asked: async () =>
      (await readFile(asked, 'utf8').catch(() => '')).split('\n').filter((line) => !/^show|^$/.test(line)),
  };
}

const daemonAnswers = (t: ExecutionContext, folder: string, fabric = 'plant') =>
  fakeDaemon(t, folder, {
    'GET /v1/ping': { ok: true },
    'GET /v1/status': statusView({ fabric: { id: fabric, name: fabric } }),
  });

test('a box without systemd, and a user who is not root, are told what to do instead', async (t) => {
  const bare = await createBox(t, { booted: false });
  await t.throwsAsync(bare.install(), { name: 'InstallError', message: /not run by systemd/ });
  await t.throwsAsync(bare.uninstall(), { name: 'InstallError', message: /not run by systemd/ });
  const user = await createBox(t, { userId: 1000 });
  await t.throwsAsync(user.install(), { name: 'InstallError', message: /needs root/ });
  t.deepEqual([await bare.asked(), await user.asked()], [[], []]);
});

test('contradictions, users that do not exist and what is no token are refused before anything is written', async (t) => {
  const box = await createBox(t, { state: 'inactive' });
  await t.throwsAsync(box.install({ found: true, join: ['192.0.2.7:7433'] }), { name: 'UsageError' });
  await t.throwsAsync(box.install({ user: 'nobody-of-that-name' }), { name: 'UsageError', message: /no user/ });
  await t.throwsAsync(box.install({ user: '-u' }), { name: 'UsageError', message: /no user/ });
  await t.throwsAsync(box.install({ name: 'a\nUser=b' }), { name: 'UsageError', message: /control character/ });
  await t.throwsAsync(box.install({ token: 'a b' }), { name: 'UsageError', message: /no token/ });
  await t.throwsAsync(box.uninstall({ purge: true, keepWorkloads: true }), { name: 'UsageError' });
  t.deepEqual(await box.asked(), []);
  await t.throwsAsync(stat(box.unit), { code: 'ENOENT' });
});

test('a unit with other settings, or of somebody else, is left as it is', async (t) => {
  if (!isRoot) {
    t.log('skipped: the data folder must belong to root');
    return t.is(process.env['CI'], undefined);
  }
  const box = await createBox(t);
  await writeFile(box.unit, unitText({ ...settings, dataFolder: box.dataFolder }));
  await t.throwsAsync(box.install(), { name: 'InstallError', message: /installed with other settings; command: / });
  await writeFile(box.unit, '[Service]\nExecStart=/bin/true\n');
  await t.throwsAsync(box.install(), { name: 'InstallError', message: /did not write it/ });
  t.deepEqual(await box.asked(), []);
  return undefined;
});

test('a daemon that systemd did not start is not taken over', async (t) => {
  const box = await createBox(t, { state: 'inactive' });
  await daemonAnswers(t, box.dataFolder);
  await t.throwsAsync(box.install(), { name: 'InstallError', message: /systemd did not start/ });
  await writeFile(join(box.dataFolder, 'identity.pem'), '');
  await t.throwsAsync(box.uninstall({ purge: true }), { name: 'InstallError', message: /systemd did not start/ });
  t.deepEqual(await box.asked(), []);
});

test('purging refuses a folder that is no data folder, and a data folder that the unit does not name', async (t) => {
  const box = await createBox(t, { state: 'inactive' });
  await writeFile(join(box.dataFolder, 'letters.txt'), 'dear');
  await t.throwsAsync(box.uninstall({ purge: true }), { name: 'InstallError', message: /does not look like/ });
  await writeFile(box.unit, unitText(settings));
  await t.throwsAsync(box.uninstall({}, true), { name: 'UsageError', message: /runs on \/var\/lib\/selvedge, not on/ });
  t.is(await readFile(join(box.dataFolder, 'letters.txt'), 'utf8'), 'dear');
});

test('uninstalling where nothing is installed says so, and removes the data only when told to', async (t) => {
  const box = await createBox(t, { state: 'inactive' });
  await writeFile(join(box.dataFolder, 'identity.pem'), '');
  await box.uninstall();
  t.deepEqual(JSON.parse(box.host.printed.out.join('')), { removed: false, purged: false, dataFolder: box.dataFolder });
  t.true((await stat(box.dataFolder)).isDirectory());
  await box.uninstall({ purge: true });
  await t.throwsAsync(stat(box.dataFolder), { code: 'ENOENT' });
});

test("the token's file is closed for others, and goes with its folder", async (t) => {
  const box = await createBox(t);
  const file = join(box.etc, 'selvedge/token.env');
  await box.systemd.writeToken('first');
  await box.systemd.writeToken('second');
  t.is(await readFile(file, 'utf8'), 'SELVEDGE_TOKEN=second\n');
  t.deepEqual([(await stat(file)).mode & 0o777, (await stat(join(box.etc, 'selvedge'))).mode & 0o777], [0o600, 0o700]);
  await box.systemd.removeToken();
  await box.systemd.removeToken();
  await t.throwsAsync(stat(join(box.etc, 'selvedge')), { code: 'ENOENT' });
});

test('a unit gives its settings back, whatever is in them', (t) => {
  const odd: ToldSettings = {
    command: ['/opt/my node/bin/node', '/opt/100%/selvedge.js', 'up', '--name=a "b" \\ $HOME %h', "--label=it's=x"],
    user: 'edge',
    dataFolder: '/srv/100%/data folder',
  };
  const text = unitText({ ...odd, environment: { MALLOC_ARENA_MAX: '1' } });
  t.regex(text, /^Environment=MALLOC_ARENA_MAX=1$/m);
  t.deepEqual(settingsOf(text), odd);
  t.regex(
    text,
    /^ExecStart="\/opt\/my node\/bin\/node" "\/opt\/100%%\/selvedge\.js" "up" "--name=a \\"b\\" \\\\ \$\$HOME %%h" "--label=it's=x"$/m,
  );
  t.regex(text, /^RequiresMountsFor=\/srv\/100%%\/data folder$/m);
  t.is(settingsOf('[Service]\nExecStart=x'), undefined);
  t.is(settingsOf('[X-Selvedge]\nSettings={"command":3}'), undefined);
  t.deepEqual(settingsDifferences(odd, odd), []);
  t.deepEqual(settingsDifferences(settings, { ...settings, user: 'edge' }), ['user: root, now edge']);
});

test('the unit lets workloads outlive the daemon, and gives it no mount namespace of its own', (t) => {
  for (const text of [unitText(settings), unitText({ ...settings, user: 'edge' })]) {
    t.regex(text, /^KillMode=process$/m);
    t.regex(text, /^Restart=always$/m);
    t.regex(text, /^NoNewPrivileges=yes$/m);
    // systemd.exec(5): each of these is made with a mount namespace.
    const own =
      /^(Protect|PrivateTmp|PrivateDevices|PrivateMounts|Read|Inaccessible|Bind|Temporary|Exec(Paths)|Root|MountFlags|LoadCred|DynamicUser)\w*=/m;
    t.notRegex(text, own);
  }
});
