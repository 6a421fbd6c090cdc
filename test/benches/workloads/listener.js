// A tiny workload of the deploy bench: accepts TCP connections on HOST and PORT, and closes them.

import { createServer } from 'node:net';

createServer((socket) => socket.on('error', () => {}).end()).listen({
  host: process.env.HOST,
  port: Number(process.env.PORT),
});
