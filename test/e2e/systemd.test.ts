// The program installed on a box with a real systemd: crash, restart, upgrade, reboot, and its end. Numbered steps of one story, since
// each begins with what the one before left.

import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { InstanceView, StatusView } from '../../control/views.ts';
import { eventually } from '../eventually.ts';
import { bootMachine, type Machine, makeRoot, whyNoMachine } from './machine.ts';
import { currentVersion, installGlobally, pack } from './package.ts';
import { tell } from './story.ts';

/** For a busy box with two cores. */
const deadlineMs = 60_000;
const nextVersion = '99.0.0';

/** Says what it sees of its own files and names, as the workload inside its own mount namespace. */
const watcher = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: watch }
spec:
  microservices:
    - name: watcher
      engine: process
      command: [sh, -c, 'while :; do sha256sum < identity/certificate.pem; grep -c "Services of the fabric" /etc/hosts; sleep 0.2; done']
    # Somebody to call: what calls nobody needs no names.
    - name: called
      engine: process
      command: [sleep, infinity]
      ports: [{ name: http, port: 8080 }]
`;

function createBox(machine: Machine) {
  const instance = 'default.watch.watcher.0';
  const selvedge = (...args: string[]): Promise<string> => machine.out('selvedge', ...args);
  const status = async (): Promise<StatusView> => JSON.parse(await selvedge('status', '-o', 'json')) as StatusView;
  const watched = async (): Promise<InstanceView | undefined> =>
    (await status()).nodes.flatMap(({ instances }) => instances).find(({ name }) => name === instance);
  const waitFor = <T>(what: string, probe: () => Promise<T>) => eventually(probe, { deadlineMs, what });
  const property = (name: string): Promise<string> =>
    machine.out('systemctl', 'show', 'selvedge', '--value', `--property=${name}`);
  return {
    instance,
    selvedge,
    status,
    waitFor,
    property,
    daemon: () => property('MainPID'),
    /** Once a daemon answers that says the workload is ready. */
    ready: () =>
      waitFor('the workload to be ready', async () => {
        const found = await watched();
        return found?.ready === true && found.pid !== undefined ? found : undefined;
      }),
    /** `<pid>@<start>`: names one process of the machine for good (proc(5), field 22). */
    identity: async (pid: number | undefined): Promise<string> => {
      const text = await machine.out('cat', `/proc/${pid}/stat`);
      return `${pid}@${text.slice(text.lastIndexOf(')') + 2).split(' ')[19]}`;
    },
    /** The workload's last word about its certificate, once it says what the file says now. */
    seesItsCertificate: () =>
      waitFor('the workload to see its certificate', async () => {
        const file = `/var/lib/selvedge/instances/${instance}/identity/certificate.pem`;
        const [hash] = (await machine.out('sha256sum', file)).split(' ');
        const said = await selvedge('logs', instance, '--tail', '4');
        return hash !== undefined && said.includes(hash) ? hash : undefined;
      }),
    /** No path of the machine's own that `install`, or a daemon, makes. */
    leftovers: async (): Promise<string> => {
      const places = ['/etc/systemd', '/run/systemd/system', '/var/lib', '/etc/selvedge', '/run', '/tmp'];
      return (await machine.run('find', ...places, '-xdev', '-name', '*selvedge*')).out.trim();
    },
    processes: async (): Promise<string> =>
      (await machine.run('sh', '-c', 'grep -l selvedge /proc/[0-9]*/environ')).out,
  };
}

/** A machine with the program installed; undefined, with the reason printed, when there can be none. */
async function start(t: ExecutionContext) {
  const why = await whyNoMachine();
  if (why !== undefined) {
    t.log(`skipped: ${why}`);
    t.is(process.env['CI'], undefined, 'in CI nothing is skipped');
    return undefined;
  }
  t.timeout(600_000, 'the machine is made');
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-systemd-'));
  t.teardown(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const root = await makeRoot(folder);
  const prefix = join(root, 'usr/local');
  await mkdir(prefix, { recursive: true });
  await installGlobally(await pack(folder, await currentVersion()), prefix);
  const machine = await bootMachine(root);
  t.teardown(async () => {
    if (!t.passed) {
      t.log(
        (await machine.run('journalctl', '--unit=selvedge', '--no-pager', '--lines=60', '--output=short-monotonic'))
          .out,
      );
    }
    await machine.stop();
  });
  return { machine, folder, prefix };
}

test('a box with systemd: install, crash, restart, upgrade, reboot, uninstall', async (t) => {
  const step = tell(t);
  const started = await start(t);
  if (started === undefined) return;
  const { machine, folder, prefix } = started;
  const box = createBox(machine);
  const install = ['install', '--found', '--fabric', 'plant', '--name', 'press-4'];
  const unit = '/etc/systemd/system/selvedge.service';

  const fabricId = await step('install founds a fabric, and the unit runs', async () => {
    t.regex(await box.selvedge(...install), /is installed[\s\S]*This box is press-4 of the fabric plant\./);
    t.deepEqual([await box.property('ActiveState'), await box.property('UnitFileState')], ['active', 'enabled']);
    t.notRegex(await machine.out('cat', unit), /--found/, 'a box that lost its data must not found another fabric');
    t.is(await machine.out('systemd-analyze', 'verify', unit), '');
    return (await box.status()).fabric.id;
  });

  await step('the same again changes nothing; other settings are refused', async () => {
    const before = [await box.daemon(), await machine.out('stat', '-c', '%Y %i', unit)];
    t.regex(await box.selvedge(...install), /was installed like this already/);
    const other = await machine.run('selvedge', 'install', '--name', 'press-5');
    t.is(other.status, 1);
    t.regex(other.error, /installed with other settings; command: .*--name=press-4.*now .*--name=press-5/);
    t.regex(other.error, /uninstall --keep-workloads/);
    t.deepEqual([await box.daemon(), await machine.out('stat', '-c', '%Y %i', unit)], before);
  });

  const first = await step('a workload runs confined, with names of its own', async () => {
    await writeFile(join(machine.root, 'srv/watch.yaml'), watcher);
    await box.selvedge('apply', '/srv/watch.yaml');
    const { pid } = await box.ready();
    await box.waitFor('its own /etc/hosts', async () => /^1$/m.test(await box.selvedge('logs', box.instance)));
    const status = await machine.out('cat', `/proc/${pid}/status`);
    t.regex(status, /^NoNewPrivs:\t1$/m);
    const dropped = 16n; // CAP_SYS_MODULE, capabilities(7)
    const bounding = BigInt(`0x${/^CapBnd:\t(\w+)$/m.exec(status)?.[1]}`);
    t.is((bounding >> dropped) & 1n, 0n);
    const namespaces = (process: string) => machine.out('readlink', `/proc/${process}/ns/mnt`);
    t.is(await namespaces(await box.daemon()), await namespaces('1'), 'the daemon has no mount namespace of its own');
    return await box.identity(pid);
  });

  const same = async (): Promise<void> => {
    const { pid, restarts } = await box.ready();
    t.deepEqual([await box.identity(pid), restarts], [first, 0]);
    await box.seesItsCertificate();
  };

  await step(
    'the daemon is killed: systemd starts another, which adopts the workload and gives it new files',
    async () => {
      const [daemon, certificate] = [await box.daemon(), await box.seesItsCertificate()];
      await machine.out('systemctl', 'kill', '--kill-whom=main', '--signal=KILL', 'selvedge');
      await box.waitFor('another daemon', async () => !['0', daemon].includes(await box.daemon()));
      await same();
      t.not(await box.seesItsCertificate(), certificate, 'files are replaced when it is adopted');
      t.is(await box.property('NRestarts'), '1');
    },
  );

  await step(
    'systemctl restart: the same workload, adopted again; what is replaced afterwards is seen too',
    async () => {
      const [daemon, certificate] = [await box.daemon(), await box.seesItsCertificate()];
      await machine.out('systemctl', 'restart', 'selvedge');
      t.not(await box.daemon(), daemon);
      await same();
      await box.waitFor('new files', async () => (await box.seesItsCertificate()) !== certificate);
    },
  );

  await step('down ends the daemon for good; start brings it back', async () => {
    await box.selvedge('down');
    await box.waitFor('the unit to be inactive', async () => (await box.property('ActiveState')) === 'inactive');
    t.is(await box.identity(Number.parseInt(first, 10)), first);
    await machine.out('systemctl', 'start', 'selvedge');
    await same();
  });

  await step('a daemon that cannot start is tried again at growing intervals; once it can it does', async () => {
    await machine.out('systemctl', 'stop', 'selvedge');
    // Its data folder is in use.
    await box.selvedge('up', '--data', '/var/lib/selvedge', '--detach');
    await machine.out('systemctl', 'start', 'selvedge');
    const said = () => machine.run('journalctl', '--unit=selvedge', '--no-pager', '--output=cat', '--lines=200');
    await box.waitFor('the fourth start', async () => /last 3 starts .* waits 4 s/.test((await said()).out));
    t.regex((await said()).out, /a daemon already runs on \/var\/lib\/selvedge[\s\S]*last 2 starts .* waits 2 s/);
    t.regex(await machine.out('cat', '/run/selvedge-starts/starts'), /^[4-9]$/);
    await box.selvedge('down');
    await machine.out('rm', '/var/lib/selvedge/selvedge.log');
    const tried = Number(await box.property('NRestarts'));
    await same();
    t.true(Number(await box.property('NRestarts')) <= tried + 1, 'the next start is the one that works');
    await machine.out('systemctl', 'restart', 'selvedge');
    // systemd does not wait for what the program does.
    await box.waitFor('the count of starts: one that was ended on purpose is none of a row', async () => {
      const { out } = await machine.run('cat', '/run/selvedge-starts/starts');
      return out.trim() === '1';
    });
    await same();
  });

  await step('an upgrade restarts no workload', async () => {
    await installGlobally(await pack(folder, nextVersion), prefix);
    t.is(await box.selvedge('--version'), nextVersion);
    await same();
    await machine.out('systemctl', 'restart', 'selvedge');
    await same();
    t.regex(await box.selvedge(...install), /was installed like this already/);
  });

  await step('a reboot starts the daemon, and it the workload', async () => {
    const boot = await machine.out('cat', '/proc/sys/kernel/random/boot_id');
    await machine.reboot();
    t.not(await machine.out('cat', '/proc/sys/kernel/random/boot_id'), boot);
    const { pid } = await box.ready();
    t.is((await box.status()).fabric.id, fabricId);
    const after = await box.identity(pid);
    t.not(after, first);
    await box.seesItsCertificate();
    await machine.out('systemctl', 'restart', 'selvedge');
    t.is(await box.identity((await box.ready()).pid), after);
  });

  await step('uninstall ends what runs and keeps the data; --keep-workloads ends nothing', async () => {
    const { pid } = await box.ready();
    t.regex(await box.selvedge('uninstall', '--keep-workloads'), /What it ran goes on/);
    t.is((await machine.run('test', '-e', unit)).status, 1);
    await box.identity(pid);
    t.regex(await box.selvedge('install', '--name', 'press-4'), /This box is press-4 of the fabric plant\./);
    t.is((await box.ready()).pid, pid);
    t.is((await box.status()).fabric.id, fabricId);
    // Ended by whoever is there to do it: a daemon that is down is started for that.
    await machine.out('systemctl', 'stop', 'selvedge');
    t.regex(
      await box.selvedge('uninstall'),
      /selvedge\.service is removed\.\nThe data stays in \/var\/lib\/selvedge\./,
    );
    t.is(await box.processes(), '');
    t.is(await box.leftovers(), '/var/lib/selvedge');
  });

  await step('a daemon that does not come up is shown with what it said, and its unit is taken back', async () => {
    await machine.out('mkdir', '-m', '700', '/var/lib/broken');
    await writeFile(join(machine.root, 'var/lib/broken/identity.pem'), 'not a key');
    const { status, error } = await machine.run('selvedge', 'install', '--data', '/var/lib/broken');
    t.is(status, 1);
    t.regex(error, /does not come up; it said:[\s\S]*identity\.pem/);
    t.is(await box.leftovers(), '/var/lib/selvedge');
    t.is(await box.processes(), '');
  });

  await step('a box joins by a token that is in no unit and no argument, as an ordinary user', async () => {
    await machine.out('useradd', '--system', '--shell', '/usr/sbin/nologin', 'edge');
    const controller = ['--data', '/srv/controller'];
    await box.selvedge('up', ...controller, '--found', '--port', '7600', '--detach');
    const made = await box.selvedge('token', 'create', ...controller, '-o', 'json');
    const { token } = JSON.parse(made) as { token: string };
    await writeFile(join(machine.root, 'srv/token'), token, { mode: 0o600 });
    const data = ['--data', '/var/lib/edge/selvedge'];
    await machine.out('mkdir', '-p', '/var/lib/edge');
    const joining = [...data, '--user', 'edge', '--name', 'edge', '--token-file', '/srv/token'];
    t.regex(await box.selvedge('install', ...joining, '--join', '127.0.0.1:7600'), /This box is edge of the fabric/);
    const daemon = await box.daemon();
    t.regex(await machine.out('cat', `/proc/${daemon}/status`), /^CapBnd:\t0+$/m);
    t.is(await machine.out('stat', '-c', '%U', `/proc/${daemon}`), 'edge');
    const secret = token.slice(-20);
    t.false((await readFile(join(machine.root, unit), 'utf8')).includes(secret));
    t.false((await machine.out('cat', `/proc/${daemon}/cmdline`)).includes(secret));
    const waiting = join(machine.root, 'etc/selvedge');
    await t.throwsAsync(stat(waiting), { code: 'ENOENT' }, 'it is used up, and gone');
    await box.selvedge('uninstall', '--purge');
    await box.selvedge('down', ...controller, '--workloads');
  });

  await step('uninstall --purge leaves nothing', async () => {
    await box.selvedge('install', '--name', 'press-4');
    await box.ready();
    t.regex(await box.selvedge('uninstall', '--purge'), /\/var\/lib\/selvedge is removed\./);
    t.is(await box.leftovers(), '');
    t.is(await box.processes(), '');
    t.regex(await box.selvedge('uninstall'), /is not installed/);
    t.is(await machine.out('systemctl', 'list-units', '--all', '--no-legend', 'selvedge*'), '');
  });
});
