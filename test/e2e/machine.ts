// A box of its own for a test: Debian with a real systemd as its process 1, booted in a container. Made by systemd.test.ts. It has its
// own file system, processes and (empty) network; nothing of the host is mounted into it.

import { execFile, spawn } from 'node:child_process';
import { access, chmod, cp, mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../eventually.ts';

const execute = promisify(execFile);

/** Booting, on two busy cores. */
const bootMs = 90_000;
const powerOffMs = 30_000;
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface Ran {
  status: number;
  out: string;
  error: string;
}

export interface Machine {
  /** Its file system, seen from outside. */
  readonly root: string;
  /** Runs a command inside, with nothing of this process's environment. */
  run(command: string, ...args: string[]): Promise<Ran>;
  /** The same, for what must succeed; resolves with stdout without white space around it. */
  out(command: string, ...args: string[]): Promise<string>;
  /** Ends it as its power button would, and boots it again. */
  reboot(): Promise<void>;
  /** Powers it off; nothing of it runs then. Idempotent. */
  stop(): Promise<void>;
  /** What it printed while it booted. */
  console(): Promise<string>;
}

/** Why there can be no machine here; undefined when there can. */
export async function whyNoMachine(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root can boot a container';
  for (const tool of ['debootstrap', 'systemd-nspawn', 'nsenter']) {
    const found = await execute('sh', ['-c', `command -v ${tool}`]).then(
      () => true,
      () => false,
    );
    if (!found) return `${tool} is not installed`;
  }
  return undefined;
}

/** A small Debian with systemd, made once (a minute, 250 MB) and kept for later runs. */
async function baseSystem(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'selvedge-test');
  const base = join(cache, 'debian-with-systemd');
  if (await isThere(base)) return base;
  await mkdir(cache, { recursive: true, mode: 0o700 });
  const making = await mkdtemp(join(cache, 'making-'));
  try {
    const packages = '--include=systemd,systemd-sysv,dbus';
    await execute('debootstrap', ['--variant=minbase', packages, await suite(), making], {
      maxBuffer: 16 * 1024 * 1024,
    });
    await rm(join(making, 'var/cache/apt/archives'), { recursive: true, force: true });
    await rename(making, base);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    // Another run may have been first.
    if (!(await isThere(base))) throw error;
  }
  return base;
}

/** The same release as this box, whose archive its key ring can check. */
async function suite(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8');
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(text)?.[1];
  return /^ID=debian$/m.test(text) && name !== undefined ? name : 'stable';
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** A copy of the base below `folder`, with Node.js and what `prepare` puts there; not booted yet. */
export async function makeRoot(folder: string): Promise<string> {
  const root = join(folder, 'root');
  await execute('cp', ['-a', '--reflink=auto', await baseSystem(), root]);
  // As mkdtemp made it, nobody but root would find anything in it.
  await chmod(root, 0o755);
  await cp(process.execPath, join(root, 'usr/local/bin/node'));
  await writeFile(join(root, 'etc/hostname'), 'box1\n');
  await writeFile(join(root, 'etc/hosts'), '127.0.0.1 localhost box1\n');
  // Empty: made anew at the first boot.
  await writeFile(join(root, 'etc/machine-id'), '');
  return root;
}

/** Boots the file system; whoever calls it stops it. */
export async function bootMachine(root: string): Promise<Machine> {
  const consoleFile = `${root}.console`;
  let leader = 0;
  let ended: Promise<void> | undefined;
  let kill = (_signal: NodeJS.Signals): void => undefined;

  async function boot(): Promise<void> {
    const log = await open(consoleFile, 'a');
    const options = ['--boot', '--register=no', '--keep-unit', '--private-network', '--quiet', '--link-journal=no'];
    const machine = `--machine=selvedge-${basename(join(root, '..')).replace(/[^a-zA-Z0-9]/g, '')}`;
    const child = spawn('systemd-nspawn', [...options, '--console=pipe', machine, `--directory=${root}`], {
      stdio: ['ignore', log.fd, log.fd],
    });
    await log.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    child.on('error', () => resolve());
    child.on('exit', () => resolve());
    ended = promise;
    kill = (signal) => void child.kill(signal);
    const children = `/proc/${child.pid}/task/${child.pid}/children`;
    await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(`systemd-nspawn ended: ${await readFile(consoleFile, 'utf8')}`);
        for (const pid of (await readFile(children, 'utf8')).split(' ').filter((text) => text !== '')) {
          if ((await readFile(`/proc/${pid}/comm`, 'utf8')) === 'systemd\n') leader = Number(pid);
        }
        const { out } = await run('systemctl', 'is-system-running');
        return /^(running|degraded)$/m.test(out);
      },
      { deadlineMs: bootMs, what: 'the machine to boot' },
    );
  }

  async function run(command: string, ...args: string[]): Promise<Ran> {
    const inside = ['-t', String(leader), '-m', '-u', '-i', '-n', '-p', '--'];
    const clean = ['/usr/bin/env', '-i', `PATH=${searchPath}`, 'HOME=/root', 'LANG=C.UTF-8', command, ...args];
    try {
      const { stdout, stderr } = await execute('nsenter', [...inside, ...clean], {
        timeout: 120_000,
        encoding: 'utf8',
      });
      return { status: 0, out: stdout, error: stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
      return { status: typeof code === 'number' ? code : -1, out: stdout, error: stderr };
    }
  }

  async function stop(): Promise<void> {
    if (ended === undefined) return;
    // systemd-nspawn hands it on to process 1 as the order to power off.
    kill('SIGTERM');
    const late = setTimeout(() => kill('SIGKILL'), powerOffMs);
    await ended;
    clearTimeout(late);
    ended = undefined;
    leader = 0;
  }

  try {
    await boot();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    root,
    run,
    async out(command, ...args) {
      const { status, out, error } = await run(command, ...args);
      if (status !== 0) throw new Error(`${command} ${args.join(' ')}: status ${status}\n${out}\n${error}`);
      return out.trim();
    },
    async reboot() {
      await stop();
      await boot();
    },
    stop,
    console: () => readFile(consoleFile, 'utf8'),
  };
}
