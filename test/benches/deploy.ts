// How long an application takes from the accepted `apply` until its instance is ready: three real nodes, process engine, TCP
// readiness probe as it is without any settings, on a worker, so that the plan travels. In the same rounds the same program is
// started by hand until it accepts a connection.

import { fileURLToPath } from 'node:url';
import { bareSpawnMs } from './bare-spawn.ts';
import { type BenchFabric, isReady, startFabric } from './fabric.ts';
import { atMost, median, quantile } from './figures.ts';
import type { Bench } from './run.ts';

const roundsUsual = 100;
/** Before anything counts: code is compiled, certificates are issued, folders are made. */
const warmUps = 5;
const budgetP50Ms = 60;
const budgetP99Ms = 200;
const listener = fileURLToPath(new URL('workloads/listener.js', import.meta.url));

const application = (name: string, node: string): unknown => ({
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name },
  spec: {
    microservices: [
      {
        name: 'listener',
        engine: 'process',
        command: [process.execPath, listener],
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

async function deployOnce({ control, workers }: BenchFabric, number: number): Promise<Deployed> {
  const name = `round-${number}`;
  const instance = `default.${name}.listener.0`;
  const worker = workers[number % workers.length];
  if (worker === undefined) throw new Error('there is no worker');
  const from = worker.events.length;
  const sentAt = performance.now();
  await control.client.apply([application(name, worker.name)], ['bench']);
  const acceptedAt = performance.now();
  const ready = await worker.event(`${instance} to be ready`, isReady(instance), from);
  while (!(await control.client.application('default', name)).ready) await Promise.resolve();
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
  while ((await client.node(node)).instances.length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
}

export const deploy: Bench = async (run) => {
  const fabric = await startFabric(run, { workers: 2 });
  run.say('three nodes; deploying');
  const bare: number[] = [];
  const deployed: Deployed[] = [];
  const rounds = run.rounds ?? roundsUsual;
  for (let number = 1; number <= warmUps + rounds; number++) {
    run.signal.throwIfAborted();
    const bareMs = await bareSpawnMs(listener);
    const one = await deployOnce(fabric, number);
    if (number <= warmUps) continue;
    bare.push(bareMs);
    deployed.push(one);
    if (number % 10 === 0)
      run.say(`round ${number - warmUps}: ${one.readyMs.toFixed(1)} ms, bare ${bareMs.toFixed(1)} ms`);
  }
  for (const step of new Set(deployed.flatMap(({ steps }) => [...steps.keys()]))) {
    const values = deployed.flatMap(({ steps }) => steps.get(step) ?? []);
    run.say(`${step}: p50 ${median(values).toFixed(1)} ms after the answer (${values.length} rounds)`);
  }
  const say = (what: string, values: number[]): void =>
    run.say(`${what}: p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`);
  say(
    'accepted to ready on the node',
    deployed.map(({ readyMs }) => readyMs),
  );
  say(
    'sent to ready on the node',
    deployed.map(({ sinceSentMs }) => sinceSentMs),
  );
  say(
    "accepted to ready in the controller's view",
    deployed.map(({ viewedMs }) => viewedMs),
  );
  say('bare spawn to accepting', bare);
  run.say('docker: no engine answers; its figures are left out');
  const ready = deployed.map(({ readyMs }) => readyMs);
  return {
    bench: 'deploy',
    figures: [
      atMost(budgetP50Ms, {
        name: 'deploy.process.p50',
        value: median(ready),
        unit: 'ms',
        against: { name: 'bare spawn to accepting, p50 ms', value: median(bare) },
      }),
      atMost(budgetP99Ms, {
        name: 'deploy.process.p99',
        value: quantile(ready, 0.99),
        unit: 'ms',
        against: { name: 'bare spawn to accepting, p99 ms', value: quantile(bare, 0.99) },
      }),
    ],
  };
};
