// Names for one workload: its own /etc/hosts in a mount namespace of its own. Called by process-engine.ts. It finds out once
// what this kernel allows; it never changes the box's own /etc/hosts.

import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Launch } from './engine.ts';
import { DETECTION_MS } from './limits.ts';
import type { ShimTools } from './process-shim.ts';
import type { findCommand } from './process-tools.ts';

const HOSTS = '/etc/hosts';
/** A name that only the trial's hosts file has. */
const TRIAL_NAME = 'selvedge-names-trial';

/** `mount`: as root, a mount namespace. `user`: as an ordinary user, in user namespaces. `none`: environment variables alone. */
export type NamesKind = 'mount' | 'user' | 'none';

export interface Names {
  kind: NamesKind;
  /** Why it is not better; empty for `mount`. */
  reason: string;
  /** Puts a command behind its own hosts file; the pid stays the same through the chain. */
  wrap(hostsFile: string, command: string[]): string[];
}

/**
 * Tries it out with a hosts file under `folder`, which is made and removed. `find` gives the absolute path of a command.
 *
 * As an ordinary user: the first user namespace maps us to root, which the mount needs; the second maps us back, so that the
 * workload sees its own uid, and the exec as that uid leaves no capability. Supplementary groups keep their rights but show
 * as the overflow group, and set-uid programs have no effect inside.
 * Propagation `slave`: what the box mounts later is seen by the workload, our mount is not seen by the box.
 */
export async function detectNames(folder: string, tools: ShimTools, find: typeof findCommand): Promise<Names> {
  const none = (reason: string): Names => ({ kind: 'none', reason, wrap: (_hostsFile, command) => command });
  const [unshare, mount] = await Promise.all([find('unshare'), find('mount')]);
  if (unshare === undefined) return none('unshare (util-linux) is not installed');
  if (mount === undefined) return none('mount is not installed');

  const uid = process.geteuid?.() ?? 0;
  const gid = process.getegid?.() ?? 0;
  const kind: NamesKind = uid === 0 ? 'mount' : 'user';
  const wrap: Names['wrap'] = (hostsFile, command) => {
    const back = uid === 0 ? [] : [unshare, '--user', `--map-user=${uid}`, `--map-group=${gid}`, '--'];
    const outer = uid === 0 ? [] : ['--user', '--map-root-user'];
    const named = [tools.shell, `${tools.scripts}/names.sh`, mount, hostsFile, ...back, ...command];
    return [unshare, ...outer, '--mount', '--propagation', 'slave', '--', ...named];
  };

  const problem = await tryOut(join(folder, '.names-trial'), wrap, uid);
  if (problem !== undefined) return none(problem);
  const reason = kind === 'user' ? 'not root: user namespaces give names, and do not separate hostile workloads' : '';
  return { kind, reason, wrap };
}

async function tryOut(folder: string, wrap: Names['wrap'], uid: number): Promise<string | undefined> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const hostsFile = join(folder, 'hosts');
    await writeFile(hostsFile, `127.0.0.1 ${TRIAL_NAME}\n`);
    const [file, ...rest] = wrap(hostsFile, ['cat', HOSTS, '/proc/self/status']) as [string, ...string[]];
    const { stdout, stderr } = await promisify(execFile)(file, rest, { timeout: DETECTION_MS, encoding: 'utf8' });
    if (!stdout.includes(TRIAL_NAME)) return `the kernel refuses to replace ${HOSTS}: ${firstLine(stderr)}`;
    if (!new RegExp(`^Uid:\\t${uid}\\t${uid}\\t`, 'm').test(stdout))
      return 'the workload would not see its own user id';
    if (uid !== 0 && !/^CapEff:\t0+$/m.test(stdout)) return 'the workload would keep capabilities of its namespace';
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return `the kernel refuses namespaces: ${firstLine(stderr || message)}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0]?.slice(0, 200) ?? '';
}

/** The workload's hosts file: our lines first, since the first line that has a name counts; then the box's own. */
export async function hostsFile(hosts: Launch['hosts']): Promise<string> {
  const ours = hosts.map(({ address, names }) => `${address}\t${names.join(' ')}\n`).join('');
  let own = '';
  try {
    own = await readFile(HOSTS, 'utf8');
  } catch {
    // A box without the file has no names of its own.
  }
  return `# Services of the fabric, by Selvedge\n${ours}# The box's own names\n${own}`;
}
