// Two boxes on one network: one founds a fabric, the other joins it with a token; an application runs on both; a day later
// its certificates have been renewed and nothing was restarted.

import type { Scenario } from '../scenario.ts';
import { createScenarioApplication } from '../sim-application.ts';

const joinLimitMs = 30_000;
const readyLimitMs = 30_000;
const dayMs = 86_400_000;

export const twoNodesJoin: Scenario = async ({ box, clock, until, note }) => {
  const one = box('one');
  const two = box('two');
  const startedAt = clock.now();

  note('one founds a fabric');
  const founder = await one.start({ found: true, fabricName: 'simulated', router: 'interior' });
  await until('the founder is a member', () => founder.member() !== undefined, joinLimitMs);
  const controller = founder.member()?.controller;
  if (controller === undefined) throw new Error('the founder is no controller');

  note('two joins with a token');
  const { token } = await controller.createToken({ uses: 1, ttlMs: 3_600_000, labels: {}, router: 'edge' });
  const joinedFrom = clock.now();
  const joiner = await two.start({ token });
  await until('two is a member', () => joiner.member() !== undefined, joinLimitMs);
  await until('two obeys a plan', async () => (await joiner.status()).nodes[0]?.version !== undefined, joinLimitMs);
  const joinMs = clock.now() - joinedFrom;

  note('an application is applied');
  const appliedAt = clock.now();
  await controller.apply.apply(createScenarioApplication('pair', 2));
  const isReady = async () => (await controller.status.application('default', 'pair'))?.ready === true;
  await until('both instances are ready', isReady, readyLimitMs);
  const readyMs = clock.now() - appliedAt;
  const pids = async () =>
    (await controller.status.application('default', 'pair'))?.instances.map(({ pid }) => pid).join();
  const before = await pids();

  note('a day passes');
  await clock.advance(dayMs);
  if ((await pids()) !== before) throw new Error('an instance was restarted');
  const { ok, problems } = await controller.status.status();
  if (!ok) throw new Error(`not all is well: ${problems.join('; ')}`);

  note('both stop');
  await two.stop();
  await one.stop();
  return { joinMs, readyMs, pids: before ?? '', totalMs: clock.now() - startedAt };
};
