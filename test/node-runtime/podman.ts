// A podman service of the test's own, as a second engine that speaks Docker's API: its storage, networks and settings in a temporary
// folder. Needs root, podman and netavark, and docker, the command, to look at it. Nothing of it is left when it is closed.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { eventually } from '../eventually.ts';
import { type Dockerd, dockerMissing, found, importBusybox, releaseMounts } from './dockerd.ts';

const run = promisify(execFile);
const startMs = 30_000;

/** What a test with podman needs that this box lacks, or undefined. */
export async function podmanMissing(): Promise<string | undefined> {
  const missing = await dockerMissing();
  if (missing !== undefined) return missing;
  return (await found('podman')) ? undefined : 'podman is not installed (apt-get install podman netavark)';
}

/**
 * Nothing of the box's own settings, and locks of its own: podman's usual ones are shared by all of a box. Its usual limits are above
 * what root may have in some containers.
 */
const settings = (folder: string): string => `
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
init_path = "/usr/bin/docker-init"
events_logger = "file"
lock_type = "file"
runtime = "runc"
tmp_dir = "${folder}/exec"
volume_path = "${folder}/volumes"
[network]
network_backend = "netavark"
network_config_dir = "${folder}/networks"
`;

/** Containers outlive the service, whose end is that of its API alone. */
export async function startPodman(): Promise<Omit<Dockerd, 'stop' | 'importImage'> & { stop(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-podman-'));
  const socket = join(folder, 'podman.sock');
  const host = `unix://${socket}`;
  const log = join(folder, 'log');
  const env = { ...process.env, CONTAINERS_CONF: join(folder, 'containers.conf') };
  await writeFile(env.CONTAINERS_CONF, settings(folder));
  const places = ['--root', join(folder, 'data'), '--runroot', join(folder, 'run')];
  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();

  const docker = async (...words: string[]): Promise<string> => {
    const asked = { ...process.env, DOCKER_HOST: host, DOCKER_BUILDKIT: '0' };
    return (await run('docker', words, { env: asked, encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 })).stdout.trim();
  };
  const podman = async (...words: string[]): Promise<string> =>
    (await run('podman', [...places, ...words], { env, encoding: 'utf8' })).stdout.trim();

  async function start(): Promise<void> {
    await rm(socket, { force: true });
    const output = openSync(log, 'a');
    const service = [...places, '--storage-driver', 'overlay', 'system', 'service', '--time', '0', host];
    // Ends with the test's process, whatever happens to that.
    const started = spawn('setpriv', ['--pdeathsig', 'TERM', '--', 'podman', ...service], {
      stdio: ['ignore', output, output],
      env,
    });
    closeSync(output);
    child = started;
    const end = Promise.withResolvers<string>();
    started.once('error', (error) => end.resolve(error.message));
    started.once('exit', (status, signal) => end.resolve(`it ended with ${signal ?? status}`));
    ended = end.promise;
    const failed = end.promise.then(async (why) => {
      throw new Error(`podman: ${why}\n${(await readFile(log, 'utf8')).slice(-2_000)}`);
    });
    failed.catch(() => undefined);
    const answers = eventually(() => docker('version').then(() => true), {
      deadlineMs: startMs,
      everyMs: 200,
      what: 'an answer of podman',
    });
    await Promise.race([answers, failed]);
  }

  async function stop(): Promise<void> {
    child?.kill('SIGTERM');
    await ended;
    child = undefined;
  }

  async function close(): Promise<void> {
    await stop();
    await podman('rm', '--all', '--force', '--volumes', '--time', '0');
    await podman('network', 'prune', '--force');
    // Watchers of commands that ended with their container; whatever names this folder belongs to it.
    for (const pid of await processesOf(folder)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself in between.
      }
    }
    await releaseMounts(folder);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  try {
    await start();
    await importBusybox(folder, docker);
  } catch (error) {
    await stop();
    await releaseMounts(folder);
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  const freeze = (): void => void child?.kill('SIGSTOP');
  const thaw = (): void => void child?.kill('SIGCONT');
  return { folder, socket, host, docker, stop, freeze, thaw, start, close };
}
