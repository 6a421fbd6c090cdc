// The calling workload of the tunnel bench. It listens on HOST and PORT for one line of JSON a connection, `{measure, host, port,
// …}`, measures against that address, and answers with one line of JSON. The same process measures every path, so that what
// is compared differs in the path alone.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const chunkBytes = 64 * 1024;

async function dial({ host, port }) {
  const socket = connect({ host, port, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** One connection, 64 KiB writes; resolves with bytes per second, from the first write to the far end's count. */
async function throughput(target) {
  const socket = await dial(target);
  const chunk = Buffer.alloc(chunkBytes, 0x53);
  const answer = [];
  socket.on('data', (part) => answer.push(part));
  const ended = once(socket, 'close');
  const startedAt = performance.now();
  for (let sent = 0; sent < target.bytes; sent += chunkBytes) {
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.end();
  await ended;
  const tookMs = performance.now() - startedAt;
  if (Number(Buffer.concat(answer)) !== target.bytes)
    throw new Error(`${Buffer.concat(answer)} of ${target.bytes} bytes came`);
  return (target.bytes / tookMs) * 1_000;
}

/** 64 bytes there and back, one after the other on one connection; resolves with the median in µs. */
async function latency(target) {
  const socket = await dial(target);
  const message = Buffer.alloc(64, 0x45);
  const took = [];
  for (let trip = 0; trip < target.trips; trip++) {
    const startedAt = performance.now();
    socket.write(message);
    for (let bytes = 0; bytes < message.length; ) bytes += (await once(socket, 'data'))[0].length;
    took.push((performance.now() - startedAt) * 1_000);
  }
  socket.destroy();
  return took.sort((one, other) => one - other)[Math.floor(took.length / 2)];
}

/** Connections made, used for one byte there and back, and closed, for so long; `parallel` at a time. Resolves with how many a second. */
async function connections(target) {
  let made = 0;
  const startedAt = performance.now();
  const endAt = startedAt + target.seconds * 1_000;
  async function one() {
    const socket = await dial(target);
    socket.write('E');
    await once(socket, 'data');
    socket.end();
    socket.resume();
    await once(socket, 'close');
    made += 1;
  }
  async function many() {
    while (performance.now() < endAt) await one();
  }
  await Promise.all(Array.from({ length: target.parallel }, many));
  return (made / (performance.now() - startedAt)) * 1_000;
}

/** From the wish for a connection to the first byte back on it; resolves with the median in µs. */
async function firstByte(target) {
  const took = [];
  for (let trip = 0; trip < target.trips; trip++) {
    const startedAt = performance.now();
    const socket = await dial(target);
    socket.write('E');
    await once(socket, 'data');
    took.push((performance.now() - startedAt) * 1_000);
    socket.destroy();
  }
  return took.sort((one, other) => one - other)[Math.floor(took.length / 2)];
}

const held = [];

/** Connections made, used for one byte there and back, and kept; `parallel` at a time. Resolves with how many there are. */
async function hold(target) {
  let left = target.count;
  async function many() {
    while (left-- > 0) {
      const socket = await dial(target);
      socket.write('E');
      await once(socket, 'data');
      held.push(socket);
    }
  }
  await Promise.all(Array.from({ length: target.parallel }, many));
  return held.length;
}

async function release() {
  for (const socket of held.splice(0)) socket.destroy();
  return 0;
}

const measures = { throughput, latency, connections, firstByte, hold, release };

createServer((socket) => {
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('data', async (chunk) => {
    text += chunk;
    if (!text.includes('\n')) return;
    const { measure, ...target } = JSON.parse(text);
    text = '';
    try {
      socket.end(`${JSON.stringify({ value: await measures[measure](target) })}\n`);
    } catch (error) {
      socket.end(`${JSON.stringify({ error: String(error) })}\n`);
    }
  });
}).listen({ host: process.env.HOST, port: Number(process.env.PORT) });
