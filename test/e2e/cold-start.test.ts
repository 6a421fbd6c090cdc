// Boxes that lose their power and come back with no network at all, not even the controller: everything that should run runs, from what
// the box itself has, in the order of dependencies, and what waits says for what.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { createNamespaces, namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { createFabric, type FabricNode, problemsOf, toldReady, waitFor } from './fabric.ts';
import { isAlive } from './processes.ts';
import { tell } from './story.ts';

/** Says for each of its starts anew that it is up. */
const script = 'sleep 0.2; echo $SELVEDGE_LAUNCH > up; exec sleep 1000';
const check = '[ "$(cat up)" = "$SELVEDGE_LAUNCH" ]';

const microservice = (node: string, name: string, dependsOn: readonly string[]): string => `
    - name: ${name}
      engine: process
      command: [sh, -c, '${script}']
      placement: { node: ${node} }
      probes: { readiness: { exec: { command: [sh, -c, '${check}'] }, periodMs: 100 } }
      dependsOn: [${dependsOn.join(', ')}]`;

const manifest = (name: string, node: string, dependencies: Record<string, readonly string[]>): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: ${name} }
spec:
  microservices:${Object.entries(dependencies)
    .map(([one, of]) => microservice(node, one, of))
    .join('')}
`;

const fans = ['fan-0', 'fan-1', 'fan-2', 'fan-3'];
/** A chain, a fan and its end, in an order of names that is not that of dependencies. */
const onEdge: Record<string, readonly string[]> = {
  'chain-0': ['chain-1'],
  'chain-1': ['chain-2'],
  'chain-2': ['root-of-all'],
  'root-of-all': [],
  hub: ['root-of-all'],
  ...Object.fromEntries(fans.map((fan) => [fan, ['hub']])),
  all: [...fans, 'chain-0'],
};
const onControl: Record<string, readonly string[]> = { above: ['below'], below: [] };

/** As when the power goes: nothing of the node runs, and what ran belongs to another start of the box. */
async function losePower({ daemon, dataFolder }: FabricNode): Promise<void> {
  await daemon.kill('SIGKILL');
  await waitFor('nothing of it to run', async () => {
    const left = await processesOf(dataFolder);
    for (const pid of left) if (await isAlive(pid)) process.kill(pid, 'SIGKILL');
    return left.length === 0;
  });
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const instances = join(dataFolder, 'instances');
  for (const instance of (await readdir(instances)).filter((name) => name.startsWith('default.'))) {
    for (const record of ['launch.json', 'shim', 'workload']) {
      const path = join(instances, instance, 'run', record);
      await writeFile(path, (await readFile(path, 'utf8')).replace(boot, '00000000-0000-4000-8000-000000000000'));
    }
  }
}

/** What the daemon that runs now told of its instances, in order. */
function told({ daemon }: FabricNode) {
  const steps = daemon.events.filter(({ type }) => type === 'instance');
  const at = (name: string, holds: (event: (typeof steps)[number]) => boolean): number =>
    steps.findIndex((event) => String(event['instance']).split('.')[2] === name && holds(event));
  return {
    started: (name: string) => at(name, (event) => event['state'] === 'starting'),
    ready: (name: string) => at(name, (event) => event['ready'] === true),
    waited: (name: string) =>
      steps.filter((event) => String(event['instance']).split('.')[2] === name && event['state'] === 'waiting'),
    failed: () => steps.filter((event) => event['state'] === 'backingOff' || event['state'] === 'failed'),
  };
}

test('after a power cut, with no network at all, all that should run runs, in the order of dependencies', async (t) => {
  const missing = namespacesMissing();
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const namespaces = createNamespaces(t);
  const fabric = await step('a controller and an edge node with ten instances', async () => {
    const made = await createFabric(t, { edges: 1 });
    await made.apply(manifest('tree', 'edge-1', onEdge));
    await made.apply(manifest('pair', 'control', onControl));
    await made.ready('tree');
    await made.ready('pair');
    return made;
  });
  const edge = fabric.edges[0] as FabricNode;

  await step('both boxes lose their power', async () => {
    await Promise.all([edge, fabric.control].map(losePower));
  });

  for (const [node, dependencies] of [
    [edge, onEdge],
    [fabric.control, onControl],
  ] as const) {
    await step(`${node.name} starts where there is nothing but lo`, async () => {
      await node.start({ namespace: namespaces.box() });
      await Promise.all(Object.keys(dependencies).map((name) => toldReady(node, name)));
      const { started, ready, waited, failed } = told(node);
      t.deepEqual(failed(), [], 'a power cut is no failure');
      for (const [name, needed] of Object.entries(dependencies)) {
        for (const one of needed) t.true(ready(one) >= 0 && ready(one) < started(name), `${name} waits for ${one}`);
        if (needed.length === 0) continue;
        const reasons = waited(name).map(({ message }) => message);
        t.true(
          reasons.some((reason) => needed.some((one) => reason.includes(one))),
          `${name}: ${reasons.join('; ')}`,
        );
      }
      for (const name of Object.keys(dependencies)) {
        const { restarts, failures } = await node.instance(name);
        t.deepEqual([restarts, failures ?? 0], [1, 0], name);
      }
      t.deepEqual(problemsOf([node]), []);
    });
  }
});
