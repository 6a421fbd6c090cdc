// Networks that cannot reach each other, and routers between them: what runs on both sides calls by name, through one router and through two, and
// nodes reach their controller the same way. Real daemons in network namespaces without a default route.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { StatusView } from '../../control/views.ts';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();
/** A daemon that has not ended its workloads by then is killed. */
const endMs = 30_000;

const server = `require("node:http").createServer((request, response) => response.end("hello of " + process.env.WHO))
  .listen(process.env.PORT, process.env.HOST)`;
const caller = `const ask = () => fetch("http://server:8080/", { signal: AbortSignal.timeout(20000) })
  .then((response) => response.text(), () => "failed").then((text) => { console.log(text); setTimeout(ask, 200); }); ask()`;

const manifest = (who: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: apart }
spec:
  microservices:
    - name: server
      engine: process
      command: [node, -e, ${JSON.stringify(server)}]
      env: { WHO: ${who} }
      ports: [{ name: http, port: 8080 }]
      placement: { node: right }
    - name: caller
      engine: process
      command: [node, -e, ${JSON.stringify(caller)}]
      placement: { node: left }
      dependsOn: [server]
`;

/** Boxes with a daemon each; LANs are theirs to be attached to. */
async function createPlace(t: ExecutionContext) {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-isolation-'));
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
  return {
    namespaces,
    data: (name: string): string => join(folder, name),
    up(name: string, box: string, options: readonly string[] = [], token?: string): Daemon {
      const daemon = startDaemon({
        name,
        dataFolder: join(folder, name),
        options,
        namespace: box,
        ...(token && { token }),
      });
      daemons.push(daemon);
      return daemon;
    },
    /** What the caller was answered last. */
    async lastAnswer(): Promise<string> {
      const log = join(folder, 'left', 'instances', 'default.apart.caller.0', 'stdout.log');
      return (await readFile(log, 'utf8')).trim().split('\n').at(-1) ?? '';
    },
  };
}

const tokenFor = async (controller: Daemon, router: 'interior' | 'edge'): Promise<string> =>
  (await controller.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router })).token;

async function apply(folder: string, who: string): Promise<void> {
  const file = `${folder}.yaml`;
  await writeFile(file, manifest(who));
  const { status, error } = await selvedge(folder, 'apply', file);
  if (status !== 0) throw new Error(error);
}

test('two networks with one router between them: calls by name, in both directions of the control plane', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two] = [namespaces.lan(), namespaces.lan()];
  const [left, middle, right] = [namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(middle, 'eth0', ['10.1.0.254/24']);
  two.attach(middle, 'eth1', ['10.2.0.254/24']);
  two.attach(right, 'eth0', ['10.2.0.1/24']);

  const router = place.up('middle', middle, ['--found', '--fabric', 'apart']);
  await step('a router that founds, and a node on each of its networks', async () => {
    await router.answers();
    for (const [name, box] of [
      ['left', left],
      ['right', right],
    ] as const)
      await place.up(name, box, [], await tokenFor(router, 'edge')).event('linked');
  });

  await step('the caller gets its answers from the other network', async () => {
    await apply(place.data('middle'), 'first');
    await waitFor('an answer', async () => (await place.lastAnswer()) === 'hello of first');
    const [seen] = (await selvedgeJson<StatusView>(place.data('left'), 'status')).nodes;
    const names = (seen?.links ?? []).map(({ node }) => node).sort();
    t.deepEqual(names, ['middle', 'right'], 'one link of its own, one through it');
  });

  await step('a new version is called without another word', async () => {
    await apply(place.data('middle'), 'second');
    await waitFor('its answer', async () => (await place.lastAnswer()) === 'hello of second');
    t.pass();
  });
});

test('a chain of two routers: a node that moves behind the second one is called, and hears of its controller, through both', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const place = await createPlace(t);
  const { namespaces } = place;
  const [one, two, three] = [namespaces.lan(), namespaces.lan(), namespaces.lan()];
  const [left, near, far, right] = [namespaces.box(), namespaces.box(), namespaces.box(), namespaces.box()];
  one.attach(left, 'eth0', ['10.1.0.1/24']);
  one.attach(near, 'eth0', ['10.1.0.254/24']);
  two.attach(near, 'eth1', ['10.2.0.1/24']);
  two.attach(far, 'eth0', ['10.2.0.2/24']);
  three.attach(far, 'eth1', ['10.3.0.254/24']);
  one.attach(right, 'eth0', ['10.1.0.2/24']);

  const controller = place.up('near', near, ['--found', '--fabric', 'chain']);
  await step('a controller, a second router, and a node on each side, one of them not in its place yet', async () => {
    await controller.answers();
    await place.up('far', far, [], await tokenFor(controller, 'interior')).event('linked');
    await place.up('left', left, [], await tokenFor(controller, 'edge')).event('linked');
    await place.up('right', right, [], await tokenFor(controller, 'edge')).event('linked');
    await apply(place.data('near'), 'first');
    await waitFor('an answer', async () => (await place.lastAnswer()) === 'hello of first');
  });

  await step('it is carried to the network behind the second router', async () => {
    namespaces.ip(right, 'link', 'del', 'eth0');
    three.attach(right, 'eth1', ['10.3.0.1/24']);
    await waitFor('its controller to miss it or to have it again behind the other router', async () => {
      const { nodes } = await controller.client.status();
      return nodes.some(({ name, links }) => name === 'far' && links.some(({ node }) => node === 'right'));
    });
  });

  await step('what is applied reaches it through both routers, and so do calls', async () => {
    await apply(place.data('near'), 'second');
    await waitFor('its answer', async () => (await place.lastAnswer()) === 'hello of second');
    t.pass();
  });
});
