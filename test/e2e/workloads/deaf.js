// A workload of the end-to-end tests: answers each request on HOST and PORT with its index and its node: "2 edge-1". While the file
// `deaf` is in its working folder it accepts no connection, whatever its readiness probe says.

import { existsSync } from 'node:fs';
import { createServer } from 'node:http';

const { HOST, PORT, SELVEDGE_INSTANCE, SELVEDGE_NODE } = process.env;
const server = createServer((_request, response) =>
  response.end(`${SELVEDGE_INSTANCE.split('.')[3]} ${SELVEDGE_NODE}`),
);

setInterval(() => {
  if (existsSync('deaf') === !server.listening) return;
  if (server.listening) server.close();
  else server.listen({ host: HOST, port: Number(PORT) });
}, 20);
server.listen({ host: HOST, port: Number(PORT) });
