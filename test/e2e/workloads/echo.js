// A workload of the end-to-end tests: says back what it is told, on HOST and PORT.

import { createServer } from 'node:net';

createServer((socket) => {
  socket.on('error', () => undefined);
  socket.pipe(socket);
}).listen({ host: process.env.HOST, port: Number(process.env.PORT) });
