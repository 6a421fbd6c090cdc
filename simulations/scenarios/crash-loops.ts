// Hundreds of instances of one node crash again and again, and one does so once: restarts spread over time, and the one is back as
// soon as if it were alone.

import type { Scenario } from '../scenario.ts';
import { createSimApplication } from '../sim-application.ts';

const limitMs = 60_000;
const minuteMs = 60_000;
/** Wide bounds: with so many an even spread makes two or three a second at the cap of five minutes. */
const busiestSecondMax = 20;

export interface CrashLoopsSettings {
  looping: number;
  /** By then every wait has reached its cap of five minutes. */
  settledMs: number;
  watchedMs: number;
}

export const crashLoops =
  (
    { looping, settledMs, watchedMs }: CrashLoopsSettings = {
      looping: 500,
      settledMs: 12 * minuteMs,
      watchedMs: 8 * minuteMs,
    },
  ): Scenario =>
  async ({ box, clock, until, note }) => {
    /** The calm one runs for so long, crashes, and runs on. */
    const calmMs = settledMs + watchedMs / 2;
    const one = box('one');
    await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
    await until('the founder is a member', () => one.node().member() !== undefined, limitMs);
    const controller = one.node().member()?.controller;
    if (controller === undefined) throw new Error('one is no controller');

    await controller.apply.apply(createSimApplication('calm', { worker: { command: [`crash-then-run:1@${calmMs}`] } }));
    await controller.apply.apply(
      createSimApplication('storm', { worker: { command: ['exit:1@50'], replicas: looping } }),
    );
    const listed = async () => (await one.engine.list()).filter(({ instance }) => instance.startsWith('default.storm'));
    await until('all have been tried', async () => (await listed()).length === looping, limitMs);
    await clock.advance(settledMs);

    note('minutes of restarts');
    const launchedAt = new Map<string, number>();
    const perSecond = new Map<number, number>();
    let calmEndedAt: number | undefined;
    let calmBackMs: number | undefined;
    const endMs = clock.now() + watchedMs;
    while (clock.now() < endMs) {
      await clock.advance(1_000);
      for (const { instance, startedAt, exit } of await one.engine.list()) {
        if (instance.startsWith('default.calm')) {
          if (exit !== undefined) calmEndedAt = exit.at;
          else if (calmEndedAt !== undefined) calmBackMs ??= startedAt - calmEndedAt;
        } else if (launchedAt.get(instance) !== startedAt) {
          if (launchedAt.has(instance)) {
            const second = Math.floor(startedAt / 1_000);
            perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
          }
          launchedAt.set(instance, startedAt);
        }
      }
    }
    const restarts = [...perSecond.values()].reduce((sum, count) => sum + count, 0);
    const busiestSecond = Math.max(...perSecond.values());
    // Each is tried at least every five minutes; spread evenly that is two or three a second.
    if (restarts < (looping * watchedMs) / 300_000 / 1.1) throw new Error(`only ${restarts} restarts: some gave up`);
    if (busiestSecond > busiestSecondMax) throw new Error(`${busiestSecond} restarts in one second`);
    if (calmBackMs === undefined) throw new Error('the calm one never came back');
    if (calmBackMs > 1_000) throw new Error(`the calm one was back after ${calmBackMs} ms`);
    await one.stop();
    return { restarts, busiestSecond, calmBackMs };
  };
