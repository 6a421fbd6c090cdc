// Two networks with two routers between them, in namespaces: what runs on the one side calls the other side, and a neighbour on its own side.
// Made by failover.test.ts and the bench `failover`, which make the router that carries fail and say how long nothing new got through.
//
//   left ─┐               ┌─ right (far)
//         ├── one, two ───┤
//   beside┘               └

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createNamespaces, type Home, type Lan } from '../mesh/namespaces.ts';
import { selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const echo = (name: string, node: string): string => `
    - name: ${name}
      engine: process
      command: [node, ${workload('echo')}]
      ports: [{ name: raw, port: 8080 }]
      placement: { node: ${node} }
      probes: { readiness: { tcp: { port: raw } } }`;

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: ways }
spec:
  microservices:${echo('far', 'right')}${echo('beside', 'beside')}
    - name: prober
      engine: process
      command: [node, ${workload('prober')}]
      placement: { node: left }
      dependsOn: [far, beside]
`;

/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

/** Who is back sooner counts as slow and not as gone, and would be given more time in the next round. */
const awayMs = 4_000;

/** What one router received beside the other says who carries: some dozens of new connections, against signs of life and news. */
const carriedBytesMin = 64 * 1024;
const carriedFactor = 3;

export const failures = ['killed', 'cut', 'frozen'] as const;
/** The process is killed with all its connections reset; its cables are pulled; it is stopped, and its kernel goes on. */
export type Failure = (typeof failures)[number];

export interface RouterBox {
  readonly name: string;
  readonly box: string;
  readonly daemon: Daemon;
}

/** What the prober wrote, each with its time in ms since 1970. */
export interface Beats {
  /** New connections that were answered. */
  ok: { begunAt: number; endedAt: number }[];
  /** Answers on the connections that are held. */
  held: { name: string; at: number }[];
  /** Ends of those. */
  lost: { name: string; at: number }[];
}

export interface TwoWays {
  readonly left: Daemon;
  daemon(name: string): Daemon;
  /** The router through which the caller's node is linked to the far one; undefined while it is not. */
  linkedThrough(): Promise<RouterBox | undefined>;
  /** Resolves with the router that carries the calls, by the bytes that go through it. */
  carrier(): Promise<RouterBox>;
  /** Resolves with the carrier when both ways are up, and new and held connections get answers. */
  settled(): Promise<RouterBox>;
  /** Resolves with the time (ms since 1970) at which it had happened. */
  fail(how: Failure, router: RouterBox): Promise<number>;
  /** Once it has been away for some seconds. */
  mend(how: Failure, router: RouterBox): Promise<void>;
  beats(): Promise<Beats>;
}

export interface TwoWaysOptions {
  home: Home;
  folder: string;
  /** Of the program; the checkout's when left out. */
  script?: string;
  /** Arguments of Node.js for each daemon. */
  nodeOptions?: readonly string[];
}

export async function createTwoWays({ home, folder, script, nodeOptions = [] }: TwoWaysOptions): Promise<TwoWays> {
  // First, so that it is undone last.
  const namespaces = createNamespaces(home);
  const daemons = new Map<string, Daemon>();
  home.teardown(() => Promise.all([...daemons.values()].map(end)).then(() => undefined));
  const [near, far] = [namespaces.lan(), namespaces.lan()];
  const boxes = new Map<string, string>();

  function box(name: string, ...cables: [Lan, string, string][]): string {
    const made = namespaces.box();
    boxes.set(name, made);
    for (const [lan, device, address] of cables) lan.attach(made, device, [`${address}/24`]);
    return made;
  }
  const folderOf = (name: string): string => join(folder, name);
  function up(name: string, options: readonly string[] = [], token?: string): Daemon {
    const daemon = startDaemon({
      ...{ name, dataFolder: folderOf(name), options, namespace: boxes.get(name) ?? '', nodeOptions },
      // As `up --detach` and the systemd unit start a daemon.
      env: { MALLOC_ARENA_MAX: '1' },
      ...(token !== undefined && { token }),
      ...(script !== undefined && { script }),
    });
    daemons.set(name, daemon);
    return daemon;
  }
  const daemonOf = (name: string): Daemon => daemons.get(name) as Daemon;

  box('one', [near, 'eth0', '10.1.0.253'], [far, 'eth1', '10.2.0.253']);
  box('two', [near, 'eth0', '10.1.0.254'], [far, 'eth1', '10.2.0.254']);
  box('left', [near, 'eth0', '10.1.0.1']);
  box('beside', [near, 'eth0', '10.1.0.2']);
  box('right', [far, 'eth0', '10.2.0.1']);
  // As behind a gateway that is silent about what it does not know: dials to the other network are not refused, they hang.
  for (const name of ['left', 'beside', 'right'])
    namespaces.ip(boxes.get(name) ?? '', 'route', 'add', 'default', 'dev', 'eth0');

  const one = up('one', ['--found', '--fabric', 'ways']);
  await one.answers();
  for (const [name, router] of [
    ['two', 'interior'],
    ['left', 'edge'],
    ['beside', 'edge'],
    ['right', 'edge'],
  ] as const) {
    const { token } = await one.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router });
    await up(name, [], token).event('linked');
  }
  const file = join(folder, 'ways.yaml');
  await writeFile(file, manifest);
  const { status, error } = await selvedge(folderOf('one'), 'apply', file);
  if (status !== 0) throw new Error(error);

  const routers = ['one', 'two'].map(
    (name): RouterBox => ({
      ...{ name, box: boxes.get(name) ?? '' },
      get daemon() {
        return daemonOf(name);
      },
    }),
  );

  /** By the names of the nodes at the other ends. */
  async function linksOf(name: string): Promise<Map<string, string | undefined>> {
    const { links } = await daemonOf(name).client.topology();
    return new Map(links.flatMap((link) => link.nodes.map((node) => [node, link.through])));
  }

  let lastFailedAt = 0;

  async function linkedThrough(): Promise<RouterBox | undefined> {
    const through = (await linksOf('left')).get('right');
    return routers.find(({ name }) => name === through);
  }

  /** Calls and links may have gone different ways, and links alone are quiet. */
  async function carrier(): Promise<RouterBox> {
    const received = () => routers.map((router) => namespaces.receivedBytes(router.box, 'eth1'));
    let before = received();
    return waitFor('one router to carry more than the other', () => {
      const now = received();
      const [one = 0, two = 0] = now.map((bytes, index) => bytes - (before[index] ?? 0));
      if (Math.max(one, two) < carriedBytesMin) return undefined;
      before = now;
      if (Math.max(one, two) < carriedFactor * Math.min(one, two)) return undefined;
      return routers[one > two ? 0 : 1];
    });
  }

  async function beats(): Promise<Beats> {
    const path = join(folderOf('left'), 'instances', 'default.ways.prober.0', 'beats');
    const lines = (await readFile(path, 'utf8')).split('\n').slice(0, -1);
    const words = lines.map((line) => line.split(' '));
    const named = (kind: string) =>
      words.flatMap(([what, name = '', , at]) => (what === kind ? [{ name, at: Number(at) }] : []));
    return {
      ok: words.flatMap(([what, begunAt, endedAt]) =>
        what === 'ok' ? [{ begunAt: Number(begunAt), endedAt: Number(endedAt) }] : [],
      ),
      ...{ held: named('held'), lost: named('lost') },
    };
  }

  async function settled(): Promise<RouterBox> {
    await waitFor('both ways to be up', async () => {
      for (const name of ['left', 'right']) {
        const links = await linksOf(name);
        for (const router of ['one', 'two'])
          if (!links.has(router) || links.get(router) !== undefined)
            throw new Error(`${name} has no link to ${router}`);
      }
      return true;
    });
    const since = Date.now();
    await waitFor('new and held connections to get answers, and a link through somebody', async () => {
      const { ok, held } = await beats();
      const answered = (name: string): boolean => held.some((beat) => beat.name === name && beat.at > since);
      const flows = ok.filter(({ begunAt }) => begunAt > since).length > 10 && answered('far') && answered('beside');
      return flows && (await linkedThrough()) !== undefined;
    });
    return carrier();
  }

  return {
    get left() {
      return daemonOf('left');
    },
    daemon: daemonOf,
    linkedThrough,
    carrier,
    settled,
    beats,
    async fail(how, { name, box: where, daemon }) {
      if (how === 'frozen') process.kill(daemon.pid, 'SIGSTOP');
      if (how === 'killed') void daemon.kill('SIGKILL');
      if (how === 'cut') for (const lan of [near, far]) lan.plug(where, false);
      home.log(`${name} was ${how}`);
      lastFailedAt = Date.now();
      return lastFailedAt;
    },
    async mend(how, { name, box: where, daemon }) {
      // Who was killed has closed its connections, and is new when it comes back.
      if (how !== 'killed') await waitFor('it to be away for long enough', () => Date.now() > lastFailedAt + awayMs);
      if (how === 'frozen') process.kill(daemon.pid, 'SIGCONT');
      if (how === 'cut') for (const lan of [near, far]) lan.plug(where, true);
      if (how !== 'killed') return;
      await daemon.ended;
      await up(name).answers();
    },
  };

  async function end(daemon: Daemon): Promise<void> {
    if (daemon.end !== undefined) return;
    process.kill(daemon.pid, 'SIGCONT');
    await daemon.client.down(true).catch(() => undefined);
    const late = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
    await daemon.ended;
    clearTimeout(late);
  }
}

/** From the failure to the first answer of a connection that was begun after it; undefined before there is one. */
export function outageMs({ ok }: Beats, failedAt: number): number | undefined {
  const first = ok.filter(({ begunAt }) => begunAt >= failedAt).map(({ endedAt }) => endedAt);
  return first.length === 0 ? undefined : Math.min(...first) - failedAt;
}
