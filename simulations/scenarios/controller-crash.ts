// The only controller dies again and again, in the middle of what it is doing, and comes back on its disk and store: what it
// acknowledged is there, nothing that runs is restarted, and what is applied next is placed.

import type { Scenario } from '../scenario.ts';
import { createScenarioApplication } from '../sim-application.ts';

const limitMs = 60_000;
/** From a call of `apply` to the crash: before anything of it is placed, and while it is. */
const crashAfterMs = [1, 5, 20, 100, 400];

export const controllerCrash: Scenario = async ({ box, clock, until, note }) => {
  const one = box('one');
  const two = box('two');
  const controller = () => {
    const running = one.node().member()?.controller;
    if (running === undefined) throw new Error('one is no controller');
    return running;
  };
  const application = (name: string) => controller().status.application('default', name);
  const isReady = (name: string) => async () => (await application(name))?.ready === true;
  const comeBack = async (): Promise<void> => {
    await one.start();
    await until('the controller is back', () => one.node().member() !== undefined, limitMs);
  };

  await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
  await until('the founder is a member', () => one.node().member() !== undefined, limitMs);
  const { token } = await controller().createToken({ uses: 1, ttlMs: 3_600_000, labels: {}, router: 'edge' });
  const joiner = await two.start({ token });
  await until('two is a member', () => joiner.member() !== undefined, limitMs);
  await controller().apply.apply(createScenarioApplication('first', 4));
  await until('first is ready', isReady('first'), limitMs);
  const pids = async () => (await application('first'))?.instances.map(({ pid }) => pid).join() ?? '';
  const before = await pids();

  let slowestMs = 0;
  for (const [index, afterMs] of crashAfterMs.entries()) {
    const name = `more-${index}`;
    note(`${name} is applied, and the controller dies ${afterMs} ms later`);
    await controller().apply.apply(createScenarioApplication(name, 2));
    await clock.advance(afterMs);
    one.crash();
    await clock.advance(2_000);
    const backAt = clock.now();
    await comeBack();
    await until(`${name} is ready`, isReady(name), limitMs);
    slowestMs = Math.max(slowestMs, clock.now() - backAt);
  }
  note('it dies without a pause');
  for (let time = 0; time < 3; time += 1) {
    one.crash();
    await comeBack();
  }
  await until('all is well', async () => (await controller().status.status()).ok, limitMs);
  if ((await pids()) !== before) throw new Error('an instance was restarted');
  const verdict = await controller().ledger.verify();
  if (!verdict.ok) throw new Error(`the ledger is broken at ${verdict.sequence}: ${verdict.reason}`);

  await two.stop();
  await one.stop();
  await clock.advance(2_000);
  return { crashes: crashAfterMs.length + 3, slowestMs, timersLeft: clock.pending() };
};
