// What an instance depends on fails for about a month, and then does not: it is tried all the time, and what waits for it runs within
// one wait of its return.

import type { Scenario } from '../scenario.ts';
import { createSimApplication } from '../sim-application.ts';

const limitMs = 60_000;
const dayMs = 86_400_000;
const backOffMsMax = 300_000;
/** How often it is asked why web waits. */
const lookEveryMs = 6 * 3_600_000;

/** Tries of one second each with waits of 150 to 300 seconds: 11,500 are some thirty days. */
export const deadDependency =
  (tries = 11_500): Scenario =>
  async ({ box, clock, until, note }) => {
    const one = box('one');
    await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
    await until('the founder is a member', () => one.node().member() !== undefined, limitMs);
    const controller = one.node().member()?.controller;
    if (controller === undefined) throw new Error('one is no controller');
    await controller.apply.apply(
      createSimApplication('shop', {
        // Ready two seconds after its start: it never lives to see it.
        store: {
          command: [`crash-then-run:${tries}@1000`],
          probes: { readiness: { tcp: { port: 'http' }, initialDelayMs: 2_000 } },
        },
        web: { command: ['run'], dependsOn: ['store'] },
      }),
    );
    const view = async (microservice: string) => controller.status.instance(`default.shop.${microservice}.0`);
    const beganAt = clock.now();
    await until('web waits', async () => (await view('web'))?.state === 'waiting', limitMs);

    note('weeks');
    const running = async (microservice: string) =>
      (await one.engine.list()).find(({ instance }) => instance === `default.shop.${microservice}.0`);
    let failedAt = clock.now();
    let nextLookAt = beganAt;
    while ((await running('web')) === undefined) {
      failedAt = (await running('store'))?.exit?.at ?? failedAt;
      if (clock.now() >= nextLookAt) {
        nextLookAt += lookEveryMs;
        const reason = (await view('web'))?.reason ?? '';
        const waits = (await view('store'))?.ready !== true && (await running('web')) === undefined;
        if (waits && !/store/.test(reason)) throw new Error(`web does not say why it waits: ${reason}`);
      }
      if (clock.now() - beganAt > 40 * dayMs) throw new Error('it was given up');
      await clock.advance(10_000);
    }
    const backWithinMs = clock.now() - failedAt;
    await until('web is ready', async () => (await view('web'))?.ready === true, limitMs);
    const deadDays = Math.round((failedAt - beganAt) / dayMs);
    if (deadDays < Math.floor(tries / 460)) throw new Error(`the dependency was dead for ${deadDays} days only`);
    if (backWithinMs > backOffMsMax + 60_000) throw new Error(`web ran ${backWithinMs} ms after the last failure`);
    await one.stop();
    return { deadDays, backWithinMs, restarts: (await view('store'))?.restarts ?? 0 };
  };
