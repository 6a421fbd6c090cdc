// Three nodes: the controller's graph has each link with what it costs and carries, as both ends say, an edge node tells of its own, and a node
// that is gone is told with what is known of it.

import test from 'ava';
import type { TopologyView } from '../../control/topology.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

test('links with cost and traffic, the ways over them, and a node that went away', async (t) => {
  const step = tell(t);
  const { control, edges } = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const [near, gone] = edges as [FabricNode, FabricNode];

  await step('both links are up, as both ends say, with cost and bytes', async () => {
    const view = await waitFor('costs and bytes of both links', async () => {
      const topology = await selvedgeJson<TopologyView>(control.dataFolder, 'topology');
      const uplinks = topology.links.filter(({ nodes }) => nodes.includes('control'));
      const told = uplinks.filter(({ state, costMicroseconds, bytes }) => state === 'up' && costMicroseconds && bytes);
      if (told.length < 2) throw new Error(JSON.stringify(topology.links));
      return topology;
    });
    t.like(view, { scope: 'fabric', node: 'control', islands: [], linksLeftOut: 0 });
    for (const { name } of edges) {
      const node = view.nodes.find((one) => one.name === name);
      t.like(node, { state: 'connected', router: 'edge', route: { through: [] } });
    }
    t.true(view.links.every(({ bytes = [0, 0] }) => bytes[0] > 0 && bytes[1] > 0));
    const { out } = await selvedge(control.dataFolder, 'topology');
    t.regex(out, /control - edge-1 +up +\d+\.\d\d? ms/);
    t.regex((await selvedge(control.dataFolder, '-o', 'dot', 'topology')).out, /^graph "e2e" \{/);
  });

  await step('an edge node tells of what it knows', async () => {
    const own = await selvedgeJson<TopologyView>(near.dataFolder, 'topology');
    t.like(own, { scope: 'node', node: 'edge-1' });
    t.true(own.links.some(({ nodes, state }) => nodes.includes('control') && state === 'up'));
  });

  await step('a node that is gone is an island, heard last when it was there', async () => {
    const before = Date.now();
    await gone.daemon.kill('SIGKILL');
    const view = await waitFor('its links to be gone', async () => {
      const topology = await selvedgeJson<TopologyView>(control.dataFolder, 'topology');
      return topology.islands.length === 2 ? topology : undefined;
    });
    t.deepEqual(view.islands.at(-1), ['edge-2']);
    const node = view.nodes.find(({ name }) => name === 'edge-2');
    t.like(node, { state: 'unreachable', route: undefined });
    t.true((node?.lastSeenAt ?? 0) >= before);
    t.regex((await selvedge(control.dataFolder, 'topology')).out, /edge-2 +unreachable/);
  });
});
