// Runs the cases of one kind of hostile frame. A kind is one entry in kinds.ts: valid frames, how hostile ones are made of them, and an
// acceptor with an independent check beside it. Each case has a seed of its own, so that one alone can be run again.

import type { ExecutionContext } from 'ava';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { commit } from '../slice.ts';
import { createDraw, type Draw } from './draw.ts';
import { mutateBytes } from './mutate.ts';

export interface Verdict {
  accepted: boolean;
  /** What it should not have done: thrown another error, accepted what the independent check refuses, changed something after a refusal. */
  wrong?: string | undefined;
}

export interface HostileWorld {
  /** Frames that are accepted, each tried before the hostile ones and, when they can be taken twice, after them. */
  valid: readonly Uint8Array[];
  /** Left out: bytes of valid ones changed. */
  hostile?(draw: Draw): Uint8Array;
  take(frame: Uint8Array, draw: Draw): Verdict | Promise<Verdict>;
  close?(): void | Promise<void>;
}

export interface HostileKind {
  name: string;
  /** How many of all cases are of this kind, beside the shares of the others: few where one costs much. */
  share: number;
  /** What it starts is stopped when the test ends. */
  open(t: ExecutionContext): HostileWorld | Promise<HostileWorld>;
}

/** Far beyond what any frame costs on a busy box; what takes longer than this is work without bound. */
const caseMsMax = 30_000;

/** `SELVEDGE_SEED` is a seed, or `<seed>:<kind>:<case>` for one case alone. Otherwise every commit has another. */
export function chooseSeed(): { seed: string; only?: { kind: string; index: number } } {
  const given = process.env['SELVEDGE_SEED'];
  if (given !== undefined) {
    const [seed = '', kind, index] = given.split(':');
    return { seed, ...(kind !== undefined && { only: { kind, index: Number(index) } }) };
  }
  return { seed: commit() };
}

const shown = (frame: Uint8Array): string =>
  `${frame.length} bytes ${JSON.stringify(Buffer.from(frame.subarray(0, 300)).toString('latin1'))}`;

export async function runKind(
  t: ExecutionContext,
  { name, open }: HostileKind,
  { seed, first, end }: { seed: string; first: number; end: number },
): Promise<void> {
  const startedAt = performance.now();
  const world = await open(t);
  let accepted = 0;
  let slowestMs = 0;
  try {
    for (const [index, frame] of world.valid.entries()) {
      const verdict = await world.take(frame, createDraw(createSimRandom(`${seed}/${name}/valid/${index}`)));
      t.deepEqual(verdict, { accepted: true }, `${name}: the valid frame ${index} is accepted`);
    }
    for (let index = first; index < end; index++) {
      const draw = createDraw(createSimRandom(`${seed}/${name}/${index}`));
      const frame = world.hostile?.(draw) ?? mutateBytes(draw.pick(world.valid), world.valid, draw);
      const beganAt = performance.now();
      let verdict: Verdict;
      try {
        verdict = await world.take(frame, draw);
      } catch (error) {
        verdict = { accepted: false, wrong: `it threw ${error instanceof Error ? error.stack : String(error)}` };
      }
      const tookMs = performance.now() - beganAt;
      slowestMs = Math.max(slowestMs, tookMs);
      const wrong = verdict.wrong ?? (tookMs > caseMsMax ? `it took ${tookMs.toFixed(0)} ms` : undefined);
      if (wrong !== undefined)
        return t.fail(`${name}: ${wrong}\nagain: SELVEDGE_SEED=${seed}:${name}:${index}\nframe: ${shown(frame)}`);
      if (verdict.accepted) accepted++;
    }
  } finally {
    await world.close?.();
  }
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  t.log(
    `${name}: seed ${seed}, ${end - first} cases, ${accepted} accepted, ${seconds} s, slowest ${slowestMs.toFixed(0)} ms`,
  );
  t.true(end - first < 50 || accepted < end - first, `${name}: nothing hostile was refused`);
}
