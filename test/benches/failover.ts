// How long nothing new gets through when the router that carries is frozen, cut off or killed, until the other one carries: a new connection is
// tried each 25 ms, and what counts is the first answer to one that was begun after the failure. Five daemons in network namespaces, as root.

import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../e2e/fabric.ts';
import { type Beats, createTwoWays, type Failure, outageMs, type TwoWays } from '../e2e/two-ways.ts';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { atMost, median, quantile } from './figures.ts';
import type { Bench, BenchRun } from './run.ts';

const roundsUsual = 50;
/** Design, section 12. */
const budgetMs = 1_000;
/** Links that are new are given more time: each round adds so much to the rest before the first one, up to a minute. */
const restPerRoundMs = 2_000;
const restMsMax = 60_000;
/** Killed last: a daemon that has just started is given more time, and whoever is killed is noticed at once. */
const kinds: readonly Failure[] = ['frozen', 'cut', 'killed'];

interface Round {
  outageMs: number;
  /** A new connection before the failure, in the median. */
  usualMs: number;
}

function usualMs({ ok }: Beats, until: number): number {
  return median(ok.filter(({ endedAt }) => endedAt <= until).map(({ begunAt, endedAt }) => endedAt - begunAt));
}

async function once(run: BenchRun, ways: TwoWays, how: Failure): Promise<Round> {
  const router = await ways.settled();
  run.signal.throwIfAborted();
  const failedAt = await ways.fail(how, router);
  const beats = await waitFor('a new connection', async () => {
    const seen = await ways.beats();
    return outageMs(seen, failedAt) === undefined ? undefined : seen;
  });
  await ways.mend(how, router);
  return { outageMs: outageMs(beats, failedAt) ?? Number.POSITIVE_INFINITY, usualMs: usualMs(beats, failedAt) };
}

export const failover: Bench = async (run) => {
  const missing = namespacesMissing();
  if (missing !== undefined) throw new Error(missing);
  const count = run.rounds ?? roundsUsual;
  const home = {
    teardown: run.atEnd,
    log: (...words: unknown[]) => run.say(words.join(' ')),
  };
  const ways = await createTwoWays({
    ...{ home, folder: await run.folder(), script: run.program, nodeOptions: run.nodeOptions },
  });
  run.say('two networks, two routers between them, and calls');
  await delay(Math.min(restMsMax, count * restPerRoundMs), undefined, { signal: run.signal });
  const figures = [];
  for (const how of kinds) {
    const rounds: Round[] = [];
    for (let number = 1; number <= count; number += 1) {
      const round = await once(run, ways, how);
      rounds.push(round);
      run.say(`${how} ${number}: ${Math.round(round.outageMs)} ms`);
    }
    const outages = rounds.map((round) => round.outageMs);
    const against = { name: 'a new connection before, p50', value: median(rounds.map((round) => round.usualMs)) };
    for (const [part, share] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ] as const)
      figures.push(
        atMost(budgetMs, { name: `failover.${how}.${part}`, value: quantile(outages, share), unit: 'ms', against }),
      );
  }
  return { bench: 'failover', figures };
};
