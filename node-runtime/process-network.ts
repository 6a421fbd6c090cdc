// A network of its own for one program: a namespace with a cable (veth) to the box, and names from the node's resolver. Called by
// process-engine.ts and its parts. It finds out once what this box allows, in namespaces that it makes for that; the namespace of a
// program lives as long as the program, and with it the cable: nothing of it has to be cleared away. It gives no address.

import { execFile } from 'node:child_process';
import { mkdir, realpath, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { InstanceNetwork } from './engine.ts';
import { NETWORK_CALL_MS, NETWORK_COMMAND_MS } from './limits.ts';
import { findPacketFilter, type PacketFilter } from './packet-filter.ts';
import type { ShimTools } from './process-shim.ts';
import type { findCommand } from './process-tools.ts';

/** What a program was launched with. */
export interface OwnNetwork extends InstanceNetwork {
  /** CIDR: addresses of all programs of the node, and of the services that they call. */
  range: string;
  /** The box's own address there: its resolver, and the way out. */
  gateway: string;
  /** The name of the box's end; another one at each launch. */
  link: string;
  /** Whose that end is, as the kernel keeps it. */
  alias: string;
  /** What of its folder is put over what of the box, so that it asks the node for names; absent where nobody can be asked. */
  resolvers?: string;
  resolversOver?: string;
}

/** What of it the command line needs. */
type Cable = Omit<OwnNetwork, 'range' | 'serviceRange'>;

export interface NetworkTools {
  /** Path of ip(8). */
  ip: string;
  filter: PacketFilter;
  /** Puts a command into a network and a mount namespace of its own; the pid stays the same through the chain. */
  wrap(network: Cable, hostsFile: string | undefined, command: string[]): string[];
  /** Puts a command into the network that a process is in, and a mount namespace of its own. */
  enter(pid: number, network: Cable, hostsFile: string | undefined, command: string[]): string[];
  /** Why a program in such a network does not reach what listens there by TCP; undefined when it does, or nobody knows. */
  refusal(network: Cable, to: { host: string; port: number }): Promise<string | undefined>;
}

/** Why programs share the network of the box. */
export interface NoNetworks {
  reason: string;
}

/** Of the trial; nobody sees it outside of its namespace. */
const trial = { address: '198.18.0.2', gateway: '198.18.0.1', link: 'sv-trial', alias: 'selvedge:trial' };
const trialName = 'selvedge-network-trial';

/** A shell that runs its arguments stays what they come from: some become the last command that they run. */
const stay = '"$@"\nexit\n';

/** Arguments: path of ip, the box's address, then the command. It stands for the box in a network namespace of its own. */
const TRIAL = `
"$1" -batch - <<END || exit
link set dev lo up
route add local $2 dev lo table local
END
shift 2
${stay}`;

export async function detectNetworks(
  folder: string,
  tools: ShimTools,
  find: typeof findCommand,
): Promise<NetworkTools | NoNetworks> {
  if ((process.geteuid?.() ?? 0) !== 0) return { reason: 'selvedge does not run as root' };
  const names = ['ip', 'unshare', 'nsenter', 'mount'] as const;
  const paths = await Promise.all(names.map(find));
  const missing = names.filter((_, index) => paths[index] === undefined);
  if (missing.length > 0) return { reason: `this box has no ${missing.join(', no ')}` };
  const [ip, unshare, nsenter, mount] = paths as [string, string, string, string];

  const filesOf = ({ resolvers = '-', resolversOver = '-' }: Cable, hostsFile = '-') => [
    hostsFile,
    resolvers,
    resolversOver,
  ];
  const wrap: NetworkTools['wrap'] = (network, hostsFile, command) => [
    ...[unshare, '--net', '--mount', '--propagation', 'slave', '--'],
    ...[tools.shell, `${tools.scripts}/network.sh`, ip, nsenter, mount, tools.shell],
    ...[`${tools.scripts}/network-outside.sh`, network.link, network.alias, network.address, network.gateway],
    ...[...filesOf(network, hostsFile), ...command],
  ];
  const enter: NetworkTools['enter'] = (pid, network, hostsFile, command) => [
    ...[nsenter, `--net=/proc/${pid}/ns/net`, '--', unshare, '--mount', '--propagation', 'slave', '--'],
    ...[tools.shell, `${tools.scripts}/network-beside.sh`, mount, ...filesOf(network, hostsFile), ...command],
  ];

  const alone = [unshare, '--net', '--'];
  const [problem, filter] = await Promise.all([
    tryOut(
      join(folder, '.network-trial'),
      (command) => [...alone, ...[tools.shell, '-c', TRIAL, 'selvedge', ip, trial.gateway, ...command]],
      wrap,
    ),
    findPacketFilter({ find, alone }),
  ]);
  if (problem !== undefined) return { reason: problem };
  if ('reason' in filter) return filter;
  const refusal: NetworkTools['refusal'] = (network, { host, port }) =>
    callFrom([tools.shell, '-c', stay, 'sh', ...wrap(network, undefined, callCommand(host, port))]);
  return { ip, filter, wrap, enter, refusal };
}

/** The kernel answers for who listens: how busy the box is does not matter once the call has begun. */
const callCommand = (host: string, port: number): string[] => [
  process.execPath,
  '-e',
  `const end = (what) => { console.log(what); process.exit(); };
   const socket = require("node:net").connect(${port}, ${JSON.stringify(host)}, () => end("answered"));
   socket.on("error", (error) => end("refused: " + error.code));
   socket.setTimeout(${NETWORK_CALL_MS}, () => end("refused: silence"));`,
];

async function callFrom([file = '', ...words]: string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(file, words, { timeout: NETWORK_COMMAND_MS, encoding: 'utf8' });
    return stdout.match(/^refused: (.*)$/m)?.[1];
  } catch (error) {
    const { stderr = '', killed } = error as Error & { stderr?: string; killed?: boolean };
    return killed === true ? undefined : stderr.trim().split('\n')[0]?.slice(0, 200) || undefined;
  }
}

/**
 * Where a program's resolv.conf goes, and under which name. Whoever renames another file over it takes ours away from all namespaces, as
 * systemd-resolved does with the one that /etc/resolv.conf leads to: where that is in a folder of its own, ours goes over the folder.
 */
export async function resolversPlace(
  file = '/etc/resolv.conf',
): Promise<{ over: string; name: string; isFolder: boolean } | undefined> {
  const real = await realpath(file).catch(() => undefined);
  if (real === undefined) return undefined;
  const isFolder = /^\/run\/[^/]+\/./.test(real);
  return { over: isFolder ? dirname(real) : real, name: basename(real), isFolder };
}

async function tryOut(
  folder: string,
  asBox: (command: string[]) => string[],
  wrap: NetworkTools['wrap'],
): Promise<string | undefined> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const hosts = join(folder, 'hosts');
    await writeFile(hosts, `127.0.0.1 ${trialName}\n`);
    const [file, ...rest] = asBox(wrap(trial, hosts, ['cat', '/etc/hosts'])) as [string, ...string[]];
    const { stdout } = await promisify(execFile)(file, rest, { timeout: NETWORK_COMMAND_MS, encoding: 'utf8' });
    return stdout.includes(trialName) ? undefined : 'the kernel refuses to replace /etc/hosts';
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const [line = ''] = (stderr || message).trim().split('\n');
    return `the kernel refuses network namespaces: ${line.slice(0, 200)}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
