// What the calling workload of the tunnel bench is told to measure, and several paths measured in turns. Called by tunnel.ts and
// tunnel-paths.ts.

import { once } from 'node:events';
import { connect } from 'node:net';
import { median } from './figures.ts';
import { processorSeconds } from './processor-time.ts';
import type { BenchRun } from './run.ts';

export const gibibyte = 1024 ** 3;

export type Target = { host: string; port: number };
export type Order =
  | { measure: 'throughput'; bytes: number }
  | { measure: 'latency'; trips: number }
  | { measure: 'firstByte'; trips: number }
  | { measure: 'connections'; count: number; parallel: number }
  | { measure: 'hold'; count: number; parallel: number }
  | { measure: 'release' };

type Answer = { value?: number; error?: string };

/** Gives the calling workload one order. */
export async function order(client: Target, what: Order, target: Target): Promise<number> {
  const socket = connect(client);
  socket.on('error', () => undefined);
  socket.write(`${JSON.stringify({ ...what, ...target })}\n`);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  await once(socket, 'close');
  const answer = JSON.parse(Buffer.concat(chunks).toString() || '{"error":"no answer"}') as Answer;
  if (answer.value === undefined) throw new Error(`${what.measure} to ${target.host}:${target.port}: ${answer.error}`);
  return answer.value;
}

export interface Path {
  target: Target;
  /** The processes that carry it. */
  carriers?: Record<string, number>;
  /** Makes the target lead this way; what comes first on a new way is not measured. */
  take?: () => Promise<void>;
}

export interface Turns {
  /** One for each round, by path. */
  values: Map<string, number[]>;
  /** Of all carriers of the path together, for `of` of what was measured; NaN where there is no /proc. */
  processor: Map<string, number>;
}

/** What the processor time of a measurement is told for: `of` of them are one of `per`. */
export type Cost = { of: number; per: string };

/** All paths in turns, another one first in each round; without what the first round gave, which warms up. */
export async function inTurns(
  run: BenchRun,
  { client, paths, rounds }: { client: Target; paths: Readonly<Record<string, Path>>; rounds: number },
  what: Order,
  cost: Cost,
): Promise<Turns> {
  const names = Object.keys(paths);
  const spent = new Map<string, Record<string, number>>(names.map((name) => [name, {}]));
  const values = new Map<string, number[]>(names.map((name) => [name, []]));
  // A brief run measures nothing: it need not warm up.
  for (let round = run.brief ? 1 : 0; round <= rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] ?? '';
      const path = paths[name];
      if (path === undefined) continue;
      run.signal.throwIfAborted();
      await path.take?.();
      const carriers = Object.entries(path.carriers ?? {});
      const before = await Promise.all(carriers.map(([, pid]) => processorSeconds(pid)));
      const value = await order(client, what, path.target);
      const after = await Promise.all(carriers.map(([, pid]) => processorSeconds(pid)));
      if (round === 0) continue;
      values.get(name)?.push(value);
      const sums = spent.get(name) ?? {};
      for (const [index, [who]] of carriers.entries())
        sums[who] = (sums[who] ?? 0) + (after[index] ?? Number.NaN) - (before[index] ?? Number.NaN);
    }
  }
  const processor = new Map<string, number>();
  for (const [name, list] of values) {
    const each = list.map((one) => one.toFixed(0)).join(' ');
    run.say(`${what.measure}, ${name}: median ${median(list).toFixed(0)}, ${each}`);
    const sums = Object.entries(spent.get(name) ?? {}).map(([who, sum]) => [who, (sum * cost.of) / rounds] as const);
    if (sums.length === 0) continue;
    processor.set(
      name,
      sums.reduce((all, [, one]) => all + one, 0),
    );
    const told = sums.map(([who, sum]) => `${who} ${sum.toFixed(2)}`).join(', ');
    run.say(`${what.measure}, ${name}: processor seconds ${cost.per}: ${told}`);
  }
  return { values, processor };
}

/** What one path has to another in the same round, in the median. */
export function beside(
  { values }: Turns,
  one: string,
  other: string,
  compare: (one: number, other: number) => number,
): number {
  const others = values.get(other) ?? [];
  return median((values.get(one) ?? []).map((value, round) => compare(value, others[round] ?? Number.NaN)));
}

export const middle = ({ values }: Turns, name: string): number => median(values.get(name) ?? []);
