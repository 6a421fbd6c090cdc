// The router that carries fails, three times in each of three ways, and the other one carries: new connections flow while it is still away, what
// was held through it ends with a reason, and what does not go through it goes on. Real daemons in network namespaces. How long it takes is
// logged here and judged by the bench `failover`.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { namespacesMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';
import { waitFor } from './fabric.ts';
import { tell } from './story.ts';
import { createTwoWays, failures, outageMs } from './two-ways.ts';

const missing = namespacesMissing();
const rounds = 3;

test('a router that is killed, cut off or frozen is gone round, and its return is no event for anybody', async (t) => {
  if (missing !== undefined) return skip(t, missing);
  const step = tell(t);
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-failover-'));
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const ways = await step('two networks, two routers between them, and calls', async () => {
    const made = await createTwoWays({ home: t, folder });
    t.teardown(() => void (t.passed || t.log(made.left.output().slice(-4_000))));
    await made.settled();
    return made;
  });
  for (const how of failures)
    for (let round = 1; round <= rounds; round += 1) {
      const router = await step(`${how} ${round}: both ways are up`, () => ways.settled());
      await step(`${how} ${round}: calls go the other way while ${router.name} is away`, async () => {
        const unlinked = ways.left.events.filter(({ type }) => type === 'unlinked').length;
        const linkWent = (await ways.linkedThrough())?.name === router.name;
        const failedAt = await ways.fail(how, router);
        const tookMs = await waitFor('a new connection', async () => outageMs(await ways.beats(), failedAt));
        t.log(`a new connection was answered ${tookMs} ms after ${router.name} was ${how}`);
        t.not((await ways.carrier()).name, router.name);

        const lostAt = await waitFor('the connection that was held through it to end', async () => {
          const { lost } = await ways.beats();
          return lost.find(({ name, at }) => name === 'far' && at >= failedAt)?.at;
        });
        // What the prober and what the daemon say are read one after the other.
        const reasons = await waitFor(`the loss of the link to ${router.name} to be told`, () => {
          const told = ways.left.events.filter(({ type }) => type === 'unlinked').slice(unlinked);
          const messages = told.map(({ message }) => message);
          return messages.some((message) => message.startsWith(`the link to ${router.name} is gone: `))
            ? messages
            : undefined;
        });
        t.log(`it ended after ${lostAt - failedAt} ms: ${reasons.join('; ')}`);
        if (linkWent)
          // The other side may have noticed first and linked through the other router before this side lost anything.
          await waitFor('the link to right to be gone with its way, or to go the other way', async () => {
            const gone = ways.left.events.filter(({ type }) => type === 'unlinked').slice(unlinked);
            const why = gone.map(({ message }) => message).find((message) => message.startsWith('the link to right '));
            if (why !== undefined) return why.startsWith('the link to right is gone: its way went through ');
            t.log('the link to right was made anew before it was gone');
            return ((await ways.linkedThrough())?.name ?? router.name) !== router.name;
          });
        await waitFor('another one to be held', async () => {
          const { held } = await ways.beats();
          return held.some(({ name, at }) => name === 'far' && at > lostAt);
        });
      });
      await step(`${how} ${round}: what does not go through it was not touched`, async () => {
        const since = Date.now();
        const { held, lost } = await waitFor('answers of the neighbour', async () => {
          const beats = await ways.beats();
          return beats.held.some(({ name, at }) => name === 'beside' && at > since) ? beats : undefined;
        });
        t.true(held.length > 0);
        t.deepEqual(
          lost.filter(({ name }) => name === 'beside'),
          [],
          'it is the same connection as at the start',
        );
      });
      await ways.mend(how, router);
    }
});
