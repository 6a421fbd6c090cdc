// A daemon that dies ten times, and twenty in the soak, at moments of chance, while instances run, start, stop, crash and are replaced: each process runs on,
// none is there twice, none is lost, and what they wrote and how often they ended is known to the last daemon. Then one that cannot start.

import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { isSoak } from '../slice.ts';
import { createFabric, type FabricNode, problemsOf, toldReady, waitFor } from './fabric.ts';
import { identityOf } from './processes.ts';
import { tell } from './story.ts';

/** In so many steps: one may not be silent for longer than a busy box takes for all. */
const rounds = isSoak ? 4 : 2;
const killsOfRound = 5;
/** The daemon dies before it has found anything, while it adopts, or so long after it answers. */
const longestLifeMs = 1_500;
const steady = ['steady-0', 'steady-1', 'steady-2', 'steady-3', 'steady-4', 'steady-5'];
const crashing = ['crash-0', 'crash-1'];
const seed = process.env['SELVEDGE_SEED'] ?? String(process.pid);
/** Nobody else's processes are taken for ours. */
const application = `storm-${process.pid}`;

const microservice = (name: string, script: string, more = ''): string => `
    - name: ${name}
      engine: process
      command: [sh, -c, '${script}']
      placement: { node: edge-1 }
      ${more}`;
const counting = 'n=0; while :; do echo line $n; n=$((n+1)); sleep 0.02; done';
/** Each of its starts is a line. */
const failing = 'echo start; exit 3';
const slow = 'trap "sleep 0.2; exit 0" TERM; while :; do sleep 0.05; done';

const manifest = (version: number): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: ${application} }
spec:
  microservices:${steady.map((name) => microservice(name, counting)).join('')}
${crashing.map((name) => microservice(name, failing)).join('')}
${microservice('changing', slow, `env: { VERSION: '${version}' }`)}
${version % 2 === 0 ? microservice('coming', slow) : ''}
`;

interface Running {
  microservice: string;
  launch: string;
  version: string | undefined;
}

/** What of the application runs on this box, by the environment that its processes were started with. */
async function running(): Promise<Running[]> {
  const all: Running[] = [];
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const text = await readFile(`/proc/${entry}/environ`, 'utf8').catch(() => '');
    const variables = new Map(text.split('\0').map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]));
    if (variables.get('SELVEDGE_APPLICATION') !== application) continue;
    all.push({
      microservice: variables.get('SELVEDGE_MICROSERVICE') ?? '',
      launch: variables.get('SELVEDGE_LAUNCH') ?? '',
      version: variables.get('VERSION'),
    });
  }
  return all;
}

/** The launches of each microservice that live: more than one is an instance that is there twice. */
async function launches(): Promise<Map<string, Set<string>>> {
  const all = new Map<string, Set<string>>();
  for (const { microservice: name, launch } of await running()) all.set(name, (all.get(name) ?? new Set()).add(launch));
  return all;
}

test('a daemon that is killed again and again loses, doubles and restarts nothing, and forgets nothing', async (t) => {
  const step = tell(t);
  const random = createSimRandom(seed);
  t.log(`SELVEDGE_SEED=${seed}`);
  const fabric = await step('a controller and an edge node with ten instances', async () => {
    const made = await createFabric(t, { edges: 1 });
    await made.apply(manifest(0));
    return made;
  });
  const edge = fabric.edges[0] as FabricNode;
  const file = (name: string, path: string): Promise<string> =>
    readFile(join(edge.dataFolder, 'instances', `default.${application}.${name}.0`, path), 'utf8');
  const identities = async (): Promise<string[]> =>
    await Promise.all(
      steady.map(async (name) => identityOf(Number(/^pid=(\d+)/.exec(await file(name, 'run/workload'))?.[1]))),
    );
  await Promise.all([...steady, 'changing', 'coming'].map((name) => toldReady(edge, name)));
  const before = await identities();
  let version = 0;

  const round = async (): Promise<void> => {
    for (let kill = 0; kill < killsOfRound; kill++) {
      await edge.daemon.kill('SIGKILL');
      const doubled = [...(await launches())].filter(([, some]) => some.size > 1);
      t.deepEqual(doubled, [], `after kill ${kill}`);
      const starting = edge.start();
      // It may die before it answers.
      starting.catch(() => undefined);
      if (random.next() < 0.5) await starting;
      if (random.next() < 0.5) {
        version++;
        await fabric.apply(manifest(version));
      }
      await sleep(random.next() * longestLifeMs);
    }
  };
  for (let number = 0; number < rounds; number++)
    await step(`${killsOfRound} times kill -9, while the application changes`, round);

  await step('the last one brings all to what was asked for last', async () => {
    await edge.daemon.kill('SIGKILL');
    t.deepEqual(await identities(), before);
    await edge.start();
    version += version % 2 === 0 ? 1 : 2;
    await fabric.apply(manifest(version));
    await Promise.all([...steady, 'changing'].map((name) => toldReady(edge, name)));
    await waitFor('coming to be gone and changing to be the newest', async () => {
      const all = await running();
      const changing = all.filter(({ microservice: name }) => name === 'changing');
      return (
        all.every(({ microservice: name }) => name !== 'coming') &&
        changing.length > 0 &&
        changing.every((one) => one.version === String(version))
      );
    });
    for (const [name, some] of await launches()) t.is(some.size, 1, name);
    t.deepEqual(await identities(), before);
    for (const name of steady) t.is((await edge.instance(name)).restarts, 0, name);
    t.deepEqual(problemsOf([edge]), []);
  });

  await step('each start that failed was counted once', async () => {
    for (const name of crashing) {
      const [seen, starts] = await waitFor(`${name} to back off`, async () => {
        const { state, restarts, failures } = await edge.instance(name);
        const count = (await file(name, 'stdout.log')).split('\n').length - 1;
        return state === 'backingOff' ? ([{ restarts, failures }, count] as const) : undefined;
      });
      t.log(`${name}: ${starts} starts, ${seen.restarts} counted`);
      t.is(seen.restarts, starts, name);
      t.is(seen.failures, starts, name);
    }
  });

  await step('no line of what they wrote is missing or there twice', async () => {
    for (const name of steady) {
      const lines = (await file(name, 'stdout.log')).split('\n').slice(0, -1);
      const wrong = lines.findIndex((line, index) => line !== `line ${index}`);
      t.is(wrong, -1, `${name}: ${lines.slice(wrong - 1, wrong + 2).join(', ')}`);
      t.true(lines.length > 100);
    }
  });

  await step('a daemon that ends at each start leaves them alone, too', async () => {
    await edge.daemon.kill('SIGTERM');
    const membership = join(edge.dataFolder, 'membership.json');
    await rename(membership, `${membership}.kept`);
    await writeFile(membership, '{');
    for (let start = 0; start < 3; start++) {
      await t.throwsAsync(edge.start());
      t.is(await edge.daemon.ended, 'status 78');
    }
    t.deepEqual(await identities(), before);
    await rm(membership);
    await rename(`${membership}.kept`, membership);
    await edge.start();
    await Promise.all(steady.map((name) => toldReady(edge, name)));
    t.deepEqual(await identities(), before);
  });

  await step('`down --workloads` ends them, and nothing else did', async () => {
    await edge.daemon.client.down(true);
    await edge.daemon.ended;
    t.deepEqual(await running(), []);
  });
});
