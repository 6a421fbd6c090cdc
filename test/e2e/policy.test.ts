// Two applications on two nodes: denied with an event, allowed by a policy, also without a controller and after restarts, and closed
// when the policy is deleted.

import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { PolicyView } from '../../control/views.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, type FabricNode, toldReady, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const call = 'calls: [{ application: store, microservice: echo, port: 8080 }]';

const applications = (calls: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: store }
spec:
  microservices:
    - name: echo
      engine: process
      command: [node, ${workload('echo')}]
      ports: [{ name: echo, port: 8080 }]
      placement: { node: edge-1 }
      probes: { readiness: { tcp: { port: echo }, periodMs: 50 } }
---
apiVersion: selvedge/v1
kind: Application
metadata: { name: shop }
spec:
  microservices:
    - name: holder
      engine: process
      command: [node, ${workload('holder')}]
      ports: [{ name: http, port: 8081 }]
      ${calls}
      placement: { node: edge-2 }
      probes: { readiness: { tcp: { port: http }, periodMs: 50 } }
`;

const policy = `
apiVersion: selvedge/v1
kind: Policy
metadata: { name: shop-echoes }
spec:
  allow:
    - from: { application: shop, microservice: holder }
      to: { application: store, microservice: echo, ports: [8080] }
`;

interface Seen {
  echoes: number;
  held: number;
  broken: number;
  refused: number;
}

async function seenBy(edge: FabricNode): Promise<Seen> {
  const { addresses } = await edge.instance('holder');
  const response = await fetch(`http://${addresses?.[0]?.host}:${addresses?.[0]?.hostPort}/`);
  return (await response.json()) as Seen;
}

/** What it has seen once that is more than what it had seen before. */
async function further(edge: FabricNode, what: string, holds: (now: Seen, before: Seen) => boolean): Promise<Seen> {
  const before = await seenBy(edge);
  return waitFor(what, async () => {
    const now = await seenBy(edge);
    if (!holds(now, before)) throw new Error(JSON.stringify({ before, now }));
    return now;
  });
}

test('a policy opens and closes one application to another, and holds without a controller', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const { control } = fabric;
  const [one, two] = fabric.edges as [FabricNode, FabricNode];
  const file = join(dirname(control.dataFolder), 'policy.yaml');
  await writeFile(file, policy);
  const run = async (...args: string[]): Promise<string> => {
    const { status, out, error } = await selvedge(control.dataFolder, ...args);
    t.is(status, 0, error);
    return out;
  };
  const denials = async (): Promise<string[]> => {
    const events = await control.daemon.client.events({ limit: 1000 });
    return events.flatMap(({ type, subject, message }) =>
      type === 'call-denied' && subject === 'default.shop.holder' ? [message] : [],
    );
  };
  const echoes = (what: string): Promise<Seen> => further(two, what, (now, before) => now.echoes > before.echoes + 5);

  await step('without a policy each call is reset at once, and the denial is an event', async () => {
    await fabric.apply(applications(''));
    await fabric.ready('store');
    await fabric.ready('shop');
    await further(two, 'a name that is none', (now, before) => now.refused > before.refused);
    t.deepEqual(await denials(), []);
    const { pid } = await two.instance('holder');
    await fabric.apply(applications(call));
    t.is((await further(two, 'calls to be denied', (now, before) => now.refused > before.refused + 2)).echoes, 0);
    const [message] = await waitFor('the event', async () => {
      const told = await denials();
      return told.length > 0 ? told : undefined;
    });
    t.regex(
      message ?? '',
      /^its call of default\.store\.echo:8080 from edge-2 was denied on edge-2: no policy of project default allows the call/,
    );
    const toldBy = async (edge: FabricNode): Promise<string[]> =>
      ((await edge.status()).nodes[0]?.problems ?? []).flatMap(({ message: text }) =>
        /was denied/.test(text) ? [text] : [],
      );
    t.regex((await toldBy(two)).join(), /default\.shop\.holder to default\.store\.echo:8080/);
    t.deepEqual(await toldBy(one), [], 'nothing was dialled');
    t.is((await two.instance('holder')).pid, pid, 'it got the name while it ran');
  });

  await step('once a policy is applied the call is answered, and the connection stays', async () => {
    t.regex(await run('apply', file), /shop-echoes/);
    const { held } = await echoes('echoes');
    t.is(held, 1);
    t.like(await echoes('more echoes'), { held: 1, broken: 0 });
    const [view] = await selvedgeJson<PolicyView[]>(control.dataFolder, 'policies', 'list');
    t.like(view, { name: 'shop-echoes', generation: 1, missing: [] });
  });

  await step('both nodes start again without any controller, and still allow it', async () => {
    await control.daemon.kill('SIGKILL');
    await Promise.all([one, two].map((edge) => edge.daemon.kill('SIGKILL')));
    await Promise.all([one, two].map((edge) => edge.start()));
    await Promise.all([toldReady(one, 'echo'), toldReady(two, 'holder')]);
    await echoes('echoes without a controller');
    t.false((await two.status()).controllerReachable);
  });

  await step(
    'the controller is back and the policy is deleted: the open connection is closed, and no other begins',
    async () => {
      await control.start();
      await waitFor('everybody to be connected', async () =>
        (await control.status()).nodes.every(({ state }) => state === 'connected'),
      );
      await echoes('echoes with the controller back');
      const { broken, refused } = await seenBy(two);
      t.regex(await run('policies', 'delete', 'shop-echoes'), /deleted/);
      const closed = await waitFor('the connection to be closed', async () => {
        const now = await seenBy(two);
        return now.broken > broken && now.refused > refused + 2 ? now : undefined;
      });
      const later = await further(two, 'more refusals', (now, before) => now.refused > before.refused + 2);
      t.deepEqual([later.echoes, later.held, later.broken], [closed.echoes, closed.held, closed.broken]);
      await waitFor('the event', async () =>
        (await denials()).some((message) => /any more: 1 open one was closed/.test(message)),
      );
      t.is(closed.broken, closed.held);
    },
  );

  await step('applied again it is allowed again', async () => {
    await run('apply', file);
    await echoes('echoes again');
    t.regex(await run('delete', '-f', file), /Policy default\/shop-echoes deleted/);
    await further(two, 'refusals', (now, before) => now.refused > before.refused + 2);
    t.deepEqual(await selvedgeJson(control.dataFolder, 'policies', 'list'), []);
  });
});
