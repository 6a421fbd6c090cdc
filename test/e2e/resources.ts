// What a daemon and its workloads hold, counted from outside (/proc) and, for timers, by a module that is loaded into the daemon before
// anything else. Called by soak.test.ts.

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './fabric.ts';

/** Counts of one daemon at one moment. */
export interface Resources {
  /** VmRSS, 10^6 bytes. */
  rssMb: number;
  descriptors: number;
  children: number;
  timers: number;
}

/** Writes a module into the folder that tells a daemon's active resources in a file when SIGUSR2 comes; returns its environment. */
export async function createTeller(folder: string): Promise<{ env: Record<string, string> }> {
  const path = join(folder, 'teller.mjs');
  await writeFile(
    path,
    `import { renameSync, writeFileSync } from 'node:fs';
process.on('SIGUSR2', () => {
  const path = ${JSON.stringify(folder)} + '/told-' + process.pid;
  writeFileSync(path + '.new', JSON.stringify(process.getActiveResourcesInfo()));
  renameSync(path + '.new', path);
});
`,
  );
  return { env: { NODE_OPTIONS: `--import=file://${path}` } };
}

async function timersOf(pid: number, folder: string): Promise<number> {
  const path = join(folder, `told-${pid}`);
  await rm(path, { force: true });
  process.kill(pid, 'SIGUSR2');
  const told = await waitFor('the daemon to tell its timers', () => readFile(path, 'utf8').catch(() => undefined));
  return (JSON.parse(told) as string[]).filter((kind) => kind === 'Timeout').length;
}

export async function resourcesOf(pid: number, folder: string): Promise<Resources> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean);
  return {
    rssMb: (kib * 1_024) / 1e6,
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
    children: children.length,
    timers: await timersOf(pid, folder),
  };
}

/** How much more a count may be at the end than when it had warmed up: what comes and goes by itself (a query, a look, a keep-alive). */
const tolerated = { descriptors: 8, children: 2, timers: 12 };
/** Growth of a daemon's memory from the first third of the samples to the last: V8 and LevelDB fill caches of this size once. */
const rssGrowthMbMax = 35;

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
  const rss = grown('rssMb');
  return rss > rssGrowthMbMax ? [...counts, `memory grew by ${rss.toFixed(1)} MB`] : counts;
}
