// How much memory an idle worker takes: a joined node with no work, after it has settled, by VmRSS in /proc/<pid>/status. The
// daemon alone; a workload's shim is measured beside it. In the same run an empty Node.js process.

import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { processesOf } from '../../control/cli/demo-folder.ts';
import { startFabric } from './fabric.ts';
import { atMost, median } from './figures.ts';
import { rssMb } from './resident.ts';
import type { Bench } from './run.ts';

const budgetMb = 110;
const settleMs = 15_000;
const looksUsual = 10;
const lookEveryMs = 1_000;

const shims = async (folder: string): Promise<number[]> => {
  const found: number[] = [];
  for (const pid of await processesOf(folder)) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.includes('/shim.sh')) found.push(pid);
  }
  return found;
};

export const memory: Bench = async (run) => {
  const { control, workers, folder, ready } = await startFabric(run, { workers: 1 });
  const worker = workers[0];
  if (worker === undefined) throw new Error('there is no worker');
  const empty = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
  run.atEnd(() => void empty.kill('SIGKILL'));
  const waitMs = run.brief ? 0 : settleMs;
  run.say(`a worker has joined; it settles for ${waitMs / 1_000} s`);
  await delay(waitMs, undefined, { signal: run.signal });
  const daemon: number[] = [];
  const beside: number[] = [];
  const controller: number[] = [];
  for (let look = 0; look < (run.rounds ?? looksUsual); look++) {
    daemon.push(await rssMb(worker.pid));
    beside.push(await rssMb(empty.pid ?? 0));
    controller.push(await rssMb(control.pid));
    await delay(lookEveryMs, undefined, { signal: run.signal });
  }
  run.say(`controller, idle: ${median(controller).toFixed(1)} MB`);
  const microservice = {
    name: 'sleeper',
    engine: 'process',
    command: ['sleep', '1000'],
    placement: { node: worker.name },
  };
  const manifest = {
    apiVersion: 'selvedge/v1',
    kind: 'Application',
    metadata: { name: 'idle' },
    spec: { microservices: [microservice] },
  };
  await control.client.apply([manifest], ['bench']);
  await ready('default.idle.sleeper.0');
  for (const pid of await shims(folder)) run.say(`shim of one process workload: ${(await rssMb(pid)).toFixed(1)} MB`);
  return {
    bench: 'memory',
    figures: [
      atMost(budgetMb, {
        name: 'memory.rss',
        value: median(daemon),
        unit: 'MB',
        against: { name: 'empty Node.js process, MB', value: median(beside) },
      }),
    ],
  };
};
