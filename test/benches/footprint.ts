// What a node costs that only stands there: a worker with twenty process workloads that do nothing, for five minutes, beside a worker
// with none. Memory by VmRSS, processor time by /proc/<pid>/stat; the shims of the workloads are counted apart from the daemon.

import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { startFabric } from './fabric.ts';
import { atMost, median } from './figures.ts';
import { processorSeconds } from './processor-time.ts';
import { rssMb } from './resident.ts';
import type { Bench } from './run.ts';

const instances = 20;
const rssBudgetMb = 110;
const processorBudgetPercent = 1;
/** Two shells of at most a megabyte for each workload. */
const shimsBudgetMb = 2 * instances;
const settleMs = 15_000;
/** Five minutes. */
const looksUsual = 30;
const lookEveryMs = 10_000;

/** Processes of the folder's workloads: shims, and the workloads themselves. */
async function workloadsOf(folder: string): Promise<{ shimsMb: number; workloadsMb: number }> {
  let shimsMb = 0;
  let workloadsMb = 0;
  for (const pid of await processesOf(folder)) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const mb = await rssMb(pid).catch(() => 0);
    if (line.includes('/shim.sh')) shimsMb += mb;
    else if (line.startsWith('sleep')) workloadsMb += mb;
  }
  return { shimsMb, workloadsMb };
}

export const footprint: Bench = async (run) => {
  const { control, workers, folder, ready } = await startFabric(run, { workers: 2 });
  const [busy, idle] = workers;
  if (busy === undefined || idle === undefined) throw new Error('there are no two workers');
  const microservice = {
    ...{ name: 'sleeper', engine: 'process', command: ['sleep', '100000'], replicas: instances },
    placement: { node: busy.name },
  };
  const manifest = {
    ...{ apiVersion: 'selvedge/v1', kind: 'Application', metadata: { name: 'idle' } },
    spec: { microservices: [microservice] },
  };
  await control.client.apply([manifest], ['bench']);
  for (let index = 0; index < instances; index++) await ready(`default.idle.sleeper.${index}`);
  const waitMs = run.brief ? 0 : settleMs;
  run.say(`${instances} instances run; it settles for ${waitMs / 1_000} s`);
  await delay(waitMs, undefined, { signal: run.signal });

  const rss: number[] = [];
  const rssIdle: number[] = [];
  const beganAt = performance.now();
  const [begun, begunIdle] = [await processorSeconds(busy.pid), await processorSeconds(idle.pid)];
  for (let look = 0; look < (run.rounds ?? looksUsual); look++) {
    await delay(lookEveryMs, undefined, { signal: run.signal });
    rss.push(await rssMb(busy.pid));
    rssIdle.push(await rssMb(idle.pid));
  }
  const seconds = (performance.now() - beganAt) / 1_000;
  const percent = (from: number, to: number): number => ((to - from) / seconds) * 100;
  const busyPercent = percent(begun, await processorSeconds(busy.pid));
  const idlePercent = percent(begunIdle, await processorSeconds(idle.pid));
  const { shimsMb, workloadsMb } = await workloadsOf(folder);
  return {
    bench: 'footprint',
    figures: [
      atMost(rssBudgetMb, {
        ...{ name: 'footprint.rss', value: median(rss), unit: 'MB' },
        against: { name: 'a node without instances, MB', value: median(rssIdle) },
      }),
      atMost(processorBudgetPercent, {
        ...{ name: 'footprint.processor', value: busyPercent, unit: '% of a core' },
        against: { name: 'a node without instances, %', value: idlePercent },
      }),
      atMost(shimsBudgetMb, {
        ...{ name: 'footprint.shims', value: shimsMb, unit: 'MB' },
        against: { name: 'the workloads themselves, MB', value: workloadsMb },
      }),
    ],
  };
};
