// Calls another microservice by its name and gives up in time. Used by monitor.js and dashboard.js, which travel with it.

import { lookup } from 'node:dns/promises';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const TIMEOUT_MS = 2_000;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

/** Service to where it is called; decided once, for names do not come and go while a process runs. */
const places = new Map();

/** GETs JSON from `http://<service>:<port><path>`. */
export async function call(service, port, path) {
  if (!places.has(service)) places.set(service, await placeOf(service, port));
  return await getJson(new URL(path, places.get(service)).href);
}

/**
 * The service's name, as everywhere. Only where a process cannot be given names of its own (a kernel that refuses user
 * namespaces) is it the address in `<SERVICE>_URL`, which Selvedge sets too.
 */
async function placeOf(service, port) {
  const url = process.env[`${service.toUpperCase()}_URL`];
  try {
    const late = delay(TIMEOUT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('no answer')));
    await Promise.race([lookup(service), late]);
  } catch (error) {
    if (url !== undefined) {
      console.log(`the name ${service} is not known here (${error.message}); calling ${url}`);
      return url;
    }
  }
  return `http://${service}:${port}`;
}

async function getJson(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (!response.ok) throw new Error(`answered ${response.status}`);
    const text = await response.text();
    if (text.length > ANSWER_BYTES_MAX) throw new Error('answered more than it should');
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${url}: ${(error.cause ?? error).message}`);
  }
}

/** Says where a program runs: shown beside its data, so that one sees which node an answer came from. */
export function origin() {
  return {
    node: process.env.SELVEDGE_NODE ?? null,
    instance: process.env.SELVEDGE_INSTANCE ?? null,
    pid: process.pid,
  };
}

/** Serves `answer(url)` as JSON, or what it returns as `{ type, body }`, on HOST and PORT; ends at SIGTERM and SIGINT. */
export function serve(defaultPort, answer) {
  const server = createServer(async (request, response) => {
    const send = (status, type, body) =>
      response
        .writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
        .end(body);
    try {
      if (request.method !== 'GET') return send(405, 'text/plain', 'only GET\n');
      const result = await answer(new URL(request.url, 'http://localhost'));
      if (result === undefined) return send(404, 'text/plain', 'not found\n');
      if (result.type !== undefined) return send(200, result.type, result.body);
      return send(200, 'application/json', `${JSON.stringify(result)}\n`);
    } catch (error) {
      console.error(error.message);
      return send(500, 'text/plain', 'failed\n');
    }
  });
  const host = process.env.HOST ?? '127.0.0.1';
  const port = Number(process.env.PORT ?? defaultPort);
  server.listen(port, host, () => console.log(`listens on http://${host}:${server.address().port}`));
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(0));
}
