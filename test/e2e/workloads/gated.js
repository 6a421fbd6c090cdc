// A workload of the end-to-end tests: an HTTP server on HOST and PORT that is opened and shut by a file in its working folder.
// `GET /health` is 200 while the file `open` is there, else 503; with GATE=listen it does not even listen before. Anything
// else answers with the process id.

import { existsSync } from 'node:fs';
import { createServer } from 'node:http';

const isOpen = () => existsSync('open');
const server = createServer((request, response) => {
  response.statusCode = request.url === '/health' && !isOpen() ? 503 : 200;
  response.end(`${process.pid}\n`);
});
const listen = () => server.listen({ host: process.env.HOST, port: Number(process.env.PORT) });

if (process.env.GATE === 'listen') {
  const timer = setInterval(() => {
    if (!isOpen()) return;
    clearInterval(timer);
    listen();
  }, 20);
} else {
  listen();
}
