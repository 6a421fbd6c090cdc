// The called workload of the tunnel bench. The first byte of a connection says what it is for: `S` takes everything and, at the
// end, says how many bytes came; anything else is sent back as it comes.

import { createServer } from 'node:net';

const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first) => {
    if (first[0] !== 0x53) {
      socket.write(first);
      socket.on('data', (chunk) => socket.write(chunk));
      socket.on('end', () => socket.end());
      return;
    }
    let bytes = first.length;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.on('end', () => socket.end(String(bytes)));
  });
});
server.listen({ host: process.env.HOST, port: Number(process.env.PORT) });
