// What is said to Docker's socket, heard by a server in its place.

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { openDocker } from '../../node-runtime/docker-client.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';

test('the variables of a container are in the body of the request that makes it, and not in its address', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-socket-'));
  const heard: { url: string; body: string }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    heard.push({ url: request.url ?? '', body });
    response.setHeader('content-type', 'application/json');
    response.statusCode = request.method === 'POST' ? 201 : 200;
    response.end(JSON.stringify({ Id: 'made', Components: [] }));
  });
  server.listen(join(folder, 'docker.sock'));
  await once(server, 'listening');
  t.teardown(async () => {
    server.closeAllConnections();
    server.close();
    await rm(folder, { recursive: true, force: true });
  });
  const docker = await openDocker(join(folder, 'docker.sock'), createSystemClock());
  const options = { name: 'box-web', platform: 'linux/amd64', Image: 'busybox', Env: ['PASSWORD=hidden'] };
  t.is(await docker.create(options), 'made');
  const { url = '', body = '' } = heard.at(-1) ?? {};
  t.is(url, '/containers/create?name=box-web&platform=linux%2Famd64');
  t.deepEqual(JSON.parse(body), { Image: 'busybox', Env: ['PASSWORD=hidden'] });
});
