// What the tunnel carries between two nodes: bytes, ends, resets and back-pressure, unchanged. Real sockets and certificates; once on
// connections of its own, once on a stream of a real link where nothing else is reached.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { eventually } from '../eventually.ts';
import { createTestFabric } from './credentials.ts';
import {
  answering,
  ask,
  callable,
  dial,
  link,
  linkedMeshes,
  nameOf,
  readAll,
  serve,
  startNode,
} from './tunnel-fixture.ts';

const mebibyte = 1024 * 1024;
const sensor = nameOf('sensor');
const monitor = nameOf('monitor');
const fabric = createTestFabric();

type Way = 'connection' | 'link';
/** `monitor` on node 1 may call `sensor` on node 2, which listens at `hostPort`. */
async function twoNodes(t: ExecutionContext, hostPort: number, way: Way) {
  const meshes = way === 'link' ? await linkedMeshes(t) : undefined;
  const node1 = await startNode(t, fabric, fabric.node('one', [monitor]), meshes && { mesh: meshes[0] });
  const node2 = await startNode(t, fabric, fabric.node('two', [sensor]), meshes && { mesh: meshes[1] });
  const caller = await node1.attach(monitor, { calls: [callable('sensor')] });
  const called = await node2.attach(sensor, { listens: { 8080: hostPort } });
  link(node1, node2, way === 'link' ? { addresses: [] } : {});
  node1.network.setEndpoints([node2.endpoint(sensor)]);
  return { node1, node2, caller, called, address: caller.address('sensor') };
}

/** A test for each of the two ways. */
function on(title: string, body: (t: ExecutionContext, way: Way) => Promise<void>): void {
  test(title, (t) => body(t, 'connection'));
  test(`over a link: ${title}`, (t) => body(t, 'link'));
}

on('an HTTP request to a name’s address reaches the instance on the other node', async (t, way) => {
  const server = createServer((incoming, response) =>
    response.end(`hello ${incoming.url} for ${incoming.headers.host}`),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { caller, node1 } = await twoNodes(t, (server.address() as AddressInfo).port, way);
  t.deepEqual(caller.hosts[0]?.names, ['sensor', 'sensor.cold-chain', 'sensor.cold-chain.default']);
  t.is(caller.env['SENSOR_URL'], `http://${caller.address('sensor')}:8080`);
  const url = `${caller.env['SENSOR_URL']}/rooms`;
  const outgoing = request(url, { headers: { host: 'sensor:8080' }, agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [import('node:http').IncomingMessage];
  t.is(Buffer.concat(await response.toArray()).toString(), 'hello /rooms for sensor:8080');
  t.like(node1.outcomes, [{ outcome: 'connected', endpoint: 'default.cold-chain.sensor.0', attempts: 1 }]);
});

on('64 MiB arrive unchanged in each direction at once', async (t, way) => {
  const block = Buffer.alloc(mebibyte, 'the quick brown fox');
  const blocks = 64;
  const expected = createHash('sha256');
  for (let index = 0; index < blocks; index += 1) expected.update(stamped(block, index));
  const digest = expected.digest('hex');

  async function send(socket: Socket): Promise<void> {
    for (let index = 0; index < blocks; index += 1) {
      if (!socket.write(stamped(block, index))) await once(socket, 'drain');
    }
    socket.end();
  }
  async function receive(socket: Socket): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of socket) hash.update(chunk as Buffer);
    return hash.digest('hex');
  }
  const atServer = Promise.withResolvers<string>();
  const port = await serve(t, (socket) => {
    void send(socket);
    receive(socket).then(atServer.resolve, atServer.reject);
  });
  const { address } = await twoNodes(t, port, way);
  const socket = await dial(t, address);
  void send(socket);
  t.is(await receive(socket), digest);
  t.is(await atServer.promise, digest);
});

function stamped(block: Buffer, index: number): Buffer {
  const copy = Buffer.from(block);
  copy.writeUInt32BE(index, 0);
  return copy;
}

on('a side that has ended goes on receiving: half-close is carried both ways', async (t, way) => {
  const steps: string[] = [];
  const port = await serve(t, async (socket) => {
    socket.write('greeting ');
    const heard = await new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('end', () => resolve(text));
    });
    steps.push(`server heard all: ${heard}`);
    socket.write('more ');
    socket.end('end');
  });
  const { address } = await twoNodes(t, port, way);
  t.is(await ask(t, address, 'question'), 'greeting more end');
  t.deepEqual(steps, ['server heard all: question']);

  const serverEndsFirst = await serve(t, (socket) => {
    socket.end('bye');
    socket.on('data', (chunk) => steps.push(`after its end the server heard: ${chunk}`));
  });
  const second = await twoNodes(t, serverEndsFirst, way);
  const socket = await dial(t, second.address);
  t.is(await readHalf(socket), 'bye');
  socket.end('still here');
  await eventually(() => steps.includes('after its end the server heard: still here'));
});

function readHalf(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    socket.once('end', () => resolve(text));
    socket.once('error', reject);
  });
}

on('a reset of the called side arrives as a reset, never as an end', async (t, way) => {
  const port = await serve(t, (socket) => {
    socket.write('half of the ans');
    socket.once('data', () => socket.resetAndDestroy());
  });
  const { address } = await twoNodes(t, port, way);
  for (let round = 0; round < 20; round += 1) {
    const socket = await dial(t, address);
    let ended = false;
    socket.once('end', () => {
      ended = true;
    });
    const error = once(socket, 'error');
    socket.once('data', () => socket.write('go'));
    if (round % 2 === 1) socket.once('data', () => socket.end());
    t.is(((await error.catch((cause: unknown) => [cause])) as [{ code: string }])[0].code, 'ECONNRESET');
    t.false(ended, 'a half answer must not look like a whole one');
  }
});

on('a reset of the calling side arrives as a reset', async (t, way) => {
  const seen: string[] = [];
  const port = await serve(t, (socket) => {
    socket.write('go');
    socket.resume();
    socket.on('error', (error: Error & { code?: string }) => seen.push(error.code ?? ''));
    socket.on('end', () => seen.push('end'));
  });
  const { address } = await twoNodes(t, port, way);
  const socket = await dial(t, address);
  await once(socket, 'data');
  socket.resetAndDestroy();
  await eventually(() => seen.length > 0);
  t.deepEqual(seen, ['ECONNRESET']);
});

on('two thousand resets in a row leave the session in use', async (t, way) => {
  const port = await serve(t, (socket) => {
    socket.on('data', (chunk) => (String(chunk) === 'reset' ? socket.resetAndDestroy() : socket.end('still here')));
  });
  const { address } = await twoNodes(t, port, way);
  const kept = await dial(t, address);
  for (let round = 0; round < 40; round += 1) {
    const batch = Array.from({ length: 50 }, async () => {
      const socket = await dial(t, address);
      const closed = new Promise((resolve) => {
        socket.once('close', resolve);
      });
      socket.write('reset');
      socket.resume();
      await closed;
    });
    await Promise.all(batch);
  }
  kept.write('hello');
  t.is(await readAll(kept), 'still here');
});

on('a slow reader stops the writer at a bounded amount, and other calls go on', async (t, way) => {
  let written = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const port = await serve(t, (socket) => {
    socket.once('data', (first) => {
      if (String(first) !== 'flood') return socket.end('quick');
      const write = () => {
        let more = true;
        while (more && !socket.destroyed) {
          more = socket.write(chunk);
          written += chunk.length;
        }
      };
      socket.on('drain', write);
      return write();
    });
  });
  const { address } = await twoNodes(t, port, way);
  const slow = await dial(t, address);
  slow.pause();
  slow.write('flood');
  let before = -1;
  await eventually(
    async () => {
      const stopped = written === before && written > 0;
      before = written;
      return stopped;
    },
    { everyMs: 300, what: 'the writer has stopped' },
  );
  // Two socket pairs of the kernel (up to 10 MB each) and one stream window; without back-pressure it would be gigabytes.
  t.true(written < 40 * mebibyte, `${written} bytes were taken`);
  t.is(await ask(t, address, 'ping'), 'quick');
});

on('many calls at once share one session', async (t, way) => {
  const port = await serve(t, (socket) => socket.pipe(socket));
  const { address, node1 } = await twoNodes(t, port, way);
  const answers = await Promise.all(Array.from({ length: 200 }, (_, index) => ask(t, address, `call ${index}`)));
  t.deepEqual(
    answers,
    Array.from({ length: 200 }, (_, index) => `call ${index}`),
  );
  t.is(node1.outcomes.filter(({ outcome }) => outcome === 'connected').length, 200);
});

on('calls beyond the streams of one session use another', async (t, way) => {
  const port = await serve(t, (socket) => socket.pipe(socket));
  const { address } = await twoNodes(t, port, way);
  const open: Socket[] = [];
  for (let batch = 0; batch < 6; batch += 1) {
    const dialled = await Promise.all(Array.from({ length: 100 }, () => dial(t, address)));
    await Promise.all(
      dialled.map(async (socket) => {
        const answer = once(socket, 'data');
        socket.write('here');
        await answer;
      }),
    );
    open.push(...dialled);
  }
  t.is(open.filter((socket) => !socket.destroyed).length, 600);
});

test('a call within one node needs no tunnel and carries the same', async (t) => {
  const node = await startNode(t, fabric, fabric.node('alone', [monitor, sensor]), {
    listen: { hosts: ['127.0.0.1'], port: 0 },
  });
  const port = await serve(t, answering('local'));
  await node.attach(sensor, { listens: { 8080: port } });
  const caller = await node.attach(monitor, { calls: [callable('sensor')] });
  node.network.setEndpoints([node.endpoint(sensor)]);
  t.is(await ask(t, caller.address('sensor'), 'x'), 'local');
});
