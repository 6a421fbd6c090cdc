// An operator revokes a node of a real fabric by the command line: it is out within seconds, its work moves, and it does not come back.

import test from 'ava';
import type { NodeView, RevokedView } from '../../control/views.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, instanceOf, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: work }
spec:
  microservices:
    - name: moves
      engine: process
      command: [sleep, '1000']
      placement: { labels: { selvedge/router: edge } }
    - name: stays
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }
`;

test('a revoked node is out within seconds, its work moves to the other worker, and it cannot come back', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and two workers', () => createFabric(t, { edges: 2 }));
  const { dataFolder } = fabric.control;
  const [out, other] = fabric.edges;
  if (out === undefined || other === undefined) throw new Error('there are no edge nodes');
  await step('work on the first', async () => {
    await fabric.apply(manifest);
    const application = await fabric.ready('work');
    t.is(instanceOf(application, 'moves').node, 'edge-1');
  });

  await step('`nodes revoke`: out within seconds', async () => {
    const peerId = (await selvedgeJson<NodeView>(dataFolder, 'nodes', 'describe', 'edge-1')).peerId;
    const revokedAt = Date.now();
    const { status, out: text } = await selvedge(dataFolder, 'nodes', 'revoke', 'edge-1', '--reason', 'stolen');
    t.is(status, 0);
    t.regex(text, /edge-1 \(12D3KooW\w+\) is revoked\./);
    t.regex(text, /default\.work\.moves\.0 goes to edge-2\./);
    t.regex(text, /default\.work\.stays\.0 has no other place/);
    for (const node of [fabric.control, other]) {
      await waitFor(`${node.name} to have no link to it`, async () => {
        const { nodes } = await node.status();
        return nodes.every(({ name, links }) => name === 'edge-1' || links.every((link) => link.peerId !== peerId));
      });
    }
    const tookMs = Date.now() - revokedAt;
    t.true(tookMs < 20_000, `${tookMs} ms, the command's own start included`);
    t.log(`${tookMs} ms`);
  });

  await step('its work runs on the other worker', async () => {
    await fabric.application(
      'work',
      (view) => instanceOf(view, 'moves').node === 'edge-2' && instanceOf(view, 'moves').ready,
      'moved',
    );
    const stays = instanceOf(await fabric.control.daemon.client.application('default', 'work'), 'stays');
    t.is(stays.state, 'unplaced');
    t.regex(stays.reason, /edge-1[^;]*is revoked/);
  });

  await step('it is shown as revoked', async () => {
    t.regex((await selvedge(dataFolder, 'nodes', 'list')).out, /edge-1 +revoked/);
    t.regex((await selvedge(dataFolder, 'nodes', 'describe', 'edge-1')).out, /revoked +.*stolen/);
    const events = await selvedgeJson<{ type: string; subject: string }[]>(dataFolder, 'events');
    t.is(events.filter(({ type, subject }) => type === 'node-revoked' && subject === 'edge-1').length, 1);
  });

  await step('again: nothing more happens; unknown nodes and the controller itself are refused', async () => {
    const again = await selvedgeJson<RevokedView>(dataFolder, 'nodes', 'revoke', 'edge-1');
    t.like(again, { already: true, reason: 'stolen' });
    for (const [name, message] of [
      ['nobody', /there is no node "nobody"/],
      ['control', /control is the controller that answers, and the last one/],
    ] as const) {
      const { status, error } = await selvedge(dataFolder, 'nodes', 'revoke', name);
      t.is(status, 1);
      t.regex(error, message);
    }
    const worker = await selvedge(other.dataFolder, 'nodes', 'revoke', 'edge-1');
    t.is(worker.status, 1);
    t.regex(worker.error, /is a worker/);
  });

  await step('a new start of it, and of everybody else, does not bring it back', async () => {
    const turnedAway = () =>
      fabric.control.daemon.events.some(({ type, message }) => type === 'problem' && /chain: revoked/.test(message));
    await out.daemon.kill('SIGTERM');
    await out.start();
    await waitFor('the controller to turn it away', turnedAway);
    await fabric.control.daemon.kill('SIGKILL');
    await fabric.control.start();
    await waitFor('the controller to turn it away again', turnedAway);
    const nodes = await selvedgeJson<NodeView[]>(dataFolder, 'nodes', 'list');
    t.is(nodes.find(({ name }) => name === 'edge-1')?.state, 'revoked');
    const own = await out.status();
    t.false(own.controllerReachable);
    t.deepEqual(own.nodes[0]?.links, []);
  });

  await step('`nodes remove` forgets it, and its key stays out', async () => {
    t.regex((await selvedge(dataFolder, 'nodes', 'remove', 'edge-1')).out, /its name is free/);
    t.notRegex((await selvedge(dataFolder, 'nodes', 'list')).out, /edge-1/);
    const before = fabric.control.daemon.events.filter(({ message }) => /chain: revoked/.test(message)).length;
    await waitFor('it to be turned away once more', () => {
      const now = fabric.control.daemon.events.filter(({ message }) => /chain: revoked/.test(message)).length;
      return now > before;
    });
  });
});
