// A connection that is idle for hours, on a clock that the test moves: sockets, TLS and HTTP/2 are real, hours pass in seconds.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import test from 'ava';
import { tunnelSweepMs } from '../../mesh/limits.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { skip } from '../skip.ts';
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

/** Local port and timer of each TCP socket of this box, as the kernel tells them (proc(5), net/tcp): 2 is keep-alive. */
async function timersOf(port: number): Promise<number[]> {
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n').slice(1);
  return lines.flatMap((line) => {
    const [, local = '', remote = '', state, , timer = ''] = line.trim().split(/\s+/);
    const ports = [local, remote].map((address) => Number.parseInt(address.split(':')[1] ?? '', 16));
    return state === '01' && ports[0] === port ? [Number(timer.split(':')[0])] : [];
  });
}

test('both ends of a call have keep-alive where they meet a workload', async (t) => {
  if (process.platform !== 'linux') return skip(t, 'only Linux tells the timers of sockets');
  const node = await startNode(t, fabric, fabric.node('alone', [monitor, sensor]));
  const caller = await node.attach(monitor, { calls: [callable('sensor')] });
  await node.attach(sensor, { listens: { 8080: await serve(t, (socket) => void socket.pipe(socket)) } });
  node.network.setEndpoints([node.endpoint(sensor)]);
  const socket = await dial(t, caller.address('sensor'));
  socket.write('x');
  await once(socket, 'data');
  // The node's end of the caller's connection: where that one is connected to.
  t.true((await timersOf(socket.remotePort ?? 0)).includes(2));
});
