// How long a new box takes from the start of `up --token` until it obeys its first plan: real daemons on loopback, found by
// mDNS, one after the other. Beside it the start of the same Node.js with nothing in it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { startFabric } from './fabric.ts';
import { atMost, median, quantile } from './figures.ts';
import { startNode } from './node-process.ts';
import type { Bench } from './run.ts';

const joinsUsual = 10;
const budgetMs = 2_000;

async function emptyNodeMs(): Promise<number> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' });
  await once(child, 'exit');
  return performance.now() - startedAt;
}

export const join: Bench = async (run) => {
  const { control, folder, token } = await startFabric(run, { workers: 0 });
  const joins: number[] = [];
  const empty: number[] = [];
  const steps = new Map<string, number[]>();
  for (let number = 1; number <= (run.rounds ?? joinsUsual); number++) {
    const node = startNode(run, { name: `box-${number}`, folder, token: await token() });
    const obeyed = await node.event('its first plan', ({ type }) => type === 'plan-obeyed');
    const tookMs = obeyed.heardAt - node.startedAt;
    joins.push(tookMs);
    for (const { type, heardAt } of node.events) {
      if (type !== 'problem') steps.set(type, [...(steps.get(type) ?? []), heardAt - node.startedAt]);
    }
    empty.push(await emptyNodeMs());
    run.say(`join ${number}: ${tookMs.toFixed(0)} ms`);
    // It leaves before the next one comes, so that each joins the same fabric on a box as busy as before.
    await node.end();
  }
  await control.end();
  for (const [type, values] of steps) run.say(`${type}: p50 ${median(values).toFixed(0)} ms after exec`);
  run.say(`join: p50 ${median(joins).toFixed(0)} ms, p90 ${quantile(joins, 0.9).toFixed(0)} ms`);
  return {
    bench: 'join',
    figures: [
      atMost(budgetMs, {
        name: 'join.p50',
        value: median(joins),
        unit: 'ms',
        against: { name: 'empty Node.js, exec to exit, p50 ms', value: median(empty) },
      }),
    ],
  };
};
