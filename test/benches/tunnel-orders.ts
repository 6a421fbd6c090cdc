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
  | { measure: 'connections'; seconds: number; parallel: number }
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

/** What the processor time of a measurement is told for: `of` of what gave this value in so many seconds are one of `per`. */
export type Cost = { of: (value: number, seconds: number) => number; per: string };

/** All paths in turns, another one first in each round; what the first `warmUp` rounds gave is told, and does not count. */
export async function inTurns(
  run: BenchRun,
  {
    client,
    paths,
    rounds,
    warmUp = 1,
  }: { client: Target; paths: Readonly<Record<string, Path>>; rounds: number; warmUp?: number },
  what: Order,
  cost: Cost,
): Promise<Turns> {
  const names = Object.keys(paths);
  const spent = new Map<string, Record<string, number>>(names.map((name) => [name, {}]));
  const values = new Map<string, number[]>(names.map((name) => [name, []]));
  const warming = new Map<string, number[]>(names.map((name) => [name, []]));
  // A brief run measures nothing: it need not warm up.
  const uncounted = run.brief ? 0 : warmUp;
  for (let round = 0; round < uncounted + rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] ?? '';
      const path = paths[name];
      if (path === undefined) continue;
      run.signal.throwIfAborted();
      await path.take?.();
      const carriers = Object.entries(path.carriers ?? {});
      const before = await Promise.all(carriers.map(([, pid]) => processorSeconds(pid)));
      const startedAt = performance.now();
      const value = await order(client, what, path.target);
      const seconds = (performance.now() - startedAt) / 1_000;
      const after = await Promise.all(carriers.map(([, pid]) => processorSeconds(pid)));
      (round < uncounted ? warming : values).get(name)?.push(value);
      if (round < uncounted) continue;
      const sums = spent.get(name) ?? {};
      const of = cost.of(value, seconds);
      for (const [index, [who]] of carriers.entries())
        sums[who] = (sums[who] ?? 0) + ((after[index] ?? Number.NaN) - (before[index] ?? Number.NaN)) * of;
    }
  }
  const processor = new Map<string, number>();
  const told = (list: readonly number[] = []): string => list.map((one) => one.toFixed(0)).join(' ');
  for (const [name, list] of values) {
    run.say(
      `${what.measure}, ${name}: median ${median(list).toFixed(0)}, ${told(list)} (before: ${told(warming.get(name))})`,
    );
    const sums = Object.entries(spent.get(name) ?? {}).map(([who, sum]) => [who, sum / rounds] as const);
    if (sums.length === 0) continue;
    processor.set(
      name,
      sums.reduce((all, [, one]) => all + one, 0),
    );
    const spentBy = sums.map(([who, sum]) => `${who} ${sum.toFixed(2)}`).join(', ');
    run.say(`${what.measure}, ${name}: processor seconds ${cost.per}: ${spentBy}`);
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
