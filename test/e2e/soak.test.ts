// A fabric whose application changes all the time, whose workloads are killed and whose daemons die, with real processes and a real
// Docker Engine: what it holds when it rests is what it held before. A minute in `npm test`, ten in `npm run soak`.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { busyboxImage, dockerMissing, startDockerd } from '../node-runtime/dockerd.ts';
import { skip } from '../skip.ts';
import { isSoak } from '../slice.ts';
import { createFabric, waitFor } from './fabric.ts';
import { createTeller, leaksIn, type Resources, resourcesOf } from './resources.ts';

const lastsMs = isSoak ? 600_000 : 60_000;
/** Rounds of a daemon before anything of it counts: caches fill, code is compiled. */
const warmUpRounds = 2;
const roundsMin = warmUpRounds + 6;
/** In the second part no daemon is killed: what one of them gathers is seen only while it lives. */
const killsUntil = 0.4;

/** `replicas` and `version` change from round to round; a round ends with the same ones as the last. */
const manifest = (version: string, replicas: number): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: busy }
spec:
  microservices:
    - name: program
      engine: process
      command: [sleep, '100000']
      replicas: ${replicas}
      env: { VERSION: '${version}' }
      configs: [busy]
      placement: { node: edge-1 }
    - name: container
      engine: docker
      image: ${busyboxImage}
      command: [sleep, '100000']
      replicas: ${replicas}
      env: { VERSION: '${version}' }
      placement: { node: edge-1 }
    - name: beside
      engine: process
      command: [sleep, '100000']
      env: { VERSION: '${version}' }
      placement: { node: control }
---
apiVersion: selvedge/v1
kind: Config
metadata: { name: busy }
spec: { files: { text: { text: '${version}' } } }
`;

test.serial('a fabric that works all the time holds no more than when it began', async (t) => {
  t.timeout(lastsMs + 600_000);
  const missing = await dockerMissing();
  if (missing !== undefined) return skip(t, missing);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-soak-'));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const dockerd = await startDockerd();
  t.teardown(() => dockerd.close());
  const { env } = await createTeller(folder);
  const fabric = await createFabric(t, {
    edges: 1,
    envOf: (node) => ({ ...env, ...(node === 'edge-1' && { DOCKER_HOST: dockerd.host }) }),
  });
  const { control, edges } = fabric;
  const [edge] = edges;
  if (edge === undefined) return t.fail('there is no edge');
  const nodes = [control, edge];

  const count = async (...words: string[]): Promise<number> =>
    (await dockerd.docker(...words, '--quiet')).split('\n').filter((line) => line !== '').length;
  /** What must be the same whenever the same things run. */
  const standing = async () => ({
    containers: await count('ps', '--all'),
    networks: await count('network', 'ls', '--filter', 'label=io.selvedge.fabric'),
    workloads: (await Promise.all(nodes.map((node) => processesOf(node.dataFolder)))).map((pids) => pids.length),
    instanceFolders: (
      await Promise.all(nodes.map(({ dataFolder }) => readdir(join(dataFolder, 'instances')).catch(() => [])))
    ).map((names) => names.length),
  });
  const samples = new Map<string, Resources[]>(nodes.map(({ name }) => [name, []]));
  const settled = async (what: string, wanted: number): Promise<void> => {
    const ready = ({ ready: all, instances }: { ready: boolean; instances: unknown[] }) =>
      all && instances.length === wanted;
    await fabric.application('busy', ready, what);
  };

  let usual: Awaited<ReturnType<typeof standing>> | undefined;
  const beganAt = performance.now();
  const endAt = beganAt + lastsMs;
  const daemonsDie = (round: number): boolean =>
    round === 1 || (round % 3 === 1 && performance.now() < beganAt + killsUntil * lastsMs);
  for (let round = 0; round < roundsMin || performance.now() < endAt; round++) {
    await fabric.apply(manifest(`more-${round}`, 1 + (round % 3)));
    await settled(`round ${round}, changed`, 3 + 2 * (round % 3));
    const program = await edge.instance('program');
    if (program.pid !== undefined) process.kill(program.pid, 'SIGKILL');
    const [container = ''] = (await dockerd.docker('ps', '--quiet')).split('\n');
    if (container !== '') await dockerd.docker('kill', container);
    if (daemonsDie(round)) {
      await edge.daemon.kill('SIGKILL');
      await edge.start();
    }
    await fabric.apply(manifest(`rest-${round}`, 1));
    await settled(`round ${round}, at rest`, 3);
    // Ended ones go a moment later than their successors are ready.
    const now = await waitFor(`round ${round}: what is left over to go`, async () => {
      const found = await standing();
      if (usual !== undefined && JSON.stringify(found) !== JSON.stringify(usual))
        throw new Error(`${JSON.stringify(found)} instead of ${JSON.stringify(usual)}`);
      return found;
    });
    if (round === warmUpRounds - 1) usual = now;
    if (round < warmUpRounds) continue;
    for (const { name, daemon } of nodes) samples.get(name)?.push(await resourcesOf(daemon.pid, folder));
  }
  for (const { name, daemon } of nodes) {
    // The first round may have been the one that it was started in.
    const taken = (samples.get(name) ?? []).filter(({ pid }) => pid === daemon.pid).slice(warmUpRounds - 1);
    const thirds = [
      taken[0],
      taken[Math.floor(taken.length / 3)],
      taken[Math.floor((2 * taken.length) / 3)],
      taken.at(-1),
    ];
    t.log(`${name}: ${taken.length} rounds of one daemon\n${thirds.map((one) => JSON.stringify(one)).join('\n')}`);
    t.deepEqual(leaksIn(taken), [], name);
  }
});

test('a leak of each kind is told', (t) => {
  const steady: Resources = { pid: 1, heapMb: 60, rssMb: 100, descriptors: 40, children: 1, timers: 20 };
  const grow = (what: keyof Resources, by: number): Resources[] =>
    Array.from({ length: 12 }, (_, index) => ({ ...steady, [what]: steady[what] + by * index }));
  t.deepEqual(leaksIn(grow('rssMb', 0)), []);
  t.deepEqual(leaksIn(grow('rssMb', 1)), [], 'what fills up once is none');
  t.regex(leaksIn(grow('rssMb', 6)).join(), /^rssMb grew by 48/);
  t.deepEqual(leaksIn(grow('heapMb', 0.3)), [], 'code that is compiled late is none');
  t.regex(leaksIn(grow('heapMb', 1)).join(), /^heapMb grew by 8/);
  t.regex(leaksIn(grow('descriptors', 2)).join(), /^descriptors grew by 16/);
  t.regex(leaksIn(grow('children', 1)).join(), /^children grew by 8/);
  t.regex(leaksIn(grow('timers', 2)).join(), /^timers grew by 16/);
});
