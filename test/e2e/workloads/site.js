// A workload of the end-to-end tests: answers each request with what it was asked, sends one without end at /ticks, and echoes the text
// frames of a WebSocket (RFC 6455, of at most 125 bytes).

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const [name] = process.argv.slice(2);

const server = createServer((request, response) => {
  if (request.url?.endsWith('/ticks')) {
    response.writeHead(200, { 'content-type': 'text/plain' });
    const timer = setInterval(() => response.write('tick\n'), 50);
    response.once('close', () => clearInterval(timer));
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { method, url, headers } = request;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ name, method, url, headers, body: Buffer.concat(chunks).toString() }));
  });
});

server.on('upgrade', (request, socket) => {
  socket.on('error', () => undefined);
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  let held = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 6) {
      const length = held[1] & 0x7f;
      if (held.length < 6 + length) return;
      const mask = held.subarray(2, 6);
      const payload = held.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4]);
      socket.write(Buffer.concat([Buffer.from([held[0], length]), payload]));
      held = held.subarray(6 + length);
    }
  });
});

server.listen({ host: process.env.HOST, port: Number(process.env.PORT) });
