// Boxes that get another address while their daemons run: first the one that calls, then its controller. Nothing is restarted, calls go on, and
// everybody is told where they are now. Real daemons in network namespaces without a default route.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { selvedge } from './command.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';

const missing = namespacesMissing();
const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: moves }
spec:
  microservices:
    - name: echo
      engine: process
      command: [node, ${workload('echo')}]
      ports: [{ name: raw, port: 8080 }]
      placement: { node: control }
    - name: caller
      engine: process
      command: [node, -e, ${JSON.stringify(`const { connect } = require("node:net");
const call = () => { const socket = connect(8080, "echo"); socket.on("error", () => undefined); socket.setTimeout(20000, () => socket.destroy());
  socket.once("data", () => { console.log("answered"); socket.destroy(); }); socket.once("close", () => setTimeout(call, 200)); socket.write("x"); };
call()`)}]
      placement: { node: edge }
      dependsOn: [echo]
`;

test('a worker and then its controller get another address: links come back from there, and nothing is restarted', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-moves-'));
  const daemons: Daemon[] = [];
  const namespaces = createNamespaces(t);
  t.teardown(async () => {
    if (!t.passed) for (const daemon of daemons) t.log(daemon.output().slice(-3_000));
    await Promise.all(
      daemons.map(async (daemon) => {
        await daemon.client.down(true).catch(() => undefined);
        const late = setTimeout(() => void daemon.kill('SIGKILL'), 30_000);
        await daemon.ended;
        clearTimeout(late);
      }),
    );
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  const lan = namespaces.lan();
  const [controlBox, edgeBox] = [namespaces.box(), namespaces.box()];
  lan.attach(controlBox, 'eth0', ['10.1.0.1/24']);
  lan.attach(edgeBox, 'eth0', ['10.1.0.2/24']);
  const up = (name: string, namespace: string, options: readonly string[], token?: string): Daemon => {
    const daemon = startDaemon({ name, dataFolder: join(folder, name), options, namespace, ...(token && { token }) });
    daemons.push(daemon);
    return daemon;
  };
  function move(box: string, from: string, to: string): void {
    namespaces.ip(box, 'addr', 'del', `${from}/24`, 'dev', 'eth0');
    namespaces.ip(box, 'addr', 'add', `${to}/24`, 'dev', 'eth0');
  }
  const instances = async (): Promise<unknown[]> =>
    (await control.client.application('default', 'moves')).instances.map(({ name, pid, restarts }) => ({
      name,
      pid,
      restarts,
    }));
  const addressesOf = async (name: string): Promise<string> =>
    (await control.client.status()).nodes.find((node) => node.name === name)?.addresses.join() ?? '';
  async function answered(): Promise<void> {
    const log = join(folder, 'edge', 'instances', 'default.moves.caller.0', 'stdout.log');
    const lines = async (): Promise<number> => (await readFile(log, 'utf8')).split('\n').length;
    const before = await lines();
    await waitFor('calls to be answered', async () => (await lines()) > before + 2);
  }

  const control = up('control', controlBox, ['--found', '--fabric', 'moves']);
  const edge = await step('a controller, a worker and calls between them', async () => {
    await control.answers();
    const { token } = await control.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
    const joined = up('edge', edgeBox, [], token);
    await joined.event('linked');
    const file = join(folder, 'moves.yaml');
    await writeFile(file, manifest);
    const { status, error } = await selvedge(join(folder, 'control'), 'apply', file);
    t.is(status, 0, error);
    await waitFor('it to be ready', async () => (await control.client.application('default', 'moves')).ready);
    await answered();
    return joined;
  });
  const before = await instances();

  await step('the worker gets another address', async () => {
    move(edgeBox, '10.1.0.2', '10.1.0.77');
    await waitFor('the controller to know', async () => (await addressesOf('edge')).includes('10.1.0.77'));
    await answered();
    t.false((await addressesOf('edge')).includes('10.1.0.2/'));
  });
  await step('the controller gets another address', async () => {
    move(controlBox, '10.1.0.1', '10.1.0.99');
    await waitFor('the worker to be linked to it there', async () => {
      const { links } = await edge.client.topology();
      const own = await edge.client.status();
      const said = {
        linked: links.some(({ nodes }) => nodes.includes('control')),
        reachable: own.controllerReachable,
        addresses: await addressesOf('control'),
      };
      if (said.linked && said.reachable && said.addresses.includes('10.1.0.99')) return true;
      throw new Error(JSON.stringify(said));
    });
    await answered();
  });
  t.deepEqual(await instances(), before, 'nothing was restarted');
});
