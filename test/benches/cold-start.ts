// How long a worker without a controller takes from its start until all that it should run is ready: ten programs that depend on
// nothing, process engine, TCP readiness probe. In the same rounds a shell script starts the same programs at once.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pickFreePort } from '../../node-runtime/free-port.ts';
import { accepts } from './bare-spawn.ts';
import { isReady, startFabric } from './fabric.ts';
import { median, unbudgeted } from './figures.ts';
import { startNode } from './node-process.ts';
import type { Bench } from './run.ts';

const roundsUsual = 10;
const count = 10;
const deadlineMs = 60_000;
const host = '127.0.0.1';
const listener = fileURLToPath(new URL('workloads/listener.js', import.meta.url));
const names = Array.from({ length: count }, (_, index) => `listener-${index}`);
const script = 'for port; do HOST=127.0.0.1 PORT=$port "$NODE" "$LISTENER" & done; wait';

const application: unknown = {
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'cold' },
  spec: {
    microservices: names.map((name) => ({
      name,
      engine: 'process',
      command: [process.execPath, listener],
      ports: [{ name: 'raw', port: 9000 }],
      placement: { node: 'worker-1' },
      probes: { readiness: { tcp: { port: 'raw' } } },
    })),
  },
};

/** From the script's start until each port has accepted a connection, asked each millisecond. */
async function scriptMs(): Promise<number> {
  const taken = new Set<number>();
  for (const _ of names) taken.add(await pickFreePort(host, taken));
  const env = { PATH: process.env['PATH'], NODE: process.execPath, LISTENER: listener };
  const startedAt = performance.now();
  const child = spawn('sh', ['-c', script, 'sh', ...[...taken].map(String)], { stdio: 'ignore', env, detached: true });
  const exited = once(child, 'exit');
  try {
    for (const port of taken) {
      while (!(await accepts(port))) {
        if (performance.now() - startedAt > deadlineMs) throw new Error('the script’s programs do not accept');
        // Nothing tells when another program listens; the deadline is above.
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    return performance.now() - startedAt;
  } finally {
    // The script and its programs.
    process.kill(-(child.pid as number), 'SIGKILL');
    await exited;
  }
}

export const coldStart: Bench = async (run) => {
  const { control, workers, folder } = await startFabric(run, { workers: 1 });
  const [first] = workers;
  if (first === undefined) throw new Error('there is no worker');
  const instances = names.map((name) => `default.cold.${name}.0`);
  await control.client.apply([application], ['bench']);
  await Promise.all(instances.map((one) => first.event(`${one} to be ready`, isReady(one))));
  // Workloads end, the plan stays.
  await first.end();
  await control.end();
  run.say(`a worker with ${count} programs; its controller is gone`);
  const cold: number[] = [];
  const bare: number[] = [];
  const steps = new Map<string, number[]>();
  for (let round = 1; round <= (run.rounds ?? roundsUsual); round++) {
    run.signal.throwIfAborted();
    bare.push(await scriptMs());
    const node = startNode(run, { name: first.name, folder });
    const ready = await Promise.all(instances.map((one) => node.event(`${one} to be ready`, isReady(one))));
    const tookMs = Math.max(...ready.map(({ heardAt }) => heardAt)) - node.startedAt;
    cold.push(tookMs);
    const seen = new Set<string>();
    for (const { type, heardAt, ...detail } of node.events) {
      const step = type === 'instance' ? `first ${detail['state']}${detail['ready'] === true ? ', ready' : ''}` : type;
      if (seen.has(step) || type === 'problem') continue;
      seen.add(step);
      steps.set(step, [...(steps.get(step) ?? []), heardAt - node.startedAt]);
    }
    run.say(`round ${round}: ${tookMs.toFixed(0)} ms, the script ${bare.at(-1)?.toFixed(0)} ms`);
    await node.end();
  }
  for (const [step, values] of steps) run.say(`${step}: p50 ${median(values).toFixed(0)} ms after exec`);
  return {
    bench: 'cold-start',
    figures: [
      unbudgeted({
        name: 'cold-start.p50',
        value: median(cold),
        unit: 'ms',
        against: { name: 'a shell script, start to all accepting, p50 ms', value: median(bare) },
      }),
    ],
  };
};
