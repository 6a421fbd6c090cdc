// What a daemon and its workloads hold, counted from outside (/proc) and, for timers and the heap, by a module that is loaded into the
// daemon before anything else. Called by soak.test.ts.

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './fabric.ts';

/** Counts of one daemon at one moment. */
export interface Resources {
  /** Of the daemon that was asked: another one starts from nothing. */
  pid: number;
  /** What V8 holds after it has collected everything, buffers included; 10^6 bytes. */
  heapMb: number;
  /** VmRSS after that, 10^6 bytes. */
  rssMb: number;
  descriptors: number;
  children: number;
  timers: number;
}

/** Writes a module into the folder that tells a daemon's active resources and memory in a file when SIGUSR2 comes; returns its environment. */
export async function createTeller(folder: string): Promise<{ env: Record<string, string> }> {
  const path = join(folder, 'teller.mjs');
  await writeFile(
    path,
    `import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', () => {
  const path = ${JSON.stringify(folder)} + '/told-' + process.pid;
  // What the first collection lets be finalized is gone after the second.
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  writeFileSync(path + '.new', JSON.stringify({ active: process.getActiveResourcesInfo(), bytes: heapUsed + external }));
  renameSync(path + '.new', path);
});
`,
  );
  return { env: { NODE_OPTIONS: `--import=file://${path}` } };
}

/** As the module of `createTeller` writes it. */
interface Told {
  active: string[];
  bytes: number;
}

async function tell(pid: number, folder: string): Promise<Told> {
  const path = join(folder, `told-${pid}`);
  await rm(path, { force: true });
  process.kill(pid, 'SIGUSR2');
  const told = await waitFor('the daemon to tell its timers', () => readFile(path, 'utf8').catch(() => undefined));
  return JSON.parse(told) as Told;
}

export async function resourcesOf(pid: number, folder: string): Promise<Resources> {
  const { active, bytes } = await tell(pid, folder);
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean);
  return {
    pid,
    heapMb: bytes / 1e6,
    rssMb: (kib * 1_024) / 1e6,
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
    children: children.length,
    timers: active.filter((kind) => kind === 'Timeout').length,
  };
}

/** How much more a count may be at the end than when it had warmed up: what comes and goes by itself (a query, a look, a keep-alive). */
const tolerated = { descriptors: 8, children: 2, timers: 12 };
/**
 * Growth from the first third of the samples to the last. What V8 holds grows by what it compiles of code that is used more often: 1 to 3 MB
 * in ten minutes, 5 with the first rounds after a start. LevelDB and the allocator take 10 to 12 MB more from the system meanwhile.
 */
const growthMbMax = { heapMb: 6, rssMb: 20 };

const median = (values: readonly number[]): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;

/** What grew too much from the first third of the samples to the last; each was taken when the same things ran. Pure. */
export function leaksIn(samples: readonly Resources[]): string[] {
  const third = Math.max(1, Math.floor(samples.length / 3));
  const grown = (what: keyof Resources): number =>
    median(samples.slice(-third).map((sample) => sample[what])) -
    median(samples.slice(0, third).map((sample) => sample[what]));
  const counts = (['descriptors', 'children', 'timers'] as const).flatMap((what) =>
    grown(what) > tolerated[what] ? [`${what} grew by ${grown(what)}`] : [],
  );
  const memory = (['heapMb', 'rssMb'] as const).flatMap((what) =>
    grown(what) > growthMbMax[what] ? [`${what} grew by ${grown(what).toFixed(1)}`] : [],
  );
  return [...counts, ...memory];
}
