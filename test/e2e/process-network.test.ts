// Programs with networks of their own, under a real daemon as root on a box of the test's own: a namespace with a LAN, a box beside it that
// leads on, and a second network that the box must not connect with the first.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import type { InstanceView } from '../../control/views.ts';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();
/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

/** Says who asked. */
const server = `require("node:http").createServer((request, response) => response.end(request.socket.remoteAddress))
  .listen(process.env.PORT, process.env.HOST)`;
/** Answers every question for an address with 192.0.2.1. */
const resolver = `const socket = require("node:dgram").createSocket("udp4").bind(53, "10.9.0.2");
  socket.on("message", (query, from) => {
    const answer = Buffer.concat([query.subarray(0, query.indexOf(0, 12) + 5), Buffer.from("c00c000100010000000a0004c0000201", "hex")]);
    answer.set([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 2);
    socket.send(answer, from.port, from.address);
  })`;

const manifest = (more = ''): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: apart }
spec:
  microservices:
    - name: server
      engine: process
      command: [node, -e, ${JSON.stringify(server)}]
      ports: [{ name: http, port: 80 }]
      probes: { readiness: { http: { port: http, path: / }, periodMs: 50, timeoutMs: 30000 } }
    - name: inside
      engine: process
      command: [sleep, '100000']${more}
      probes: { readiness: { exec: { command: [grep, -q, eth0, /proc/net/dev] }, periodMs: 500, timeoutMs: 30000 } }
`;

/** One that hides from its end: a session of its own, and no parent of ours. */
const hider = `
    - name: hider
      engine: process
      command: [sh, -c, 'setsid -f sleep 99999; exec sleep 100000']`;

const linkResolvers =
  'mkdir -p "$1" && cp -a /etc/. "$1" && mount --bind "$1" /etc && ln -sf "$2" /etc/resolv.conf && shift 2 && exec "$@"';
const hideIptables = 'mount --bind /dev/null "$(command -v iptables-restore)" && ';

async function createPlace(t: ExecutionContext, filter: 'iptables' | 'nft' = 'iptables') {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-network-'));
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
    execFileSync('ip', ['netns', 'exec', name, ...command], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  inside(box, 'sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward');
  const resolvConf = join(resolvers, 'resolv.conf');
  await writeFile(resolvConf, 'nameserver 10.9.0.2\n');
  // As with systemd-resolved: /etc/resolv.conf leads to a file that is replaced when networks change.
  const script = `${filter === 'nft' ? hideIptables : ''}${linkResolvers}`;
  const enter = ['sh', '-c', script, 'sh', join(folder, 'etc'), resolvConf];

  function run(name: string, script: string, env: Record<string, string> = {}): void {
    const child = spawn('ip', ['netns', 'exec', name, process.execPath, '-e', script], {
      stdio: 'ignore',
      env: { ...process.env, ...env },
    });
    others.push(() => void child.kill('SIGKILL'));
  }

  /** What a script inside prints. */
  async function ask(instance: string, script: string): Promise<string> {
    const { out, error } = await selvedge(data, 'exec', instance, '--', 'node', '-e', script);
    return out.trim() || error.trim();
  }

  return {
    ...{ folder, data, box, other, far, inside, run, ask, resolvConf },
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
    async running(microservice: string): Promise<InstanceView> {
      return waitFor(`${microservice} to be ready`, async () => {
        const { nodes } = await (daemons.at(-1) as Daemon).client.status();
        const all = nodes.flatMap(({ instances }) => instances);
        return all.find((one) => one.microservice === microservice && one.ready && one.pid !== undefined);
      });
    },
    /** What there is of ours on the box. */
    left: (): string[] =>
      [
        inside(box, 'ip', '-o', 'link', 'show', 'type', 'veth')
          .split('\n')
          .filter((line) => line.includes(' sv-')),
        inside(box, 'ip', 'route', 'show', 'table', 'all')
          .split('\n')
          .filter((line) => /proto 20[12]| sv-/.test(line)),
        ...[['iptables-save'], ['nft', 'list', 'ruleset']].map((command) =>
          inside(box, ...command)
            .split('\n')
            .filter((line) => /selvedge/i.test(line)),
        ),
        inside(box, 'cat', '/proc/sys/net/ipv4/ip_forward').trim() === '0' ? [] : ['the box forwards'],
      ].flat(),
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

const outside = test.macro(async (t, filter: 'iptables' | 'nft') => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t, filter);
  const { ask, fetched, resolved, box, other, far, run, inside } = place;
  await place.up(['--found', '--fabric', 'apart']);
  await place.apply(manifest());
  const address = await step('two programs run, each at an address of its own', async () => {
    const { addresses = [] } = await place.running('server');
    const [endpoint] = addresses;
    t.regex(endpoint?.host ?? '', /^198\.1[89]\./);
    t.is(endpoint?.hostPort, 80, 'its own port: nobody else is there');
    await place.running('inside');
    return endpoint?.host ?? '';
  });
  const own = await ask('inside', 'console.log(os.networkInterfaces().eth0[0].address)');
  const called = await ask('inside', 'require("dns").lookup("server", (error, address) => console.log(address))');

  await step('services by each of their names, with nothing configured', async () => {
    const all = ['server', 'server.apart', 'server.apart.default'];
    const answers = await fetched('inside', ...all.map((name) => `http://${name}/`));
    for (const answer of answers) t.regex(answer, /^198\.1[89]\./);
    t.deepEqual(
      await resolved('inside', ...all),
      [called, called, called],
      'the resolver and the hosts file say the same',
    );
  });

  await step('a name that is none is said to be none; others are asked of the resolvers of the box', async () => {
    run(other, resolver);
    t.deepEqual(await resolved('inside', 'nobody', 'nobody.apart.default'), ['ENOTFOUND', 'ENOTFOUND']);
    await waitFor('a name of elsewhere', async () => (await resolved('inside', 'example.org'))[0] === '192.0.2.1');
  });

  await step('also when the box’s own file of resolvers is another one', async () => {
    const before = await ask('inside', 'console.log(require("dns").getServers()[0])');
    t.regex(before, /^198\.1[89]\./);
    await writeFile(`${place.resolvConf}.next`, 'nameserver 127.0.0.53\n');
    await rename(`${place.resolvConf}.next`, place.resolvConf);
    const { pid } = await place.running('inside');
    const seen = inside(box, 'nsenter', '--mount', `--target=${pid}`, 'cat', '/etc/resolv.conf');
    t.regex(seen, new RegExp(`^nameserver ${before}$`, 'm'));
  });

  await step('the LAN and the internet, as the box', async () => {
    run(other, server, { PORT: '8000', HOST: '0.0.0.0' });
    const [lan, internet] = ['http://10.9.0.2:8000/', 'http://192.0.2.1:8000/'];
    await waitFor('both', async () =>
      (await fetched('inside', lan, internet)).every((answer) => answer === '10.9.0.1'),
    );
    t.pass();
  });

  await step('not what the box listens on, on loopback or on all addresses', async () => {
    run(box, server, { PORT: '7001', HOST: '127.0.0.1' });
    run(box, server, { PORT: '7002', HOST: '0.0.0.0' });
    const isThere = (port: number) =>
      inside(
        box,
        process.execPath,
        '-e',
        `fetch("http://127.0.0.1:${port}/").then(() => console.log("there"), () => undefined)`,
      );
    for (const port of [7001, 7002]) await waitFor(`port ${port}`, () => isThere(port).includes('there'));
    const gateway = (await ask('inside', 'console.log(require("dns").getServers()[0])')) || '';
    const urls = ['127.0.0.1', gateway, called, '10.9.0.1'].flatMap((host) =>
      [7001, 7002].map((port) => `http://${host}:${port}/`),
    );
    const answers = await fetched('inside', ...urls);
    t.deepEqual(
      urls.map((url, index) => [url, answers[index]]),
      urls.map((url) => [url, 'ECONNREFUSED']),
    );
  });

  await step('no other program, past the service network or by its address', async () => {
    t.is((await fetched('inside', `http://${address}/`))[0], 'ECONNREFUSED');
    t.is(
      (await fetched('server', `http://${called}/`))[0],
      'ECONNRESET',
      'the address of a service is its caller’s alone',
    );
  });

  await step('a forged address gets nowhere', async () => {
    const dropped = (): number => {
      const [names = '', values = ''] = inside(box, 'grep', 'TcpExt', '/proc/net/netstat').split('\n');
      return Number(values.split(' ')[names.split(' ').indexOf('IPReversePathFilter')]);
    };
    const before = dropped();
    await selvedge(place.data, 'exec', 'inside', '--', 'ip', 'addr', 'add', `${address}/32`, 'dev', 'eth0');
    const forged = `const socket = require("net").connect({ host: ${JSON.stringify(called)}, port: 80, localAddress: ${JSON.stringify(address)} });
      socket.setTimeout(1500, () => socket.destroy(new Error("silence")));
      socket.on("connect", () => console.log("connected")).on("error", (error) => console.log(error.message)).on("close", () => process.exit())`;
    t.is(await ask('inside', forged), 'silence');
    t.true(dropped() > before);
    await selvedge(place.data, 'exec', 'inside', '--', 'ip', 'addr', 'del', `${address}/32`, 'dev', 'eth0');
  });

  await step('nobody comes in from the LAN, and the box leads from none of its networks to another', async () => {
    t.regex(own, /^198\.1[89]\./);
    const reach = (host: string) => `const socket = require("net").connect(80, ${JSON.stringify(host)});
      socket.setTimeout(1500, () => { console.log("silence"); process.exit(); });
      socket.on("connect", () => { console.log("connected"); process.exit(); }).on("error", (error) => console.log(error.code))`;
    t.is(inside(other, process.execPath, '-e', reach(address)).trim(), 'silence');
    run(far, server, { PORT: '80', HOST: '10.8.0.2' });
    const here = `fetch("http://10.8.0.2/").then(() => console.log("there"), () => undefined)`;
    await waitFor('the other network', () => inside(box, process.execPath, '-e', here).includes('there'));
    t.is((await fetched('inside', 'http://10.8.0.2/'))[0], '10.8.0.1', 'a program reaches both');
    t.is(inside(other, process.execPath, '-e', reach('10.8.0.2')).trim(), 'silence');
  });
});

test.serial(
  'a program has a network of its own: services, names, LAN and internet, and nothing else of the box',
  outside,
  'iptables',
);
test.serial('the same where the box has nft and no iptables', outside, 'nft');

test.serial(
  'a killed daemon leaves programs their networks; the next one takes them over, and leaves nothing when it ends them',
  async (t) => {
    if (missing !== undefined) return skip(t, missing);
    const step = tell(t);
    const place = await createPlace(t);
    const { ask, fetched, box, inside } = place;
    const first = await place.up(['--found', '--fabric', 'apart']);
    await place.apply(manifest() + hider);
    const before = [await place.running('server'), await place.running('inside'), await place.running('hider')];
    const lookUp = 'require("dns").lookup("server", (error, address) => console.log(address))';
    const called = await ask('inside', lookUp);

    await step('the same programs, addresses and names under the next daemon', async () => {
      await first.kill('SIGKILL');
      await place.up();
      for (const one of before) t.is((await place.running(one.microservice)).pid, one.pid);
      t.is(await ask('inside', lookUp), called);
      await waitFor('an answer', async () => /^198\.1[89]\./.test((await fetched('inside', 'http://server/')).join()));
    });

    await step('a rule that somebody removed is made again', async () => {
      const rules = () =>
        inside(box, 'iptables-save')
          .split('\n')
          .filter((line) => line.startsWith('-A INPUT -i sv-'));
      const [rule = ''] = rules();
      t.not(rule, '');
      inside(box, 'iptables', ...rule.replace('-A', '-D').split(' '));
      t.deepEqual(rules(), []);
      await waitFor('the rule', () => rules().length === 1);
    });

    await step('one that ended has its network anew, under the same address', async () => {
      const old = await place.running('server');
      process.kill(old.pid ?? 0, 'SIGKILL');
      const next = await waitFor('it to run again', async () => {
        const now = await place.running('server');
        return now.pid === old.pid ? undefined : now;
      });
      t.is(next.addresses?.[0]?.host, old.addresses?.[0]?.host);
      t.regex((await fetched('inside', 'http://server/')).join(), /^198\.1[89]\./);
    });

    await step('a program that ended while no daemon was there left nothing, and one that hid is cut off', async () => {
      const second = place.daemon();
      await second.kill('SIGKILL');
      for (const { pid = 0 } of [await pidOf('inside'), await pidOf('hider')]) process.kill(pid, 'SIGKILL');
      await waitFor('its end', async () => !(await isAlive(before[1]?.pid ?? 0)));
      const third = await place.up();
      await place.running('inside');
      await place.running('hider');
      await waitFor(
        'one cable for each',
        () => place.left().filter((line) => line.includes('link/ether')).length === 3,
      );
      await third.client.down(true);
      await third.ended;
      await waitFor('nothing to be left', () => place.left().length === 0);
      t.pass();
    });

    function pidOf(microservice: string): { pid?: number | undefined } {
      return before.find((one) => one.microservice === microservice) ?? {};
    }
  },
);
