// The API over a real Unix socket: routes, refusals, limits, streams, and who may open the socket.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type ApiOptions, createApi } from '../../control/api.ts';
import { createApiServer } from '../../control/api-server.ts';
import { createApply, createTurns } from '../../control/apply.ts';
import { createContents } from '../../control/contents.ts';
import { NameTakenError } from '../../control/errors.ts';
import { createGateways } from '../../control/gateways.ts';
import { createLedger } from '../../control/ledger.ts';
import { createPolicies } from '../../control/policies.ts';
import { createStatusReader } from '../../control/status-reader.ts';
import type { InstanceView, Problem } from '../../control/views.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { eventually } from '../eventually.ts';
import { skip } from '../skip.ts';

const clock = createSystemClock();

function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'selvedge-api-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const instance: InstanceView = {
  name: 'default.app.web.0',
  project: 'default',
  application: 'app',
  microservice: 'web',
  node: 'box1',
  engine: 'process',
  state: 'running',
  ready: true,
  reason: '',
  restarts: 0,
};

async function options(
  kind: 'controller' | 'worker',
): Promise<ApiOptions & { calls: unknown[]; faults: unknown[]; live: { count: number } }> {
  const fabric = await createSimStore().open('fabric');
  const ledger = createLedger({ fabric, controller: 'box1', clock });
  const reader = createStatusReader({
    fabric,
    mailbox: () => Promise.reject(new Error('none')),
    identity: { id: 'f', name: 'home' },
    self: 'box1',
    linked: () => true,
  });
  const serialized = createTurns();
  const applying = createApply({ fabric, clock, ledger, random: createSystemRandom(), serialized });
  const { apply, applyNow, deleteApplication } = applying;
  const contents = createContents({ fabric, ledger, serialized, applyNow });
  const gateways = createGateways({
    ...{ fabric, clock, ledger, serialized },
    mailbox: () => Promise.reject(new Error('none')),
    random: createSystemRandom(),
    isLinked: () => true,
    policiesChanged: async () => undefined,
  });
  const policies = createPolicies({ fabric, ledger, serialized, policiesChanged: async () => undefined });
  const calls: unknown[] = [];
  const faults: unknown[] = [];
  const live = { count: 0 };
  const node = {
    node: 'box1',
    software: '0.1.0',
    status: reader.status,
    topology: reader.topology,
    instance: async (name: string) => (name === instance.name ? instance : undefined),
    goneInstance: async (name: string) =>
      name === 'old' ? { name: 'default.app.old.0', node: 'box2', goneAt: 7 } : undefined,
    logs: async function* (_place: unknown, { tail, follow }: { tail: number; follow: boolean }, signal: AbortSignal) {
      live.count += 1;
      try {
        for (let line = 0; line < tail; line += 1) yield { at: line, stream: 'stdout' as const, text: `line ${line}` };
        if (follow) {
          await new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => resolve(), { once: true });
          });
        }
      } finally {
        live.count -= 1;
      }
    },
    down: async (request: { workloads: boolean }) => {
      calls.push(request);
    },
    report: (error: unknown) => {
      faults.push(error);
    },
  };
  if (kind === 'worker') return { kind, ...node, calls, faults, live };
  return {
    kind,
    ...node,
    calls,
    faults,
    live,
    nodes: reader.nodes,
    nodeNamed: reader.node,
    labelNode: async (name, { set, remove }) => {
      calls.push({ label: name, set, remove });
      return { node: name, labels: set, changed: true };
    },
    revokeNode: async (name, reason) => {
      calls.push({ revoke: name, reason });
      return { node: name, peerId: 'p', revokedAt: 1, reason, already: false, removed: false, instances: [] };
    },
    removeNode: async (name, reason) => {
      calls.push({ remove: name, reason });
      return { node: name, peerId: 'p', revokedAt: 1, reason, already: true, removed: true, instances: [] };
    },
    applications: reader.applications,
    services: reader.services,
    trace: reader.trace,
    application: reader.application,
    deleteApplication,
    apply: (documents, { dryRun, source }) => apply(documents, { dryRun, ...(source !== undefined && { source }) }),
    stage: async (request) => {
      calls.push({ stage: request });
      return [];
    },
    staged: reader.stage,
    contents: contents.list,
    content: contents.describe,
    deleteContent: contents.remove,
    setSecret: contents.setSecret,
    policies: policies.list,
    policy: policies.describe,
    deletePolicy: policies.remove,
    gateways: gateways.list,
    rootCertificate: async () => 'PEM',
    gateway: gateways.describe,
    deleteGateway: gateways.remove,
    createGrant: gateways.grant,
    revokeGrant: gateways.revoke,
    createToken: async ({ uses, ttlMs, labels, router }) => {
      if (labels.fault === 'plain') throw new Error('the secret is hunter2');
      if (labels.fault === 'described') throw new NameTakenError('x');
      return { token: 't', id: 'i', uses, expiresAt: ttlMs, labels, router };
    },
    pending: async () => [],
    approve: async (request) => {
      calls.push(request);
      return { node: request.name ?? 'box2', peerId: 'p', router: request.router };
    },
    deny: async (who) => {
      calls.push({ who });
      return [];
    },
    window: async () => ({ open: false }),
    openWindow: async (request) => ({ open: true, ...request }),
    closeWindow: async () => ({ open: false }),
    events: (query) => ledger.list(query),
  };
}

async function served(t: ExecutionContext, kind: 'controller' | 'worker' = 'controller') {
  const path = join(temporaryFolder(t), 'api.sock');
  const api = await options(kind);
  const server = createApiServer({ fetch: createApi(api).fetch, path, clock });
  await server.start();
  t.teardown(() => server.stop());
  return { path, server, ...api };
}

interface Answer {
  status: number;
  type: string;
  body: unknown;
}

function ask(socketPath: string, method: string, path: string, body?: string | object): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const sent = request({ socketPath, method, path, agent: false }, async (response) => {
    try {
      let text = '';
      for await (const chunk of response) text += String(chunk);
      const type = String(response.headers['content-type']);
      resolve({
        status: response.statusCode ?? 0,
        type,
        body: type.includes('json') && !type.includes('nd') ? JSON.parse(text) : text,
      });
    } catch (error) {
      reject(error);
    }
  });
  sent.on('error', reject);
  sent.end(typeof body === 'object' ? JSON.stringify(body) : body);
  return promise;
}

const config = {
  apiVersion: 'selvedge/v1',
  kind: 'Config',
  metadata: { name: 'c' },
  spec: { files: { a: { text: 'x' } } },
};
const application = {
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'app' },
  spec: { microservices: [{ name: 'web', engine: 'process', command: ['node'], configs: ['c'] }] },
};

test('a controller applies, shows, lists and deletes', async (t) => {
  const { path, faults } = await served(t);
  t.like((await ask(path, 'GET', '/v1/ping')).body, { ok: true, kind: 'controller', node: 'box1' });
  const dry = await ask(path, 'POST', '/v1/apply?dryRun=true', { documents: [config, application] });
  t.is(dry.status, 200);
  t.deepEqual((await ask(path, 'GET', '/v1/applications')).body, []);
  const applied = await ask(path, 'POST', '/v1/apply', { documents: [config, application] });
  t.like(applied.body, { durability: 'local' });
  t.like((await ask(path, 'GET', '/v1/applications/default/app')).body, { name: 'app', generation: 1, ready: false });
  t.like((await ask(path, 'GET', '/v1/status')).body, { scope: 'fabric', ok: false });
  const { events } = (await ask(path, 'GET', '/v1/events?limit=10')).body as { events: { type: string }[] };
  t.deepEqual(
    events.map(({ type }) => type),
    ['config-applied', 'application-applied'],
  );
  t.is((await ask(path, 'DELETE', '/v1/applications/default/app')).status, 200, String(faults));
  t.is((await ask(path, 'DELETE', '/v1/applications/default/app')).status, 404);
  t.like((await ask(path, 'GET', '/v1/instances/default.app.web.0')).body, { state: 'running' });
  t.deepEqual((await ask(path, 'GET', '/v1/nodes')).body, []);
  t.like((await ask(path, 'POST', '/v1/tokens', {})).body, {
    uses: 1,
    expiresAt: 3_600_000,
    router: 'edge',
    labels: {},
  });
  t.deepEqual(faults, []);
});

const refusals: [
  title: string,
  method: string,
  path: string,
  body: string | object | undefined,
  status: number,
  problem: Partial<Problem>,
][] = [
  ['a path that is not there', 'GET', '/v2/x', undefined, 404, { type: 'urn:selvedge:error:no-such-route' }],
  ['a body that is not JSON', 'POST', '/v1/apply', '{', 400, { detail: 'the body is not JSON' }],
  ['an apply without documents', 'POST', '/v1/apply', {}, 400, { field: 'documents', detail: 'is missing' }],
  [
    'an unknown field',
    'POST',
    '/v1/tokens',
    { use: 2 },
    400,
    { field: 'use', detail: 'is not a known field (did you mean "uses"?)' },
  ],
  [
    'a token without uses',
    'POST',
    '/v1/tokens',
    { uses: 0 },
    400,
    { field: 'uses', accepted: 'a whole number from 1 to 1000' },
  ],
  ['a token for ever', 'POST', '/v1/tokens', { ttlMs: 1e12 }, 400, { field: 'ttlMs' }],
  [
    'a misspelt dryRun',
    'POST',
    '/v1/apply?dryrun=true',
    { documents: [config] },
    400,
    { field: 'dryrun', accepted: 'dryRun' },
  ],
  ['a dryRun that is neither', 'POST', '/v1/apply?dryRun=1', { documents: [config] }, 400, { field: 'dryRun' }],
  ['a limit that is no number', 'GET', '/v1/events?limit=-1', undefined, 400, { field: 'limit' }],
  [
    'an instance that is not there',
    'GET',
    '/v1/instances/x/logs',
    undefined,
    404,
    { type: 'urn:selvedge:error:not-found' },
  ],
  [
    'a text to look for that is too long',
    'GET',
    `/v1/instances/default.app.web.0/logs?grep=${'x'.repeat(257)}`,
    undefined,
    400,
    { field: 'grep' },
  ],
  [
    'a time that is none',
    'GET',
    '/v1/instances/default.app.web.0/logs?since=10m',
    undefined,
    400,
    { field: 'since', accepted: 'milliseconds since 1970' },
  ],
  [
    'a tail that is too long',
    'GET',
    '/v1/instances/default.app.web.0/logs?tail=99999999',
    undefined,
    400,
    { field: 'tail' },
  ],
  [
    'a body above 8 MiB',
    'POST',
    '/v1/apply',
    'x'.repeat(8 * 1024 * 1024 + 1),
    413,
    { type: 'urn:selvedge:error:request-too-large' },
  ],
  [
    'an error that says what to do',
    'POST',
    '/v1/tokens',
    { labels: { fault: 'described' } },
    409,
    { type: 'urn:selvedge:error:name-taken' },
  ],
];

for (const [title, method, url, body, status, problem] of refusals) {
  test(`${title} is a problem document`, async (t) => {
    const { path, faults } = await served(t);
    const answer = await ask(path, method, url, body);
    t.is(answer.status, status);
    t.is(answer.type, 'application/problem+json');
    t.like(answer.body as Problem, { status, ...problem });
    t.true((answer.body as Problem).action.length > 0);
    t.deepEqual(faults, []);
    t.deepEqual((await ask(path, 'GET', '/v1/applications')).body, []);
  });
}

test('a body above 8 MiB is refused also when its length was not announced', async (t) => {
  const { path } = await served(t);
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  const sent = request({ socketPath: path, method: 'POST', path: '/v1/apply', agent: false }, ({ statusCode }) =>
    resolve(statusCode),
  );
  // The server may cut the connection once it has answered.
  sent.on('error', () => resolve(undefined));
  for (let mebibyte = 0; mebibyte < 9; mebibyte += 1) sent.write('x'.repeat(1024 * 1024));
  sent.end();
  t.is(await promise, 413);
});

test('a refused manifest names field, reason and accepted form; several are listed', async (t) => {
  const { path } = await served(t);
  const misspelt = { ...config, spec: { flies: {}, files: {} } };
  const one = (await ask(path, 'POST', '/v1/apply', { documents: [misspelt], source: ['c.yaml'] })).body as Problem;
  t.like(one, {
    status: 422,
    field: 'spec.flies',
    accepted: 'files',
    detail: 'c.yaml: is not a known field (did you mean "files"?)',
  });
  const two = (await ask(path, 'POST', '/v1/apply', { documents: [misspelt, null] })).body as Problem;
  t.is(two.issues?.length, 2);
  t.regex(two.detail, /document 1: spec\.flies: .*\ndocument 2: is empty/);
});

test('an error that nobody described tells the client nothing of it', async (t) => {
  const { path, faults } = await served(t);
  const answer = await ask(path, 'POST', '/v1/tokens', { labels: { fault: 'plain' } });
  t.is(answer.status, 500);
  t.false(JSON.stringify(answer.body).includes('hunter2'));
  t.is(faults.length, 1);
});

test('a worker answers about itself and refuses the fabric, without reading the body', async (t) => {
  const { path } = await served(t, 'worker');
  t.like((await ask(path, 'GET', '/v1/ping')).body, { kind: 'worker' });
  t.is((await ask(path, 'GET', '/v1/status')).status, 200);
  t.is((await ask(path, 'GET', '/v1/instances/default.app.web.0')).status, 200);
  const routes = [
    ['GET', '/v1/nodes'],
    ['GET', '/v1/nodes/box1'],
    ['POST', '/v1/nodes/box1/labels'],
    ['POST', '/v1/nodes/box1/revoke'],
    ['POST', '/v1/nodes/box1/remove'],
    ['GET', '/v1/applications'],
    ['GET', '/v1/applications/default/app'],
    ['DELETE', '/v1/applications/default/app'],
    ['POST', '/v1/apply'],
    ['POST', '/v1/tokens'],
    ['GET', '/v1/pending'],
    ['POST', '/v1/pending/approve'],
    ['POST', '/v1/pending/deny'],
    ['GET', '/v1/window'],
    ['POST', '/v1/window'],
    ['DELETE', '/v1/window'],
    ['GET', '/v1/events'],
  ] as const;
  for (const [method, url] of routes) {
    const answer = await ask(path, method, url, method === 'POST' ? '{' : undefined);
    t.is(answer.status, 403, url);
    t.like(answer.body as Problem, { type: 'urn:selvedge:error:not-a-controller' });
    t.regex((answer.body as Problem).action, /Run this command on a controller/);
  }
});

test('taking a node out passes on its name and the reason; a reason that is too long is refused', async (t) => {
  const { path, calls } = await served(t);
  t.like((await ask(path, 'POST', '/v1/nodes/box2/revoke', { reason: 'stolen' })).body, {
    node: 'box2',
    removed: false,
  });
  t.like((await ask(path, 'POST', '/v1/nodes/box2/remove', {})).body, { node: 'box2', removed: true });
  t.deepEqual(calls, [
    { revoke: 'box2', reason: 'stolen' },
    { remove: 'box2', reason: '' },
  ]);
  for (const act of ['revoke', 'remove']) {
    for (const [body, field] of [
      [{ reason: 'x'.repeat(201) }, 'reason'],
      [{ because: 'x' }, 'because'],
    ] as const) {
      const answer = await ask(path, 'POST', `/v1/nodes/box2/${act}`, body);
      t.is(answer.status, 400);
      t.is((answer.body as Problem).field, field);
    }
  }
  t.is(calls.length, 2);
});

test('requests about boxes that wait are checked before anything is tried', async (t) => {
  const { path, calls } = await served(t);
  const code = 'K7-ABCD-EFGH-JK';
  const approved = await ask(path, 'POST', '/v1/pending/approve', { code, name: 'press-4' });
  t.deepEqual(approved.body, { node: 'press-4', peerId: 'p', router: 'edge' });
  t.deepEqual(calls[0], { code, name: 'press-4', labels: {}, router: 'edge' });
  t.deepEqual((await ask(path, 'POST', '/v1/pending/deny', { who: 'K7' })).body, { denied: [] });
  t.deepEqual((await ask(path, 'GET', '/v1/pending')).body, []);
  const window = { forMs: 60_000, cidrs: ['192.0.2.0/24'], max: 3 };
  t.like(await ask(path, 'POST', '/v1/window', window), { status: 201 });
  t.deepEqual((await ask(path, 'DELETE', '/v1/window')).body, { open: false });
  const wrong: [string, object, string][] = [
    ['/v1/pending/approve', {}, 'code'],
    ['/v1/pending/approve', { code, router: 'middle' }, 'router'],
    ['/v1/pending/approve', { code, nam: 'x' }, 'nam'],
    ['/v1/pending/deny', { who: '' }, 'who'],
    ['/v1/window', { ...window, cidrs: [] }, 'cidrs'],
    ['/v1/window', { ...window, forMs: 1 }, 'forMs'],
    ['/v1/window', { ...window, max: 0 }, 'max'],
  ];
  for (const [url, body, field] of wrong) {
    const answer = await ask(path, 'POST', url, body);
    t.is(answer.status, 400, url);
    t.is((answer.body as Problem).field, field, url);
    t.false(JSON.stringify(answer.body).includes('ABCD'), 'a code is not repeated');
  }
});

test('an instance that is gone is found, and its last lines are read from where it was', async (t) => {
  const { path } = await served(t);
  const { body } = await ask(path, 'GET', '/v1/gone-instances/old');
  t.deepEqual(body, { name: 'default.app.old.0', node: 'box2', goneAt: 7 });
  t.is((await ask(path, 'GET', '/v1/instances/old/logs?tail=1')).status, 200);
  t.is((await ask(path, 'GET', '/v1/gone-instances/never')).status, 404);
});

test('logs come as lines; a followed log ends with its reader', async (t) => {
  const { path, live } = await served(t);
  const { body, type } = await ask(path, 'GET', '/v1/instances/default.app.web.0/logs?tail=3');
  t.is(type, 'application/x-ndjson');
  t.deepEqual(
    String(body)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).text),
    ['line 0', 'line 1', 'line 2'],
  );
  for (const tail of [0, 2]) {
    const { promise, resolve } = Promise.withResolvers<number | undefined>();
    const sent = request({
      socketPath: path,
      path: `/v1/instances/default.app.web.0/logs?tail=${tail}&follow=true`,
      agent: false,
    });
    sent.on('response', (response) => {
      response.on('error', () => undefined);
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', () => undefined);
    sent.end();
    t.is(await promise, 200, `the head comes also after ${tail} lines`);
    await eventually(() => live.count === 1);
    sent.destroy();
    await eventually(() => live.count === 0, { what: 'the end of the source' });
  }
});

test('HEAD of a followed log opens no source', async (t) => {
  const { path, live } = await served(t);
  const { status } = await ask(path, 'HEAD', '/v1/instances/default.app.web.0/logs?follow=true');
  t.is(status, 200);
  t.is(live.count, 0);
});

test('down answers before it begins', async (t) => {
  const { path, calls } = await served(t);
  const answer = await ask(path, 'POST', '/v1/down', { workloads: true });
  t.is(answer.status, 202);
  await eventually(() => calls.length === 1);
  t.deepEqual(calls, [{ workloads: true }]);
});

test('the socket belongs to its user alone, and is gone after stop', async (t) => {
  const { path, server } = await served(t);
  t.is(statSync(path).mode & 0o777, 0o600);
  if (process.getuid?.() === 0) {
    // The folder is opened for all, so that the socket's own mode is what refuses.
    chmodSync(join(path, '..'), 0o755);
    const script = `require('node:net').connect(${JSON.stringify(path)}).on('connect',()=>{console.log('open');process.exit()}).on('error',(e)=>console.log(e.code))`;
    const other = spawnSync(process.execPath, ['-e', script], { uid: 65_534, gid: 65_534, encoding: 'utf8' });
    t.is(other.error, undefined);
    t.is(other.stdout.trim(), 'EACCES');
  } else skip(t, "another user's try needs root");
  await Promise.all([server.stop(), server.stop()]);
  t.false(existsSync(path));
});

test('a second daemon is refused while the first answers, which goes on', async (t) => {
  const { path } = await served(t);
  const second = createApiServer({ fetch: () => new Response(), path, clock });
  await t.throwsAsync(second.start(), { name: 'DaemonRunningError', message: /already runs/ });
  t.is((await ask(path, 'GET', '/v1/ping')).status, 200);
});

test('a socket that a killed daemon left is replaced', async (t) => {
  const path = join(temporaryFolder(t), 'api.sock');
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)},()=>process.kill(process.pid,'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.true(existsSync(path));
  const server = createApiServer({ fetch: () => new Response('here'), path, clock });
  await server.start();
  t.is((await ask(path, 'GET', '/')).body, 'here');
  await server.stop();
});

test('a file in the place of the socket is left alone', async (t) => {
  const path = join(temporaryFolder(t), 'api.sock');
  writeFileSync(path, 'precious');
  const server = createApiServer({ fetch: () => new Response(), path, clock });
  await t.throwsAsync(server.start(), { name: 'SocketBlockedError', message: /no socket/ });
  t.true(existsSync(path));
});

test('a path that is too long, or in no folder, is refused with the reason', async (t) => {
  const folder = temporaryFolder(t);
  const long = createApiServer({ fetch: () => new Response(), path: join(folder, 'x'.repeat(120)), clock });
  await t.throwsAsync(long.start(), { name: 'SocketPathError', message: /more than 107/ });
  const nowhere = createApiServer({ fetch: () => new Response(), path: join(folder, 'no', 'api.sock'), clock });
  await t.throwsAsync(nowhere.start(), { name: 'SocketBlockedError' });
});

test('stop waits for a running answer, and cuts one that does not end', async (t) => {
  const path = join(temporaryFolder(t), 'api.sock');
  const hold = Promise.withResolvers<Response>();
  const server = createApiServer({
    fetch: ({ url }) => (url.endsWith('/slow') ? hold.promise : new Response(new ReadableStream())),
    path,
    clock,
  });
  await server.start();
  const slow = ask(path, 'GET', '/slow');
  const endless = ask(path, 'GET', '/endless');
  const socket = connect(path);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve));
  const stopped = server.stop();
  hold.resolve(new Response('done'));
  t.is((await slow).body, 'done');
  await t.throwsAsync(endless);
  await stopped;
  t.false(existsSync(path));
  socket.destroy();
});

test('a start that fails can be tried again', async (t) => {
  const path = join(temporaryFolder(t), 'api.sock');
  const other = createServer().listen(path);
  await new Promise((resolve) => other.once('listening', resolve));
  const server = createApiServer({ fetch: () => new Response('here'), path, clock });
  await t.throwsAsync(server.start(), { name: 'DaemonRunningError' });
  await new Promise((resolve) => other.close(resolve));
  await server.start();
  t.is((await ask(path, 'GET', '/')).body, 'here');
  await server.stop();
});
