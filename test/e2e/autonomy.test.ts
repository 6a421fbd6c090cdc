// Edge nodes without a controller: they run on, call each other, restart what crashes and survive their own restart; and when the
// controller is back, nothing is restarted.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import type { StatusView } from '../../control/views.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode, problemsOf, toldReady, waitFor } from './fabric.ts';
import { identityOf, isAlive } from './processes.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = (more = ''): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: pair }
spec:
  microservices:
    - name: called
      engine: process
      command: [node, ${workload('gated')}]
      ports: [{ name: http, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: http }, periodMs: 50 } }
    - name: caller
      engine: process
      command: [node, ${workload('caller')}]
      ports: [{ name: http, port: 8081 }]
      placement: { node: edge-2 }
      probes: { readiness: { tcp: { port: http }, periodMs: 50 } }
${more}`;

const third = `
    - name: third
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }
`;

interface Seen {
  ok: number;
  failed: number;
  pid: number;
  reason: string;
}

/** What the caller has seen, asked on its own port. */
async function seenBy(edge: FabricNode): Promise<Seen> {
  const { addresses } = await edge.instance('caller');
  const [address] = addresses ?? [];
  const response = await fetch(`http://${address?.host}:${address?.hostPort}/`);
  return (await response.json()) as Seen;
}

/** Resolves once several more calls were answered, the last one by that process. */
async function callsReach(edge: FabricNode, pid: number): Promise<Seen> {
  const before = await seenBy(edge);
  return await waitFor(`calls to reach process ${pid}`, async () => {
    const seen = await seenBy(edge);
    if (seen.ok < before.ok + 5 || seen.pid !== pid) throw new Error(JSON.stringify(seen));
    return seen;
  });
}

async function pidOf(edge: FabricNode, microservice: string): Promise<number> {
  const { pid } = await edge.instance(microservice);
  if (pid === undefined) throw new Error(`${microservice} does not run`);
  return pid;
}

async function selvedge(node: FabricNode, ...command: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, '--data', node.dataFolder, ...command]);
  return stdout;
}

const alone = async (edge: FabricNode): Promise<boolean> => !(await edge.status()).controllerReachable;

test('edge nodes go on without a controller, and nothing is restarted when it is back', async (t) => {
  const step = tell(t);
  const { fabric, one, two } = await step('a controller and two edge nodes', async () => {
    const made = await createFabric(t, { edges: 2 });
    const [first, second] = made.edges as [FabricNode, FabricNode];
    return { fabric: made, one: first, two: second };
  });
  const { control } = fabric;
  const identities = async (): Promise<string[]> => [
    await identityOf(await pidOf(one, 'called')),
    await identityOf(await pidOf(two, 'caller')),
  ];
  const calls = async (): Promise<Seen> => callsReach(two, await pidOf(one, 'called'));

  await step('one calls the other by name through the tunnel', async () => {
    await fabric.apply(manifest());
    await fabric.ready('pair');
    t.true((await calls()).ok > 0);
  });

  await step('the controller is killed: both say so, and calls go on without one that fails', async () => {
    const [before, failed] = [await identities(), (await seenBy(two)).failed];
    t.is(await control.daemon.kill('SIGKILL'), 'SIGKILL');
    for (const edge of [one, two]) await waitFor(`${edge.name} to miss its controller`, () => alone(edge));
    const seen = await calls();
    t.is(seen.failed, failed, seen.reason);
    t.deepEqual(await identities(), before);
  });

  await step('`selvedge status` on an edge node tells it', async () => {
    const text = await selvedge(one, 'status');
    t.regex(text, /No controller is reachable; this node goes on with the plan that it has/);
    t.regex(text, /default\.pair\.called\.0\s.*edge-1.*running/);
    const status = JSON.parse(await selvedge(two, 'status', '-o', 'json')) as StatusView;
    t.false(status.ok);
    t.deepEqual(
      status.problems.map((problem) => problem.replace(/generation \d+/, 'generation N')),
      ['no controller is reachable from edge-2; it goes on with its plan (generation N)'],
    );
  });

  await step('what crashes is restarted, and found by its caller', async () => {
    const old = await pidOf(one, 'called');
    process.kill(old, 'SIGKILL');
    await waitFor('called to run again', async () => {
      const { ready, pid, restarts } = await one.instance('called');
      return ready && pid !== old && restarts === 1;
    });
    t.not((await calls()).pid, old);
  });

  await step('one box loses its power: it starts what it ran, and is called again', async () => {
    const [[, caller], old] = [await identities(), await pidOf(one, 'called')];
    await one.daemon.kill('SIGKILL');
    process.kill(old, 'SIGKILL');
    await waitFor('called to be gone', async () => !(await isAlive(old)));
    await one.start();
    await toldReady(one, 'called');
    t.not((await calls()).pid, old);
    t.is((await identities())[1], caller);
  });

  const before = await identities();
  const { restarts } = await one.instance('called');

  await step('both daemons are killed and started: the same processes run on and call again', async () => {
    await Promise.all([one, two].map((edge) => edge.daemon.kill('SIGKILL')));
    for (const identity of before) t.true(await isAlive(Number.parseInt(identity, 10)));
    await Promise.all([one, two].map((edge) => edge.start()));
    await Promise.all([toldReady(one, 'called'), toldReady(two, 'caller')]);
    t.true((await calls()).ok > 0);
    t.deepEqual(await identities(), before);
    t.is((await one.instance('called')).restarts, restarts);
    for (const edge of [one, two]) {
      const { controllerReachable, nodes } = await edge.status();
      t.false(controllerReachable);
      t.is(nodes[0]?.links.length, 1, 'they have found each other');
    }
  });

  await step('the controller is back: everything converges, and no instance is restarted', async () => {
    await control.start();
    await waitFor('all to be well', async () => {
      const { ok, problems, nodes } = await control.status();
      if (!ok) throw new Error(problems.join('; '));
      return nodes.every(({ upToDate, state }) => upToDate && state === 'connected');
    });
    for (const edge of [one, two]) await waitFor(`${edge.name} to be well`, async () => (await edge.status()).ok);
    await calls();
    t.deepEqual(await identities(), before);
  });

  await step('it decides again: a new microservice starts, and the others run on', async () => {
    await fabric.apply(manifest(third));
    await fabric.ready('pair');
    t.true((await one.instance('third')).ready);
    const { failed } = await seenBy(two);
    t.is((await calls()).failed, failed);
    t.deepEqual(await identities(), before);
    t.deepEqual(problemsOf([control, one, two]), []);
  });
});
