// Boxes for the documentation's commands: each its own network, host name, processes and data folder on this machine, on LANs
// that a router joins. Called by replay.ts. Commands run as root, as the documentation says. All is gone when the test ends.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { currentVersion, pack } from '../e2e/package.ts';
import { eventually } from '../eventually.ts';
import { createNamespaces, type Lan } from '../mesh/namespaces.ts';
import { checkout } from './pages.ts';

export interface Running {
  readonly child: ChildProcess;
  /** Standard output and standard error, in the order in which they came. */
  printed(): string;
  /** Its exit status, once it has ended; -1 for a signal. */
  readonly ended: Promise<number>;
  /** What Ctrl-C does. */
  interrupt(): void;
}

export interface Box {
  readonly name: string;
  /** Its home folder, seen from outside; commands begin there. */
  readonly home: string;
  /** Its data folder, seen from outside. */
  readonly data: string;
  /** A shell command. */
  start(command: string): Running;
}

export interface Boxes {
  /** All of them live below this. */
  readonly folder: string;
  box(name: string): Box;
}

export interface Installed {
  /** npm's prefix: `bin/selvedge`, `bin/node`, `lib/node_modules/selvedge`. */
  prefix: string;
  remove(): Promise<void>;
}

/** The program as it is published, for all boxes: their network reaches no registry that its one dependency could come from. */
export async function installProgram(): Promise<Installed> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-docs-'));
  const tarball = await pack(folder, await currentVersion());
  // As npm lays it out.
  const place = join(folder, 'lib', 'node_modules', 'selvedge');
  await mkdir(place, { recursive: true });
  await mkdir(join(folder, 'bin'));
  await promisify(execFile)('tar', ['-xzf', tarball, '--strip-components=1', '-C', place]);
  await symlink(join(checkout, 'node_modules'), join(place, 'node_modules'));
  await chmod(join(place, 'bin', 'selvedge.js'), 0o755);
  await symlink(join(place, 'bin', 'selvedge.js'), join(folder, 'bin', 'selvedge'));
  await symlink(process.execPath, join(folder, 'bin', 'node'));
  // The boxes' user is root; what sudo does not let through is not there either.
  const sudo = '#!/bin/sh\nexec env -i "PATH=$PATH" "HOME=$HOME" LANG=C.UTF-8 "$@"\n';
  await writeFile(join(folder, 'bin', 'sudo'), sudo, { mode: 0o755 });
  return { prefix: folder, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** `boxes` has the address of each, such as 192.0.2.1; addresses of one /24 are one LAN. */
export async function makeBoxes(
  t: ExecutionContext,
  { boxes, prefix }: { boxes: Record<string, string>; prefix: string },
): Promise<Boxes> {
  if (checkout.startsWith('/var/lib/'))
    throw new Error('the boxes have a /var/lib of their own: keep the checkout elsewhere');
  // Registered first: what is registered later is undone before.
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-docs-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const namespaces = createNamespaces(t);
  const path = [
    join(prefix, 'bin'),
    '/usr/local/sbin',
    '/usr/local/bin',
    '/usr/sbin',
    '/usr/bin',
    '/sbin',
    '/bin',
  ].join(delimiter);

  const lans = new Map<string, Lan>();
  const networkOf = (address: string): string => address.split('.').slice(0, 3).join('.');
  for (const address of Object.values(boxes)) {
    if (!lans.has(networkOf(address))) lans.set(networkOf(address), namespaces.lan());
  }
  if (lans.size > 1) {
    const router = namespaces.box();
    for (const [index, [network, lan]] of [...lans].entries()) lan.attach(router, `lan${index}`, [`${network}.254/24`]);
    const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
    await ended(spawn('ip', ['netns', 'exec', router, 'sh', '-c', forward], { stdio: 'ignore' }));
  }

  async function makeBox(name: string, address: string): Promise<Box> {
    const network = namespaces.box();
    lans.get(networkOf(address))?.attach(network, 'eth0', [`${address}/24`]);
    if (lans.size > 1) namespaces.ip(network, 'route', 'add', 'default', 'via', `${networkOf(address)}.254`);
    const home = join(folder, name, 'home');
    const state = join(folder, name, 'var-lib');
    await mkdir(home, { recursive: true });
    await mkdir(state);
    const leader = await startFirstProcess(t, { name, network, state });
    const inside = ['-t', leader, '-m', '-u', '-n', '-p', '--', '/usr/bin/env', '-i'];
    const clean = [`PATH=${path}`, `HOME=${home}`, 'LANG=C.UTF-8', 'TERM=dumb', `npm_config_prefix=${prefix}`];
    return {
      name,
      home,
      data: join(state, 'selvedge'),
      start(command) {
        // A group of its own, so that Ctrl-C reaches what the shell started.
        const child = spawn('nsenter', [...inside, ...clean, 'sh', '-c', `cd "$HOME" && ${command}`], {
          stdio: ['ignore', 'pipe', 'pipe'],
          detached: true,
        });
        let text = '';
        for (const stream of [child.stdout, child.stderr]) {
          stream.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
        }
        const interrupt = (): void => {
          if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGINT');
        };
        return { child, printed: () => text, ended: ended(child), interrupt };
      },
    };
  }

  const made = new Map<string, Box>();
  for (const [name, address] of Object.entries(boxes)) made.set(name, await makeBox(name, address));
  return {
    folder,
    box(name) {
      const found = made.get(name);
      if (found === undefined) throw new Error(`there is no box ${name} in this story`);
      return found;
    },
  };
}

/** With all that it printed. */
function ended(child: ChildProcess): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on('error', reject);
  child.on('close', (status) => resolve(status ?? -1));
  return promise;
}

/** The process that holds a box; all others of the box end with it. It dies with the test's process. Resolves with its id. */
async function startFirstProcess(
  t: ExecutionContext,
  { name, network, state }: { name: string; network: string; state: string },
): Promise<string> {
  // It is the parent of what loses its own, and must wait for it. /run is empty: this machine's Docker is not the box's.
  const script = `hostname ${name}; mount --bind ${state} /var/lib; mount -t tmpfs tmpfs /run; sleep infinity & wait`;
  const own = ['--mount', '--uts', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
  const child = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      '--',
      'nsenter',
      `--net=/run/netns/${network}`,
      'unshare',
      ...own,
      'sh',
      '-c',
      `${script}; :`,
    ],
    { stdio: 'ignore' },
  );
  const gone = ended(child);
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  return await eventually(
    async () => {
      const [leader] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).trim().split(' ');
      const mounts = leader ? await readFile(`/proc/${leader}/mounts`, 'utf8') : '';
      return mounts.includes(' /run tmpfs') && / \/var\/lib /.test(mounts) ? leader : undefined;
    },
    { what: `the box ${name}` },
  );
}
