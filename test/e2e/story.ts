// A test that is told in numbered steps: each is logged with its time, and a failure names the step.

import type { ExecutionContext } from 'ava';

/** A step may be silent for this long: daemons start and wait inside. */
const stepMs = 180_000;

export type Step = <T>(name: string, run: () => Promise<T>) => Promise<T>;

export function tell(t: ExecutionContext): Step {
  let number = 0;
  return async (name, run) => {
    number++;
    t.timeout(stepMs, `step ${number}: ${name}`);
    const title = `${String(number).padStart(2, '0')} ${name}`;
    const startedAt = performance.now();
    try {
      const result = await run();
      t.log(`${title} (${((performance.now() - startedAt) / 1_000).toFixed(1)} s)`);
      return result;
    } catch (error) {
      t.log(`${title}: failed`);
      throw error;
    }
  };
}
