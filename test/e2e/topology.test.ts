// Three nodes: the controller's graph has each link with what it costs and carries, as both ends say, an edge node tells of its own, services
// and the way of a call are told, and where it stops once a node is gone.

import test from 'ava';
import type { ServiceView } from '../../control/services.ts';
import type { TopologyView } from '../../control/topology.ts';
import type { TraceView } from '../../control/trace.ts';
import { selvedge, selvedgeJson } from './command.ts';
import { createFabric, type FabricNode, waitFor } from './fabric.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: hello }
spec:
  microservices:
    - { name: greeter, engine: process, command: [sleep, infinity], ports: [{ name: http, port: 8080 }], placement: { node: edge-2 } }
    - { name: visitor, engine: process, command: [sleep, infinity], placement: { node: edge-1 } }
`;

test('links with cost and traffic, the ways over them, whom a call reaches, and a node that went away', async (t) => {
  const step = tell(t);
  const fabric = await step('a controller and two edge nodes', () => createFabric(t, { edges: 2 }));
  const { control, edges } = fabric;
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
    t.regex(out, /control - edge-1 +up +[\d.]+ ms/);
    t.regex((await selvedge(control.dataFolder, '-o', 'dot', 'topology')).out, /^graph "e2e" \{/);
  });

  await step('an edge node tells of what it knows', async () => {
    const own = await selvedgeJson<TopologyView>(near.dataFolder, 'topology');
    t.like(own, { scope: 'node', node: 'edge-1' });
    t.true(own.links.some(({ nodes, state }) => nodes.includes('control') && state === 'up'));
  });

  await step('services, and the way of a call', async () => {
    await fabric.apply(manifest);
    await fabric.ready('hello');
    const [greeter] = await selvedgeJson<ServiceView[]>(control.dataFolder, 'services');
    t.like(greeter, { service: 'greeter', ready: 1, endpoints: [{ node: 'edge-2', ready: true }] });
    const trace = await waitFor('the call to have a way', async () => {
      const view = await selvedgeJson<TraceView>(control.dataFolder, 'trace', 'visitor', 'greeter:8080');
      if (!view.arrives) throw new Error(JSON.stringify(view));
      return view;
    });
    const [caller] = trace.callers;
    t.like(caller, { instance: 'default.hello.visitor.0', node: 'edge-1' });
    t.like(caller?.endpoints[0], { node: 'edge-2', called: true });
    const { status, out } = await selvedge(control.dataFolder, 'trace', 'edge-1', 'greeter');
    t.is(status, 0);
    t.regex(out, /greeter\.0 +edge-2 +yes +edge-1 > /);
    t.is((await selvedge(near.dataFolder, 'trace', 'visitor', 'greeter')).status, 1, 'a worker has no such documents');
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

  await step('a call to it stops there', async () => {
    const { status, out, error } = await selvedge(control.dataFolder, 'trace', 'visitor', 'greeter');
    t.is(status, 1);
    t.regex(out, /its node edge-2 was not heard since \d{4}-/);
    t.regex(error, /would not arrive/);
  });
});
