// A connection that is idle for hours, on a clock that the test moves: sockets, TLS and HTTP/2 are real, hours pass in seconds.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import test from 'ava';
import { tunnelSweepMs } from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createTestFabric } from './credentials.ts';
import { callable, dial, instanceOf, link, nameOf, serve, startNode } from './tunnel-fixture.ts';

const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();

test('a connection on which nothing is said for hours lives on, over a renewal of both certificates', async (t) => {
  const clock = createSimClock(createSystemClock().now());
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor, sensor]), { clock });
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]), { clock });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const ended: string[] = [];
  const open: Socket[] = [];
  for (const [index, node] of [node1, node2].entries()) {
    await node.attach(sensor, { index, listens: { 8080: await serve(t, (socket) => void socket.pipe(socket)) } });
    link(node1, node2);
    node1.network.setEndpoints([node.endpoint(sensor, { index })]);
    const socket = await dial(t, caller.address('sensor'));
    socket.once('close', () => ended.push(`the one to instance ${index}`));
    open.push(socket);
  }
  const sayThroughAll = async (text: string) => {
    t.deepEqual(ended, [], text);
    for (const socket of open) {
      socket.write(text);
      t.is(String((await once(socket, 'data'))[0]), text);
    }
  };
  const idle = async (hours: number) => {
    // The nodes look at the session every second, and ask its other end for a sign of life after five seconds of silence.
    for (let second = 0; second < hours * 3_600 && ended.length === 0; second += 1) await clock.advance(tunnelSweepMs);
  };
  await sayThroughAll('at first');
  await idle(2);
  await sayThroughAll('after two hours');
  node1.network.renew(caller.instance, node1.issue(monitor));
  node2.network.renew(instanceOf(sensor, 1), node2.issue(sensor));
  await idle(2);
  await sayThroughAll('two hours after both were renewed');
  t.is(node1.outcomes.length, 2, 'over the same connections');
});
