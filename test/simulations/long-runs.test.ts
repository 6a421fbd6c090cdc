// The long scenarios: a slice with seeds that the commit chooses in `npm test`, all of it in `npm run soak`. One line says how many
// seeds, how much virtual and real time, and how many failed; a failure names its seed and how to run it again.

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { runScenario, type Scenario } from '../../simulations/scenario.ts';
import { crashLoops } from '../../simulations/scenarios/crash-loops.ts';
import { deadDependency } from '../../simulations/scenarios/dead-dependency.ts';
import { nodeDay } from '../../simulations/scenarios/node-day.ts';
import { commit, isSoak } from '../slice.ts';

const run = promisify(execFile);
const program = fileURLToPath(new URL('../../simulations/simulate.ts', import.meta.url));
const hourMs = 3_600_000;
const minuteMs = 60_000;

const long: { name: string; slice: Scenario; sliceSeeds: number; soakSeeds: number }[] = [
  {
    name: 'node-day',
    slice: nodeDay({ faultsMs: hourMs, meanPauseMs: 2 * minuteMs }),
    sliceSeeds: 3,
    soakSeeds: 200,
  },
  {
    name: 'crash-loops',
    slice: crashLoops({ looping: 30, settledMs: 12 * minuteMs, watchedMs: 8 * minuteMs }),
    sliceSeeds: 1,
    soakSeeds: 2,
  },
  { name: 'dead-dependency', slice: deadDependency(800), sliceSeeds: 1, soakSeeds: 2 },
];

interface Outcome {
  ok: boolean;
  error?: string;
  virtualMs: number;
}

/** Every commit looks at other seeds; one commit always at the same. */
const seedsOfCommit = (count: number): string[] => Array.from({ length: count }, (_, index) => `${commit()}-${index}`);

/** In a process of its own, so that both cores work; a process that fails prints its outcome all the same. */
async function simulate(name: string, seed: string): Promise<Outcome> {
  const options = { maxBuffer: 16 * 1024 * 1024 };
  const failed = (error: { stdout?: string }) => ({ stdout: error.stdout ?? '' });
  const { stdout } = await run(process.execPath, [program, name, '--json', '--seed', seed], options).catch(failed);
  const last = stdout.trim().split('\n').at(-1) ?? '';
  return last.startsWith('{')
    ? (JSON.parse(last) as Outcome)
    : { ok: false, error: 'it ended without an outcome', virtualMs: 0 };
}

async function runAll(t: ExecutionContext, name: string, seeds: string[], one: (seed: string) => Promise<Outcome>) {
  const startedAt = performance.now();
  const failures: string[] = [];
  let virtualMs = 0;
  const queue = [...seeds];
  const worker = async (): Promise<void> => {
    for (let seed = queue.shift(); seed !== undefined; seed = queue.shift()) {
      const outcome = await one(seed);
      virtualMs += outcome.virtualMs;
      if (!outcome.ok) failures.push(`seed ${seed}: ${outcome.error}`);
    }
  };
  await Promise.all(Array.from({ length: isSoak ? Math.min(2, availableParallelism()) : 1 }, worker));
  const realSeconds = ((performance.now() - startedAt) / 1_000).toFixed(0);
  t.log(
    `${name}: ${seeds.length} seeds, ${(virtualMs / hourMs).toFixed(1)} virtual hours in ${realSeconds} s, ${failures.length} failed`,
  );
  const again = isSoak ? `\nagain: npm run simulate -- ${name} --seed SEED --trace FILE` : '';
  t.deepEqual(failures, [], `${failures.join('\n')}${again}`);
}

for (const { name, slice, sliceSeeds, soakSeeds } of long) {
  test.serial(`${name}, ${isSoak ? 'in full' : 'a slice'}`, async (t) => {
    t.timeout(isSoak ? 3 * hourMs : 10 * minuteMs);
    if (isSoak) {
      const seeds = Array.from({ length: soakSeeds }, (_, index) => String(index + 1));
      await runAll(t, name, seeds, (seed) => simulate(name, seed));
    } else {
      await runAll(t, name, seedsOfCommit(sliceSeeds), (seed) => runScenario(slice, { seed }));
    }
  });
}
