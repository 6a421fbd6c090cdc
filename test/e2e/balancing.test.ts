// Four instances on two nodes, and who of them is called: each policy is applied in turn to what runs, and restarts nothing; what is not
// ready, or does not accept, costs no call while there is another one, and an operator sees it.

import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { InstanceView } from '../../control/views.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const workload = (name: string): string => fileURLToPath(new URL(`workloads/${name}.js`, import.meta.url));

const manifest = (balancing: string): string => `
apiVersion: selvedge/v1
kind: Application
metadata: { name: balanced }
spec:
  microservices:
    - name: called
      engine: process
      command: [node, ${workload('deaf')}]
      ports: [{ name: http, port: 8080 }]
      placement: { labels: { selvedge/router: edge } }
      replicas: 4
      balancing: ${balancing}
      probes:
        readiness:
          exec: { command: [sh, -c, 'test ! -e unready'] }
          periodMs: 200
          failureThreshold: 1
          timeoutMs: 60000
    - name: asker
      engine: process
      command: [node, ${workload('asker')}]
      ports: [{ name: http, port: 8080 }]
      placement: { labels: { selvedge/router: edge } }
      replicas: 2
      dependsOn: [called]
`;

async function isRefused({ addresses: [listen] = [] }: InstanceView): Promise<boolean> {
  const socket = connect({ host: listen?.host ?? '', port: listen?.hostPort ?? 0 });
  try {
    await once(socket, 'connect');
    return false;
  } catch {
    return true;
  } finally {
    socket.destroy();
  }
}

const countsOf = (answers: readonly string[]): Record<string, number> => {
  const byAnswer = Map.groupBy(answers, (answer) => answer);
  return Object.fromEntries([...byAnswer].sort().map(([answer, list]) => [answer, list.length]));
};

test('each policy chooses among four instances on two nodes, without a restart and without a call that fails', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const { client } = fabric.control.daemon;

  const view = await step('four instances to call, two to ask', async () => {
    await fabric.apply(manifest('round-robin'));
    return fabric.ready('balanced');
  });
  const named = (name: string): InstanceView => {
    const found = view.instances.find((instance) => instance.name === `default.balanced.${name}`);
    if (found === undefined) throw new Error(`there is no ${name}`);
    return found;
  };
  const asker = named('asker.0');
  const near = fabric.edges.find(({ name }) => name === asker.node) as FabricNode;
  const called = [0, 1, 2, 3].map((index) => named(`called.${index}`));
  const each = called.map(({ node }, index) => `${index} ${node}`);
  const local = each.filter((answer) => answer.endsWith(` ${near.name}`));
  t.is(local.length, 2, 'two on each node');
  const file = ({ name, node }: InstanceView, what: string): string =>
    join(fabric.edges.find((edge) => edge.name === node)?.dataFolder ?? '', 'instances', name, what);

  async function ask(count: number, from: InstanceView = asker): Promise<string[]> {
    const [listen] = from.addresses ?? [];
    const answer = await fetch(`http://${listen?.host}:${listen?.hostPort}/${count}`);
    return (await answer.json()) as string[];
  }
  /** Applies it, and waits until calls go so. */
  async function balance(balancing: string, holds: (answers: string[]) => boolean): Promise<void> {
    await fabric.apply(manifest(balancing));
    await waitFor(`${balancing} to hold`, async () => {
      const answers = await ask(8);
      if (!holds(answers)) throw new Error(answers.join(', '));
      return true;
    });
  }
  const only = (wanted: readonly string[]) => (answers: readonly string[]) => {
    const counts = countsOf(answers);
    return wanted.every((answer) => counts[answer] === answers.length / wanted.length);
  };

  await step('round-robin is exactly even over both nodes', async () => {
    await waitFor('all four to be known where the asker is', async () => new Set(await ask(8)).size === 4);
    t.deepEqual(countsOf(await ask(40)), Object.fromEntries(each.map((answer) => [answer, 10])));
  });

  await step('closest and local first stay on the node, evenly', async () => {
    await balance('closest', only(local));
    await balance('round-robin', only(each));
    await balance('{ policy: round-robin, localFirst: true }', only(local));
  });

  await step('least connections, with nothing open, is even', () => balance('least-connections', only(each)));

  await step('sticky: each caller has one, and has it again after that was not ready', async () => {
    await balance('sticky', (answers) => new Set(answers).size === 1);
    const [home = ''] = await ask(1);
    t.deepEqual(countsOf(await ask(6)), { [home]: 6 });
    await waitFor('the same of the other caller', async () => new Set(await ask(6, named('asker.1'))).size === 1);
    const gone = called[Number(home[0])] as InstanceView;
    await writeFile(file(gone, 'unready'), '');
    await waitFor('another one to answer', async () => {
      const answers = await ask(6);
      t.false(answers.includes('failed'));
      return new Set(answers).size === 1 && answers[0] !== home;
    });
    await rm(file(gone, 'unready'));
    await waitFor('the first one to answer again', async () => only([home])(await ask(3)));
  });

  await step('an instance by its number, and the reason while it is not ready', async () => {
    const [two, three] = [called[2], called[3]] as [InstanceView, InstanceView];
    await balance('{ instance: 2 }', only([each[2] as string]));
    await balance('{ instance: 3 }', only([each[3] as string]));
    await writeFile(file(three, 'unready'), '');
    await waitFor('its calls to fail, and the operator to be told why', async () => {
      const answers = await ask(2);
      const { failingCalls = [] } = await client.instance(asker.name);
      const why = failingCalls.find(({ called: to }) => to === 'called:8080')?.reason;
      if (only(['failed'])(answers) && why === 'its instance 3 is not ready') return true;
      throw new Error(`${answers.join(', ')}; ${why}`);
    });
    t.is((await client.instance(two.name)).ready, true, 'others were ready');
    await rm(file(three, 'unready'));
    await waitFor('its calls to be answered', async () => only([each[3] as string])(await ask(2)));
    await waitFor('that to be told', async () => (await client.instance(asker.name)).failingCalls === undefined);
  });

  await step('one that is ready and does not accept is passed over, and seen', async () => {
    await balance('round-robin', only(each));
    const deaf = called.find(({ node }) => node !== near.name) as InstanceView;
    await writeFile(file(deaf, 'deaf'), '');
    // A call on its way while it stops would have been accepted by the kernel.
    await waitFor('it to listen no more', () => isRefused(deaf));
    await waitFor('it to be passed over', async () => {
      const answers = await ask(8);
      if (answers.includes('failed')) t.log(await client.instance(asker.name));
      t.false(answers.includes('failed'), 'no caller notices');
      const { passedOver = [], ready } = await client.instance(deaf.name);
      return ready && passedOver.some(({ by, port }) => by === near.name && port === 8080);
    });
    await rm(file(deaf, 'deaf'));
    await waitFor('it to be called again', async () => only(each)(await ask(8)));
    await waitFor('that to be told', async () => (await client.instance(deaf.name)).passedOver === undefined);
  });

  const after = await fabric.ready('balanced');
  const lives = ({ instances }: typeof after) => instances.map(({ name, pid, restarts }) => ({ name, pid, restarts }));
  t.deepEqual(lives(after), lives(view), 'nothing was restarted');
});
