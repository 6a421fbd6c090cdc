// Calls follow what instances say of themselves, through a router and with the controller killed: one that is not ready any more, or has moved,
// gets no new connection. Real daemons in network namespaces. How long that took is logged; that it is below a
// second is held in virtual time (test/simulations/announcing.test.ts), where no busy box has a part in it.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();
/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;
/** So many calls in a row say that it stays so. */
const callsInARow = 30;

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = (node: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: followed }
spec:
  microservices:
    - name: called
      engine: process
      command: [node, ${workload('deaf')}]
      ports: [{ name: http, port: 8080 }]
      placement: { node: ${node} }
      replicas: 2
      probes:
        readiness:
          exec: { command: [sh, -c, 'test ! -e unready'] }
          periodMs: 100
          failureThreshold: 1
          timeoutMs: 60000
    - name: watcher
      engine: process
      command: [node, ${workload('watcher')}]
      placement: { node: left }
      dependsOn: [called]
`;

interface Call {
  beganAt: number;
  /** "0 right", "failed". */
  answer: string;
}

async function createPlace(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-follow-'));
  const daemons: Daemon[] = [];
  // Before the namespaces: their teardown comes last.
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    await Promise.all(
      daemons.map(async (daemon) => {
        await daemon.client.down(true).catch(() => undefined);
        const late = setTimeout(() => void daemon.kill('SIGKILL'), endMs);
        await daemon.ended;
        clearTimeout(late);
      }),
    );
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const instances = (node: string): string => join(folder, node, 'instances');
  return {
    namespaces,
    up(name: string, box: string, options: readonly string[] = [], token?: string): Daemon {
      const daemon = startDaemon({
        ...{ name, dataFolder: join(folder, name), options, namespace: box },
        ...(token !== undefined && { token }),
      });
      daemons.push(daemon);
      return daemon;
    },
    async apply(node: string): Promise<void> {
      const file = join(folder, 'followed.yaml');
      await writeFile(file, manifest(node));
      const { status, error } = await selvedge(join(folder, 'boss'), 'apply', file);
      if (status !== 0) throw new Error(error);
    },
    async calls(): Promise<Call[]> {
      const log = await readFile(join(instances('left'), 'default.followed.watcher.0', 'stdout.log'), 'utf8');
      return log
        .trimEnd()
        .split('\n')
        .map((line) => ({ beganAt: Number(line.slice(0, 13)), answer: line.slice(14) }));
    },
    unready: (index: number): string => join(instances('right'), `default.followed.called.${index}`, 'unready'),
  };
}

test('what is unready or has moved gets no new connection, through a router and without a controller', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two] = [namespaces.lan(), namespaces.lan()];
  const [boss, left, middle, right, far] = Array.from({ length: 5 }, () => namespaces.box()) as [
    ...[string, string, string, string, string],
  ];
  one.attach(boss, 'eth0', ['10.1.0.2/24']);
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(middle, 'eth0', ['10.1.0.254/24']);
  two.attach(middle, 'eth1', ['10.2.0.254/24']);
  // They join where their controller is, and are then carried behind the router.
  one.attach(right, 'eth0', ['10.1.0.3/24']);
  one.attach(far, 'eth0', ['10.1.0.4/24']);

  let controller = place.up('boss', boss, ['--found', '--fabric', 'follow']);
  /** What has answered since the call number `from`, once the last of them were all answered as they should be. */
  async function after(from: number, what: string, isRight: (answer: string) => boolean): Promise<Call[]> {
    return waitFor(what, async () => {
      const since = (await place.calls()).slice(from);
      const last = since.slice(-callsInARow);
      if (last.length === callsInARow && last.every(({ answer }) => isRight(answer))) return since;
      throw new Error(last.map(({ answer }) => answer).join(', '));
    });
  }

  const joined = new Map<string, Daemon>();
  await step('a controller', () => controller.answers());
  for (const [name, box, router] of [
    ['middle', middle, 'interior'],
    ['left', left, 'edge'],
    ['right', right, 'edge'],
    ['far', far, 'edge'],
  ] as const) {
    await step(`${name} joins, ${router}`, async () => {
      const { token } = await controller.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router });
      const daemon = place.up(name, box, [], token);
      joined.set(name, daemon);
      await daemon.event('linked');
    });
  }

  await step('two of the nodes are carried to the other side of the router', async () => {
    for (const [name, box, address] of [
      ['right', right, '10.2.0.1/24'],
      ['far', far, '10.2.0.2/24'],
    ] as const) {
      namespaces.ip(box, 'link', 'del', 'eth0');
      const carriedAt = Date.now();
      two.attach(box, 'eth1', [address]);
      // Its controller it may have again through the router by then.
      await waitFor(`${name} to be linked to the router anew`, () =>
        joined.get(name)?.events.some(({ type, node, at }) => type === 'linked' && node === 'middle' && at > carriedAt),
      );
    }
  });

  await step('both instances are called, through the router', async () => {
    await place.apply('right');
    await waitFor('answers of both', async () => {
      const last = new Set((await place.calls()).slice(-10).map(({ answer }) => answer));
      return last.has('0 right') && last.has('1 right');
    });
  });

  /** Its last calls may be on their way; then the other one alone answers. A call fails only where a busy box has lost a link meanwhile. */
  async function unready(index: 0 | 1): Promise<void> {
    const { length: from } = await place.calls();
    const wroteAt = Date.now();
    await writeFile(place.unready(index), '');
    const since = await after(from, 'the other one alone', (answer) => answer === `${1 - index} right`);
    const last = since.findLast(({ answer }) => answer === `${index} right`)?.beganAt ?? wroteAt;
    const failed = since.filter(({ answer }) => answer === 'failed').length;
    t.log(
      `${failed} calls failed; the last call of the unready one began ${last - wroteAt} ms after its probe would fail (each 100 ms)`,
    );
    await rm(place.unready(index));
    await waitFor('it to be called again', async () =>
      (await place.calls()).slice(-10).some(({ answer }) => answer === `${index} right`),
    );
  }

  await step('one is not ready', () => unready(0));

  await step('the controller is killed, and the other one is not ready', async () => {
    await controller.kill('SIGKILL');
    await unready(1);
  });

  await step(
    'the controller is back, and both move: once the new place has answered, the old one is called no more',
    async () => {
      controller = place.up('boss', boss);
      await controller.answers();
      const { length: from } = await place.calls();
      await place.apply('far');
      const since = await after(from, 'the new place alone', (answer) => answer.endsWith(' far'));
      for (const index of [0, 1]) {
        const own = since.map(({ answer }) => answer).filter((answer) => answer.startsWith(`${index} `));
        t.false(own.slice(own.indexOf(`${index} far`)).includes(`${index} right`), own.join(', '));
      }
    },
  );
});
