// A box of a test's own for programs with networks of their own: a namespace with a LAN, a box beside it that leads on, and a second network
// that it must not connect with the first. Used by the process-network tests.

import { execFile, execFileSync, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import type { InstanceView } from '../../control/views.ts';
import { createNamespaces } from '../mesh/namespaces.ts';
import { selvedge } from './command.ts';
import { type Daemon, program, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';

/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

/** Says who asked. */
export const server = `require("node:http").createServer((request, response) => response.end(request.socket.remoteAddress))
  .listen(process.env.PORT, process.env.HOST)`;
/** Answers every question for an address with 192.0.2.1. */
export const resolver = `const socket = require("node:dgram").createSocket("udp4").bind(53, "10.9.0.2");
  socket.on("message", (query, from) => {
    const answer = Buffer.concat([query.subarray(0, query.indexOf(0, 12) + 5), Buffer.from("c00c000100010000000a0004c0000201", "hex")]);
    answer.set([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 2);
    socket.send(answer, from.port, from.address);
  })`;

/** The same, and over UDP what it was sent with who sent it. */
const echoing = `${server};
  const echo = require("node:dgram").createSocket("udp4").bind(process.env.PORT_ECHO, process.env.HOST);
  echo.on("message", (text, { port, address }) => echo.send(text + " from " + address, port, address))`;

export const manifest = (more = ''): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: apart }
spec:
  microservices:
    - name: server
      engine: process
      user: nobody
      command: [node, -e, ${JSON.stringify(echoing)}]
      ports: [{ name: http, port: 80 }, { name: echo, port: 7, protocol: udp }]
      probes: { readiness: { http: { port: http, path: / }, periodMs: 50, timeoutMs: 30000 } }
    - name: inside
      engine: process
      user: nobody
      command: [sleep, '100000']${more}
      probes: { readiness: { exec: { command: [grep, -q, eth0, /proc/net/dev] }, periodMs: 500, timeoutMs: 30000 } }
`;

/** One that hides from its end: a session of its own, and no parent of ours. */
export const hider = `
    - name: hider
      engine: process
      command: [sh, -c, 'setsid -f sleep 99999; exec sleep 100000']`;

const linkResolvers =
  'mkdir -p "$1" && cp -a /etc/. "$1" && mount --bind "$1" /etc && ln -sf "$2" /etc/resolv.conf && shift 2 && exec "$@"';
/** A package of npm's has a command nft, too, which is first in the PATH of its scripts. */
const systemPath = '/usr/sbin:/usr/bin:/sbin:/bin';
const hide = (program: string): string => `mount --bind /dev/null "$(PATH=${systemPath}; command -v ${program})" && `;
const hidden = { iptables: '', nft: hide('iptables-restore'), none: hide('iptables-restore') + hide('nft') };

/** What somebody has of rules: without counters, and without tables in which there are none. */
const rulesOf = (saved: string): string[] => saved.split('\n').filter((line) => /^(-A|:\S+ (?!ACCEPT))/.test(line));

export async function createPlace(t: ExecutionContext, filter: keyof typeof hidden = 'iptables') {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-network-'));
  // Programs run as nobody, who must get to their own folders.
  await chmod(folder, 0o755);
  const data = join(folder, 'data');
  const daemons: Daemon[] = [];
  const others: (() => void)[] = [];
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    for (const daemon of daemons.filter(({ end }) => end === undefined)) {
      await daemon.client.down(true).catch(() => undefined);
      const late = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
      await daemon.ended;
      clearTimeout(late);
    }
    for (const end of others) end();
    for (const pid of await processesOf(folder)) process.kill(pid, 'SIGKILL');
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const resolvers = await mkdtemp('/run/selvedge-network-');
  t.teardown(() => rm(resolvers, { recursive: true, force: true }));
  const [lan, second] = [namespaces.lan(), namespaces.lan()];
  const [box, other, far] = [namespaces.box(), namespaces.box(), namespaces.box()];
  lan.attach(box, 'eth0', ['10.9.0.1/24']);
  lan.attach(other, 'eth0', ['10.9.0.2/24']);
  second.attach(box, 'eth1', ['10.8.0.1/24']);
  second.attach(far, 'eth0', ['10.8.0.2/24']);
  namespaces.ip(box, 'route', 'add', 'default', 'via', '10.9.0.2');
  // The internet.
  namespaces.ip(other, 'addr', 'add', '192.0.2.1/32', 'dev', 'lo');
  namespaces.ip(other, 'route', 'add', '10.8.0.0/24', 'via', '10.9.0.1');
  namespaces.ip(other, 'route', 'add', '198.18.0.0/15', 'via', '10.9.0.1');
  namespaces.ip(far, 'route', 'add', 'default', 'via', '10.8.0.1');
  const inside = (name: string, ...command: string[]): string =>
    execFileSync('ip', ['netns', 'exec', name, ...command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: systemPath },
    });
  // A careful box: what it was told of redirects must hold afterwards too.
  inside(box, 'sh', '-c', 'cd /proc/sys/net/ipv4 && echo 0 > ip_forward && echo 0 > conf/all/accept_redirects');
  const resolvConf = join(resolvers, 'resolv.conf');
  await writeFile(resolvConf, 'nameserver 10.9.0.2\n');
  // As with systemd-resolved: /etc/resolv.conf leads to a file that is replaced when networks change.
  const script = `${hidden[filter]}${linkResolvers}`;
  const enter = ['sh', '-c', script, 'sh', join(folder, 'etc'), resolvConf];

  function run(name: string, script: string, env: Record<string, string> = {}): void {
    const child = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', script], {
      stdio: 'ignore',
      env: { ...process.env, ...env },
    });
    others.push(() => void child.kill('SIGKILL'));
  }

  async function running(microservice: string): Promise<InstanceView> {
    return waitFor(`${microservice} to be ready`, async () => {
      const { nodes } = await (daemons.at(-1) as Daemon).client.status();
      const all = nodes.flatMap(({ instances }) => instances);
      return all.find((one) => one.microservice === microservice && one.ready && one.pid !== undefined);
    });
  }

  /** What a script prints in the networks of a program; a command line that the node would run there is a process more. */
  async function ask(instance: string, script: string): Promise<string> {
    const { pid } = await running(instance);
    const words = [
      'netns',
      'exec',
      box,
      'nsenter',
      '--net',
      '--mount',
      `--target=${pid}`,
      process.execPath,
      '-e',
      script,
    ];
    return (await promisify(execFile)('ip', words, { encoding: 'utf8' })).stdout.trim();
  }

  return {
    ...{ folder, data, box, other, far, inside, run, ask, running, resolvConf },
    daemon: () => daemons.at(-1) as Daemon,
    async up(options: readonly string[] = []): Promise<Daemon> {
      const daemon = startDaemon({ name: 'box', dataFolder: data, namespace: box, enter, options });
      daemons.push(daemon);
      await daemon.answers();
      return daemon;
    },
    async apply(text: string): Promise<void> {
      const file = join(folder, 'apply.yaml');
      await writeFile(file, text);
      const { status, error } = await selvedge(data, 'apply', file);
      if (status !== 0) throw new Error(error);
    },
    /** All that a node could leave on the box. */
    standing: () => ({
      links: inside(box, 'ip', '-o', 'link', 'show').match(/(?<=^\d+: )[^:@]+/gm),
      routes: inside(box, 'ip', '-4', 'route', 'show', 'table', 'all').split('\n'),
      rules: inside(box, 'ip', 'rule', 'show').split('\n'),
      iptables: rulesOf(inside(box, 'iptables-save')),
      nft: inside(box, 'nft', 'list', 'ruleset').match(/selvedge.*/gi) ?? [],
      settings: ['ip_forward', 'conf/all/accept_redirects', 'conf/all/rp_filter', 'conf/eth0/forwarding'].map(
        (name) => [name, inside(box, 'cat', `/proc/sys/net/ipv4/${name}`).trim()],
      ),
    }),
    cables: (): number => inside(box, 'ip', '-o', 'link', 'show', 'type', 'veth').match(/: sv-/g)?.length ?? 0,
    /** One of its findings. */
    async doctor(id: string): Promise<string | undefined> {
      const words = [process.execPath, program, 'doctor', '--data', data, '-o', 'json'];
      const said = inside(box, 'sh', '-c', '"$@" || true', 'sh', ...enter, ...words);
      const { checks } = JSON.parse(said) as { checks: { id: string; status: string; message: string }[] };
      const found = checks.find((one) => one.id === id);
      return found && `${found.status}: ${found.message}`;
    },
    /** What each of these answers, or why nothing. */
    async fetched(instance: string, ...urls: string[]): Promise<string[]> {
      const script = `Promise.all(${JSON.stringify(urls)}.map((url) => fetch(url, { signal: AbortSignal.timeout(20000) })
        .then((answer) => answer.text(), (error) => error.cause?.code ?? error.name))).then((all) => console.log(JSON.stringify(all)))`;
      return JSON.parse(await ask(instance, script)) as string[];
    },
    /** What the resolver says of each. */
    async resolved(instance: string, ...names: string[]): Promise<string[]> {
      const script = `Promise.all(${JSON.stringify(names)}.map((name) => require("dns").promises.resolve4(name)
        .then(([address]) => address, (error) => error.code))).then((all) => console.log(JSON.stringify(all)))`;
      return JSON.parse(await ask(instance, script)) as string[];
    },
  };
}
