// A simulated world and its trace. Scenarios get it, act on it and wait in virtual time; simulate.ts runs them by name. One
// seed and one commit give one trace, bit for bit.

import { createHash } from 'node:crypto';
import type { TraceRecord } from '../node-runtime/actor-system.ts';
import { createSimClock, type SimClock } from './sim-clock.ts';
import { createSimNetwork, type SimNetwork } from './sim-mesh.ts';
import { createSimBox, type SimBox, type SimBoxWishes } from './sim-node.ts';
import { createSimRandom, type SimRandom } from './sim-random.ts';

export interface World {
  readonly clock: SimClock;
  readonly network: SimNetwork;
  box(name: string, wishes?: SimBoxWishes): SimBox;
  /** Chance of the scenario itself: a stream of its own. */
  readonly random: SimRandom;
  /** Waits in virtual time; throws ScenarioError with `what` when it does not come true within the limit. */
  until(what: string, condition: () => boolean | Promise<boolean>, limitMs: number): Promise<void>;
  /** Writes a step of the scenario itself into the trace. */
  note(text: string): void;
}

/** Returns what is worth telling of the run: names to numbers or texts. */
export type Scenario = (world: World) => Promise<Record<string, number | string>>;

export class ScenarioError extends Error {
  override readonly name = 'ScenarioError';
  readonly id = 'scenario-failed';
  readonly retryable = false;
  readonly action = 'run the same seed with --trace FILE and follow the last steps';
}

export interface ScenarioResult {
  ok: boolean;
  error?: string;
  /** Virtual milliseconds that passed. */
  virtualMs: number;
  records: number;
  /** SHA-256 (hex) of the trace's lines. */
  traceHash: string;
  results: Record<string, number | string>;
}

/** How much virtual time passes between two looks at a condition that has to be asked for. */
const lookEveryMs = 10;

/** Runs a scenario; every line of the trace (JSON, virtual ms from 0) goes to `onLine` as it comes. */
export async function runScenario(
  scenario: Scenario,
  { seed, onLine }: { seed: string; onLine?: (line: string) => void },
): Promise<ScenarioResult> {
  const clock = createSimClock();
  const random = createSimRandom(seed);
  const startMs = clock.now();
  const hash = createHash('sha256');
  let records = 0;
  const trace = ({ at, node, actor, event, state }: TraceRecord): void => {
    const line = JSON.stringify({ ms: at - startMs, node, actor, event, state });
    records += 1;
    hash.update(`${line}\n`);
    onLine?.(line);
  };
  const network = createSimNetwork({ clock, random: random.fork('network') });
  const boxes: SimBox[] = [];
  const world: World = {
    clock,
    network,
    random: random.fork('scenario'),
    box(name, wishes = {}) {
      const box = createSimBox({ ...wishes, name, clock, random: random.fork(name), network, trace });
      boxes.push(box);
      return box;
    },
    async until(what, condition, limitMs) {
      const end = clock.now() + limitMs;
      while (!(await condition())) {
        if (clock.now() >= end) throw new ScenarioError(`not within ${limitMs} ms: ${what}`);
        await clock.advance(lookEveryMs);
      }
    },
    note: (text) => trace({ at: clock.now(), node: '', actor: 'scenario', event: text, state: '' }),
  };
  let outcome: Pick<ScenarioResult, 'ok' | 'error' | 'results'>;
  try {
    outcome = { ok: true, results: await scenario(world) };
  } catch (error) {
    outcome = { ok: false, error: error instanceof Error ? error.message : String(error), results: {} };
  }
  const virtualMs = clock.now() - startMs;
  const traceHash = hash.digest('hex');
  for (const box of boxes) box.crash();
  return { ...outcome, virtualMs, records, traceHash };
}
