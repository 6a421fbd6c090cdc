// A Docker Engine of the test's own: a real dockerd with its folders, socket and pid file in a temporary folder, and an image of a
// static busybox. Needs root, dockerd and iptables. Nothing of it is left when it is closed.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../eventually.ts';

const run = promisify(execFile);
/** dockerd takes about 5 s on an idle box. */
const startMs = 60_000;

export const busyboxImage = 'selvedge-test/busybox';

export async function found(command: string): Promise<boolean> {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const there = await Promise.all(
    folders.map((folder) =>
      access(join(folder, command)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return there.includes(true);
}

/** What a test with Docker needs that this box lacks, or undefined. */
export async function dockerMissing(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'a dockerd of its own needs root';
  for (const command of ['dockerd', 'docker', 'iptables', 'busybox', 'ip', 'setpriv']) {
    if (!(await found(command)))
      return `${command} is not installed (apt-get install docker.io iptables busybox-static)`;
  }
  return undefined;
}

export interface Dockerd {
  readonly folder: string;
  readonly socket: string;
  /** `unix://…` */
  readonly host: string;
  /** The docker command on this engine; its standard output. */
  docker(...words: string[]): Promise<string>;
  /** Ends dockerd and leaves containers running or not, as dockerd does; `kill` is SIGKILL. */
  stop(kill?: boolean): Promise<void>;
  /** SIGSTOP and SIGCONT: it keeps its sockets and answers nobody. */
  freeze(): void;
  thaw(): void;
  /** Starts it again on the same folders; with other `data` on the same socket an empty one, or one of before. */
  start(options?: { data?: string }): Promise<void>;
  /** The image of busybox again, where it has none. */
  importImage(): Promise<void>;
  /** Ends everything and removes it. */
  close(): Promise<void>;
}

/**
 * `packetFilter`: with Docker's rules, which keep networks apart. A box has one packet filter, and an engine that starts takes the rules
 * of the others away: only a test about them has them, and tests beside each other stay apart.
 */
export async function startDockerd(options: { liveRestore?: boolean; packetFilter?: boolean } = {}): Promise<Dockerd> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-docker-'));
  const socket = join(folder, 'docker.sock');
  const host = `unix://${socket}`;
  const log = join(folder, 'log');
  const used = new Set<string>();
  let running = 'data';
  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  const docker = async (...words: string[]): Promise<string> => {
    const env = { ...process.env, DOCKER_HOST: host, DOCKER_BUILDKIT: '0' };
    return (await run('docker', words, { env, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })).stdout.trim();
  };

  async function start({ data = 'data' }: { data?: string } = {}): Promise<void> {
    used.add(data);
    running = data;
    await rm(join(folder, 'pid'), { force: true });
    const output = openSync(log, 'a');
    const started = spawn(
      'setpriv',
      [
        // Ends with the test's process, whatever happens to that.
        ...['--pdeathsig', 'TERM', '--', 'dockerd'],
        ...['--data-root', join(folder, data), '--exec-root', join(folder, 'exec'), '--host', host],
        // Networks are made by the node; without the default bridge several dockerd live side by side.
        ...['--pidfile', join(folder, 'pid'), '--bridge', 'none', '--log-level', 'warn'],
        ...(options.liveRestore ? ['--live-restore'] : []),
        `--iptables=${options.packetFilter === true}`,
      ],
      { stdio: ['ignore', output, output] },
    );
    closeSync(output);
    child = started;
    const end = Promise.withResolvers<string>();
    started.once('error', (error) => end.resolve(error.message));
    started.once('exit', (status, signal) => end.resolve(`it ended with ${signal ?? status}`));
    ended = end.promise;
    const failed = end.promise.then(async (why) => {
      throw new Error(`dockerd: ${why}\n${(await readFile(log, 'utf8')).slice(-2_000)}`);
    });
    const answers = eventually(() => docker('version').then(() => true), {
      deadlineMs: startMs,
      everyMs: 200,
      what: 'an answer of dockerd',
    });
    failed.catch(() => undefined);
    await Promise.race([answers, failed]);
  }

  async function stop(kill = false): Promise<void> {
    child?.kill(kill ? 'SIGKILL' : 'SIGTERM');
    await ended;
    child = undefined;
  }

  async function close(): Promise<void> {
    for (const data of [running, ...[...used].filter((one) => one !== running)]) {
      if (child === undefined) await start({ data });
      await clear();
      await stop();
    }
    await releaseMounts(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  async function clear(): Promise<void> {
    const containers = (await docker('ps', '--all', '--quiet')).split('\n').filter((id) => id !== '');
    if (containers.length > 0) await docker('rm', '--force', '--volumes', ...containers);
    const networks = await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.fabric');
    for (const id of networks.split('\n').filter((line) => line !== '')) await docker('network', 'rm', id);
  }

  try {
    await start();
    await importBusybox(folder, docker);
  } catch (error) {
    if (child !== undefined) await stop(true);
    await releaseMounts(folder);
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const freeze = (): void => void child?.kill('SIGSTOP');
  const thaw = (): void => void child?.kill('SIGCONT');
  const importImage = (): Promise<void> => importBusybox(folder, docker);
  return { folder, socket, host, docker, stop, freeze, thaw, start, importImage, close };
}

/** Ranges of service addresses of the nodes that use this engine; each is a local route of the box. */
export async function serviceRoutes(docker: Dockerd['docker']): Promise<string[]> {
  const ids = await docker('network', 'ls', '--quiet', '--filter', 'label=io.selvedge.services');
  const format = ['--format', '{{index .Labels "io.selvedge.services"}}'];
  if (ids === '') return [];
  return (await docker('network', 'inspect', ...format, ...ids.split('\n'))).split('\n');
}

/** A dockerd that was killed leaves mounts of its containers. */
export async function releaseMounts(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8'))
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${folder}/`));
  for (const path of mounts.reverse()) await run('umount', ['--lazy', path]).catch(() => undefined);
}

/** An image with a shell, its tools and the conformance body's workload: no registry is needed. */
export async function importBusybox(folder: string, docker: Dockerd['docker']): Promise<void> {
  const root = join(folder, 'rootfs');
  await mkdir(join(root, 'bin'), { recursive: true });
  await mkdir(join(root, 'tmp'));
  const { stdout: where } = await run('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' });
  await copyFile(where.trim(), join(root, 'bin/busybox'));
  const { stdout: applets } = await run('busybox', ['--list'], { encoding: 'utf8' });
  for (const applet of applets.trim().split('\n')) {
    if (applet !== 'busybox') await symlink('busybox', join(root, 'bin', applet));
  }
  await copyFile(join(import.meta.dirname, 'workload.sh'), join(root, 'workload.sh'));
  const archive = join(folder, 'rootfs.tar');
  await run('tar', ['--create', '--file', archive, '--directory', root, '.']);
  await docker('import', archive, busyboxImage);
  await rm(archive);
  await rm(root, { recursive: true });
}
