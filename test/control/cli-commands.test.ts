import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';
import {
  applicationView,
  cli,
  fakeDaemon,
  instanceView,
  nodeView,
  statusView,
  temporaryFolder,
  testHost,
} from './cli-harness.ts';

test('status shows the fabric as a table and as JSON', async (t) => {
  const folder = await temporaryFolder(t);
  const unplaced = instanceView({
    name: 'default.cold-chain.monitor.0',
    state: 'unplaced',
    ready: false,
    reason: 'no node has the label',
  });
  delete unplaced.node;
  const view = statusView({
    ok: false,
    problems: ['edge-2 is unreachable'],
    applications: [applicationView({ instances: [instanceView(), unplaced] })],
  });
  await fakeDaemon(t, folder, { 'GET /v1/status': view });
  const asTable = await cli(['status', '--data', folder]);
  t.is(asTable.status, 0);
  for (const part of [
    'plant',
    'not all is well',
    'edge-2 is unreachable',
    'default.cold-chain.sensor.0',
    '4711',
    'no node has the label',
  ]) {
    t.true(asTable.out.includes(part), part);
  }
  t.deepEqual(JSON.parse((await cli(['-o', 'json', 'status', '--data', folder])).out), view);
});

test('status on a worker says that no controller is reachable', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, {
    'GET /v1/status': statusView({ scope: 'node', node: 'edge-1', controllerReachable: false, applications: [] }),
  });
  const { out } = await cli(['status', '--data', folder]);
  t.regex(out, /^node edge-1 of fabric plant/);
  t.regex(out, /No controller is reachable/);
});

test("reading commands print the daemon's views as JSON", async (t) => {
  const folder = await temporaryFolder(t);
  const event = {
    id: 'control/1',
    at: 5,
    type: 'node-admitted',
    subject: 'edge-1',
    message: 'by token',
    previous: '',
    hash: 'h',
  };
  await fakeDaemon(t, folder, {
    'GET /v1/nodes': [nodeView()],
    'GET /v1/pending': [],
    'GET /v1/nodes/edge-1': nodeView(),
    'GET /v1/applications': [applicationView()],
    'GET /v1/applications/default/cold-chain': applicationView(),
    'GET /v1/instances/default.cold-chain.sensor.0': instanceView(),
    'GET /v1/events': { events: [event] },
  });
  const expected: [string[], unknown][] = [
    [['nodes', 'list'], [nodeView()]],
    [['nodes', 'describe', 'edge-1'], nodeView()],
    [['describe', 'node', 'edge-1'], nodeView()],
    [['apps'], [applicationView()]],
    [['describe', 'app', 'cold-chain'], applicationView()],
    [['describe', 'instance', 'default.cold-chain.sensor.0'], instanceView()],
    [['wait', 'cold-chain'], applicationView()],
    [['events'], [event]],
  ];
  for (const [args, view] of expected) {
    const json = await cli([...args, '-o', 'json', '--data', folder]);
    t.is(json.status, 0, args.join(' '));
    t.deepEqual(JSON.parse(json.out), view, args.join(' '));
    const asTable = await cli([...args, '--data', folder]);
    t.is(asTable.status, 0, args.join(' '));
    t.true(asTable.out.length > 10, args.join(' '));
  }
});

test('a refusal shows the field, the accepted form and what to do, and exits with 1', async (t) => {
  const folder = await temporaryFolder(t);
  const problem = {
    type: 'urn:selvedge:error:request-refused',
    title: 'Request refused',
    status: 400,
    detail: 'there is no such label',
    field: 'labels',
    accepted: 'labels of this fabric',
    action: 'Give another label.',
  };
  await fakeDaemon(t, folder, { 'POST /v1/tokens': problem });
  const { status, error } = await cli(['token', 'create', '--label', 'a=b', '--data', folder]);
  t.is(status, 1);
  t.is(error, 'error: labels: there is no such label; accepted: labels of this fabric\nGive another label.');
});

test('token create sends what was asked and prints the token alone on stdout', async (t) => {
  const folder = await temporaryFolder(t);
  const view = { token: 'slv-secret', id: 't1', uses: 3, expiresAt: 10, labels: { site: 'north' }, router: 'interior' };
  const asked = await fakeDaemon(t, folder, { 'POST /v1/tokens': view });
  const { out } = await cli([
    'token',
    'create',
    '--uses',
    '3',
    '--ttl',
    '10m',
    '--label',
    'site=north',
    '--router',
    'interior',
    '--data',
    folder,
  ]);
  t.is(out, 'slv-secret');
  t.deepEqual(asked[0]?.body, { uses: 3, ttlMs: 600_000, labels: { site: 'north' }, router: 'interior' });
});

test('token create --out makes a file that its owner alone can read, and writes over none', async (t) => {
  const folder = await temporaryFolder(t);
  const view = { id: 't1', uses: 1, expiresAt: 10, labels: {}, router: 'edge' };
  const asked = await fakeDaemon(t, folder, { 'POST /v1/tokens': { ...view, token: 'slv-secret' } });
  const path = join(folder, 'token');
  const create = (...args: string[]) =>
    cli(['token', 'create', '--data', folder, ...args], testHost({ workingFolder: folder }));
  const made = await create('--out', 'token');
  t.deepEqual([made.status, made.out], [0, `The token is in ${path}.`]);
  t.false(`${made.out}${made.error}`.includes('slv-secret'));
  t.is(readFileSync(path, 'utf8'), 'slv-secret\n');
  t.is(statSync(path).mode & 0o777, 0o600);

  const again = await create('--out', 'token');
  t.is(again.status, 1);
  t.regex(again.error, /token cannot be made: it is there already[\s\S]*another file with --out/);
  t.is(asked.length, 1, 'no token is made that could not be kept');
  t.is((await create('--out', 'no/such/folder')).status, 1);

  const json = await create('--out', 'other', '-o', 'json');
  t.deepEqual(JSON.parse(json.out), { ...view, path: join(folder, 'other') });
});

test('the file of a token that nobody made is taken back', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, {});
  const path = join(folder, 'token');
  t.is((await cli(['token', 'create', '--data', folder, '--out', path])).status, 1);
  t.false(existsSync(path));
});

test('wait gives up in time and says which instance is not ready and why', async (t) => {
  const folder = await temporaryFolder(t);
  const waiting = instanceView({ state: 'backingOff', ready: false, reason: 'exit status 3' });
  await fakeDaemon(t, folder, {
    'GET /v1/applications/default/cold-chain': applicationView({
      ready: false,
      reason: '0 of 1 ready',
      instances: [waiting],
    }),
  });
  const { status, error } = await cli(['wait', 'cold-chain', '--timeout', '120ms', '--data', folder]);
  t.is(status, 1);
  t.regex(
    error,
    /not ready after 120 ms: 0 of 1 ready\n {2}default.cold-chain.sensor.0 on edge-1: backingOff: exit status 3/,
  );
});

test('wait ends as soon as the application is ready', async (t) => {
  const folder = await temporaryFolder(t);
  let calls = 0;
  const answer = (): unknown => {
    calls += 1;
    return applicationView({ ready: calls > 3 });
  };
  await fakeDaemon(t, folder, { 'GET /v1/applications/default/cold-chain': answer });
  t.is((await cli(['wait', 'cold-chain', '--data', folder])).status, 0);
  t.is(calls, 4);
});

test('logs finds an instance by a part of its name, and keeps stdout and stderr apart', async (t) => {
  const folder = await temporaryFolder(t);
  const asked = await fakeDaemon(t, folder, {
    'GET /v1/status': statusView(),
    'GET /v1/instances/default.cold-chain.sensor.0/logs': (
      _asked: unknown,
      response: import('node:http').ServerResponse,
    ) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      response.write('{"at":1,"stream":"stdout","text":"one"}\n{"at":2,"stream":"std');
      response.end('err","text":"two"}\n');
    },
  });
  const { status, out, error } = await cli(['logs', 'sensor', '--tail', '7', '--data', folder]);
  t.deepEqual({ status, out, error }, { status: 0, out: 'one', error: 'two' });
  t.true(asked.some(({ path }) => path.endsWith('/logs?tail=7&follow=false')));
  const since = ['--since', '2026-03-01T12:00:00Z', '--grep', 'a&b c', '--ignore-case'];
  t.is((await cli(['logs', 'sensor', ...since, '--data', folder])).status, 0);
  t.true(asked.at(-1)?.path.endsWith('?tail=200&follow=false&since=1772366400000&grep=a%26b+c&ignoreCase=true'));
  await cli(['logs', 'sensor', '--since', '10m', '--data', folder]);
  const at = Number(/since=(\d+)/.exec(asked.at(-1)?.path ?? '')?.[1]);
  t.true(Math.abs(Date.now() - 600_000 - at) < 60_000);
  const unknown = await cli(['logs', 'nobody', '--data', folder]);
  t.is(unknown.status, 1);
});

test('logs of a name that fits two instances asks for the whole name', async (t) => {
  const folder = await temporaryFolder(t);
  const two = [instanceView(), instanceView({ name: 'default.cold-chain.sensor.1' })];
  await fakeDaemon(t, folder, {
    'GET /v1/status': statusView({ nodes: [nodeView({ instances: two })], applications: [] }),
  });
  const { status, error } = await cli(['logs', 'sensor', '--data', folder]);
  t.is(status, 2);
  t.regex(error, /sensor\.0, default\.cold-chain\.sensor\.1/);
});

test('a followed log goes on until a signal, and then the command exits with 0', async (t) => {
  const folder = await temporaryFolder(t);
  const host = testHost();
  await fakeDaemon(t, folder, {
    'GET /v1/instances/default.cold-chain.sensor.0': instanceView(),
    'GET /v1/instances/default.cold-chain.sensor.0/logs': (
      _asked: unknown,
      response: import('node:http').ServerResponse,
    ) => {
      response.writeHead(200);
      response.write('{"at":1,"stream":"stdout","text":"one"}\n');
    },
  });
  const ran = cli(['logs', 'default.cold-chain.sensor.0', '-f', '--data', folder], host);
  await eventually(() => host.printed.out.includes('one'));
  host.signal('SIGINT');
  t.is((await ran).status, 0);
});

test('events --follow asks for what came after the last one, and prints each once', async (t) => {
  const folder = await temporaryFolder(t);
  const host = testHost();
  const event = (id: string): unknown => ({
    id,
    at: 5,
    type: 'x',
    subject: 'y',
    message: `message ${id}`,
    previous: '',
    hash: '',
  });
  const asked = await fakeDaemon(t, folder, {
    'GET /v1/events': ({ path }: { path: string }) => ({
      events: path.includes('after=1') ? [event('2')] : path.includes('after=2') ? [] : [event('1')],
    }),
  });
  const ran = cli(['events', '--follow', '--data', folder], host);
  await eventually(() => asked.some(({ path }) => path.includes('after=2')));
  host.signal('SIGTERM');
  t.is((await ran).status, 0);
  t.deepEqual(
    host.printed.out.map((line) => line.match(/message \d/)?.[0]),
    ['message 1', 'message 2'],
  );
});

test('delete takes a name, or the applications of a manifest', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'app.yaml'),
    'kind: Application\nmetadata: {name: b, project: shop}\n---\nkind: Config\nmetadata: {name: c}\n',
  );
  const asked = await fakeDaemon(t, folder, {
    'DELETE /v1/applications/default/a': {},
    'DELETE /v1/applications/shop/b': {},
  });
  const { status } = await cli(
    ['delete', 'a', '-f', 'app.yaml', '--data', folder],
    testHost({ workingFolder: folder }),
  );
  t.is(status, 0);
  t.deepEqual(
    asked.map(({ path }) => path),
    ['/v1/applications/default/a', '/v1/applications/shop/b'],
  );
});

test('down tells the daemon, and waits until its socket is gone', async (t) => {
  const folder = await temporaryFolder(t);
  const asked = await fakeDaemon(t, folder, { 'POST /v1/down': { stopping: true }, 'GET /v1/ping': { ok: true } });
  const ran = cli(['down', '--workloads', '--data', folder]);
  await eventually(() => asked.filter(({ path }) => path === '/v1/ping').length >= 2);
  await rm(join(folder, 'selvedge.sock'));
  t.is((await ran).status, 0);
  t.deepEqual(asked[0], { method: 'POST', path: '/v1/down', body: { workloads: true } });
});

test('up refuses a data folder whose daemon answers', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, { 'GET /v1/ping': { ok: true } });
  const { status, error } = await cli(['up', '--found', '--data', folder]);
  t.is(status, 1);
  t.regex(error, /a daemon already runs on/);
});

test('an answer that is no JSON, or that breaks off, is a clear error', async (t) => {
  const folder = await temporaryFolder(t);
  await fakeDaemon(t, folder, {
    'GET /v1/status': (_asked: unknown, response: import('node:http').ServerResponse) =>
      void response.writeHead(200).end('<html>'),
    'GET /v1/nodes': (_asked: unknown, response: import('node:http').ServerResponse) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('[');
      response.destroy();
    },
  });
  for (const args of [['status'], ['nodes', 'list']]) {
    const { status, error } = await cli([...args, '--data', folder]);
    t.is(status, 1);
    t.regex(error, /the daemon did not answer/);
  }
});

test('a socket that nobody listens on is told from one that is not there', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'selvedge.sock');
  const child = spawn(process.execPath, [
    '-e',
    `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
  ]);
  await new Promise((resolve) => child.once('exit', resolve));
  const { status, error } = await cli(['status', '--data', folder]);
  t.is(status, 1);
  t.regex(error, /nobody listens on it any more/);
});

test("another user's socket is refused with its owner's name", async (t) => {
  if (process.getuid?.() !== 0) {
    skip(t, 'only root can become another user here');
    return;
  }
  const folder = await temporaryFolder(t);
  await chmod(folder, 0o755);
  const closed = join(folder, 'closed');
  await mkdir(closed, { mode: 0o700 });
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(closed, 'selvedge.sock'), resolve));
  t.teardown(() => server.close());
  const script = `
    import { createClient } from ${JSON.stringify(new URL('../../control/cli/client.ts', import.meta.url).href)};
    process.setgid(65534); process.setuid(65534);
    createClient({ socketPath: ${JSON.stringify(join(closed, 'selvedge.sock'))} }).ping().catch((error) => console.log(error.message));
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += String(chunk);
  });
  await new Promise((resolve) => child.once('close', resolve));
  t.regex(out, /permission denied: the socket .* belongs to root/);
});
