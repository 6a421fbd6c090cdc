// How long an application takes from the accepted `apply` until its instance is ready: three real nodes, process engine, TCP
// readiness probe as it is without any settings, on a worker, so that the plan travels. In the same rounds the same program is
// started by hand until it accepts a connection.

import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type BenchEngine, containerCommand, containerImage, startEngine } from './bare-container.ts';
import { bareSpawnMs } from './bare-spawn.ts';
import { type BenchFabric, isReady, startFabric } from './fabric.ts';
import { atMost, type Figure, median, quantile } from './figures.ts';
import type { Bench, BenchRun } from './run.ts';

const roundsUsual = 100;
const dockerRoundsUsual = 20;
/** Before anything counts: code is compiled, certificates are issued, folders are made. */
const warmUps = 5;
const budgetP50Ms = 60;
const budgetP99Ms = 200;
const budgetDockerMs = 80;
/** Nobody else's engine is used. */
const noEngine = 'unix:///nonexistent/docker.sock';
const listener = fileURLToPath(new URL('workloads/listener.js', import.meta.url));

const workloads = {
  process: { engine: 'process', command: [process.execPath, listener] },
  docker: { engine: 'docker', image: containerImage, command: containerCommand },
};
type EngineName = keyof typeof workloads;

const application = (name: string, node: string, engine: EngineName): unknown => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name },
  spec: {
    microservices: [
      {
        name: 'listener',
        ...workloads[engine],
        ports: [{ name: 'raw', port: 9000 }],
        placement: { node },
        probes: { readiness: { tcp: { port: 'raw' } } },
      },
    ],
  },
});

interface Deployed {
  readyMs: number;
  /** From the request, not from its answer. */
  sinceSentMs: number;
  /** Until the controller's own view says that the application is ready. */
  viewedMs: number;
  /** What the node told, by what it was, in milliseconds after the answer. */
  steps: Map<string, number>;
}

async function deployOnce({ control, workers }: BenchFabric, engine: EngineName, number: number): Promise<Deployed> {
  const name = `${engine}-${number}`;
  const instance = `default.${name}.listener.0`;
  const worker = workers[number % workers.length];
  if (worker === undefined) throw new Error('there is no worker');
  const from = worker.events.length;
  const sentAt = performance.now();
  await control.client.apply([application(name, worker.name, engine)], ['bench']);
  const acceptedAt = performance.now();
  const ready = await worker.event(`${instance} to be ready`, isReady(instance), from);
  while (!(await control.client.application('default', name)).ready) await delay(2);
  const viewedMs = performance.now() - acceptedAt;
  const steps = new Map<string, number>();
  for (const { type, heardAt, ...detail } of worker.events.slice(from)) {
    const step = type === 'instance' ? `${detail['state']}${detail['ready'] === true ? ', ready' : ''}` : type;
    if (!steps.has(step)) steps.set(step, heardAt - acceptedAt);
  }
  await control.client.deleteApplication('default', name);
  await removed(control.client, worker.name);
  return { readyMs: ready.heardAt - acceptedAt, sinceSentMs: ready.heardAt - sentAt, viewedMs, steps };
}

async function removed(client: BenchFabric['control']['client'], node: string): Promise<void> {
  while ((await client.node(node)).instances.length > 0) await delay(20);
}

interface Rounds {
  deployed: Deployed[];
  bare: number[];
}

/** One bare start and one deployment in each round; the first rounds do not count. */
async function inTurns(
  run: BenchRun,
  fabric: BenchFabric,
  engine: EngineName,
  bareMs: () => Promise<number>,
): Promise<Rounds> {
  const usual = engine === 'process' ? roundsUsual : dockerRoundsUsual;
  const counted: Rounds = { deployed: [], bare: [] };
  for (let number = 1; number <= warmUps + (run.rounds ?? usual); number++) {
    run.signal.throwIfAborted();
    const bare = await bareMs();
    const one = await deployOnce(fabric, engine, number);
    if (number <= warmUps) continue;
    counted.bare.push(bare);
    counted.deployed.push(one);
    if (number % 10 === 0)
      run.say(`${engine}, round ${number}: ${one.readyMs.toFixed(1)} ms, bare ${bare.toFixed(1)} ms`);
  }
  return counted;
}

function tell(run: BenchRun, engine: EngineName, { deployed, bare }: Rounds): void {
  for (const step of new Set(deployed.flatMap(({ steps }) => [...steps.keys()]))) {
    const values = deployed.flatMap(({ steps }) => steps.get(step) ?? []);
    run.say(`${engine}, ${step}: p50 ${median(values).toFixed(1)} ms after the answer (${values.length} rounds)`);
  }
  const of = (what: string, values: number[]): void =>
    run.say(`${engine}, ${what}: p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`);
  of(
    'accepted to ready on the node',
    deployed.map(({ readyMs }) => readyMs),
  );
  of(
    'sent to ready on the node',
    deployed.map(({ sinceSentMs }) => sinceSentMs),
  );
  of(
    "accepted to ready in the controller's view",
    deployed.map(({ viewedMs }) => viewedMs),
  );
  of('bare', bare);
}

async function knowsDocker({ control, workers }: BenchFabric): Promise<void> {
  for (const { name } of workers) {
    while (!(await control.client.node(name)).engines.includes('docker')) await delay(50);
  }
}

async function dockerFigure(run: BenchRun, fabric: BenchFabric, engine: BenchEngine): Promise<Figure> {
  await knowsDocker(fabric);
  const rounds = await inTurns(run, fabric, 'docker', engine.bareMs);
  tell(run, 'docker', rounds);
  const added = rounds.deployed.map(({ readyMs }, round) => readyMs - (rounds.bare[round] ?? Number.NaN));
  return atMost(budgetDockerMs, {
    name: 'deploy.docker.added.p50',
    value: median(added),
    unit: 'ms',
    against: { name: 'create and start by the bare engine, p50 ms', value: median(rounds.bare) },
  });
}

export const deploy: Bench = async (run) => {
  const engine = await startEngine(run);
  const fabric = await startFabric(run, { workers: 2, env: { DOCKER_HOST: engine?.host ?? noEngine } });
  run.say('three nodes; deploying');
  const rounds = await inTurns(run, fabric, 'process', () => bareSpawnMs(listener));
  tell(run, 'process', rounds);
  const ready = rounds.deployed.map(({ readyMs }) => readyMs);
  const figures = [
    atMost(budgetP50Ms, {
      name: 'deploy.process.p50',
      value: median(ready),
      unit: 'ms',
      against: { name: 'bare spawn to accepting, p50 ms', value: median(rounds.bare) },
    }),
    atMost(budgetP99Ms, {
      name: 'deploy.process.p99',
      value: quantile(ready, 0.99),
      unit: 'ms',
      against: { name: 'bare spawn to accepting, p99 ms', value: quantile(rounds.bare, 0.99) },
    }),
  ];
  if (engine !== undefined) figures.push(await dockerFigure(run, fabric, engine));
  return { bench: 'deploy', figures };
};
