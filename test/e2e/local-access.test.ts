// Who may do what on a box: another local user nothing, a worker's own root that node and nothing of the fabric. And where
// secrets are: in files of mode 0600, and nowhere else.

import { createPrivateKey } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { createPouchStore } from '../../control/pouch-store.ts';
import type { Problem, StatusView } from '../../control/views.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { skip } from '../skip.ts';
import { program } from './daemon.ts';
import { createFabric, type FabricNode } from './fabric.ts';
import { findOtherUser } from './other-user.ts';
import { tell } from './story.ts';

const manifest = `
apiVersion: selvedge/v1
kind: Application
metadata: { name: work }
spec:
  microservices:
    - name: here
      engine: process
      command: [sleep, '1000']
      placement: { node: edge-1 }
    - name: there
      engine: process
      command: [sleep, '1000']
      placement: { node: control }
`;

const fabricRoutes = [
  ['GET', '/v1/nodes'],
  ['GET', '/v1/nodes/edge-1'],
  ['GET', '/v1/applications'],
  ['GET', '/v1/applications/default/work'],
  ['DELETE', '/v1/applications/default/work'],
  ['POST', '/v1/apply'],
  ['POST', '/v1/tokens'],
  ['GET', '/v1/events'],
] as const;

interface Answer {
  status: number;
  type: string;
  body: unknown;
}

function ask(node: FabricNode, method: string, path: string): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const sent = request({ socketPath: join(node.dataFolder, 'selvedge.sock'), method, path, agent: false });
  sent.on('error', reject);
  sent.on('response', async (response) => {
    const chunks: Buffer[] = await response.toArray();
    const { statusCode: status = 0, headers } = response;
    resolve({ status, type: headers['content-type'] ?? '', body: JSON.parse(Buffer.concat(chunks).toString('utf8')) });
  });
  sent.end();
  return promise;
}

/** Connects and asks, in a process of another user; prints the error's code or the answer. */
const knock = (socket: string): string => `
  const request = require('node:http').get({ socketPath: ${JSON.stringify(socket)}, path: '/v1/status' });
  request.on('error', (error) => console.log(error.code));
  request.on('response', (response) => response.pipe(process.stdout));
`;

interface Entry {
  path: string;
  mode: number;
  content: string;
}

/** Every file of a data folder but the store's, whose content is looked at document by document. */
async function filesOf(folder: string): Promise<Entry[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !entry.parentPath.startsWith(join(folder, 'store')));
  return await Promise.all(
    files.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      return { path, mode: (await stat(path)).mode & 0o777, content: await readFile(path, 'latin1') };
    }),
  );
}

/** The private numbers of all keys in the files. */
function privateNumbers(files: readonly Entry[]): Buffer[] {
  const pems = files.flatMap(({ content }) =>
    content.match(/-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END[^-]+-----/g),
  );
  return pems.flatMap((pem) =>
    pem === null ? [] : [Buffer.from(createPrivateKey(pem).export({ format: 'jwk' }).d ?? '', 'base64url')],
  );
}

/** Whether the text holds the bytes: as they are, in hexadecimal, or in base64 of either alphabet, at any place of it. */
function holds(text: string, secret: Buffer): boolean {
  const plain = text
    .replace(/\\n|\s/g, '')
    .replaceAll('-', '+')
    .replaceAll('_', '/');
  // Of base64 that begins up to two bytes earlier, without the characters that the bytes around have a part in.
  const encoded = [0, 1, 2].map((before) =>
    Buffer.concat([Buffer.alloc(before), secret])
      .toString('base64')
      .slice(4, -4),
  );
  return (
    text.includes(secret.toString('latin1')) ||
    plain.toLowerCase().includes(secret.toString('hex')) ||
    encoded.some((part) => plain.includes(part))
  );
}

/** Everything that a stopped node has in its store, as one text. */
async function documentsOf(node: FabricNode, databases: readonly string[]): Promise<string> {
  const store = await createPouchStore({ folder: join(node.dataFolder, 'store'), clock: createSystemClock() });
  try {
    const lists = await Promise.all(databases.map(async (name) => (await store.open(name)).list('')));
    return JSON.stringify(lists);
  } finally {
    await store.close();
  }
}

test('another user gets nothing, a worker nothing of the fabric, and secrets stay in their files', async (t) => {
  const step = tell(t);
  const { fabric, edge } = await step('a controller and a worker that run something', async () => {
    const made = await createFabric(t, { edges: 1 });
    await made.apply(manifest);
    await made.ready('work');
    return { fabric: made, edge: made.edges[0] as FabricNode };
  });
  const { control } = fabric;
  const nodes = [control, edge];

  await step('a worker answers about itself alone', async () => {
    const { status, body } = await ask(edge, 'GET', '/v1/status');
    const view = body as StatusView;
    t.is(status, 200);
    t.deepEqual([view.scope, view.node, view.applications], ['node', 'edge-1', []]);
    t.deepEqual(
      view.nodes.map(({ name }) => name),
      ['edge-1'],
    );
    t.deepEqual(
      view.nodes[0]?.instances.map(({ name }) => name),
      ['default.work.here.0'],
    );
    t.is((await ask(edge, 'GET', '/v1/instances/default.work.here.0')).status, 200);
    for (const path of ['/v1/instances/default.work.there.0', '/v1/instances/default.work.there.0/logs']) {
      const { status: refused, body: problem } = await ask(edge, 'GET', path);
      t.deepEqual([refused, (problem as Problem).type], [404, 'urn:selvedge:error:not-found'], path);
    }
  });

  await step('a worker refuses everything that is of the fabric', async () => {
    const before = await control.status();
    for (const [method, path] of fabricRoutes) {
      const { status, type, body } = await ask(edge, method, path);
      const problem = body as Problem;
      t.deepEqual([status, type], [403, 'application/problem+json'], `${method} ${path}`);
      t.is(problem.type, 'urn:selvedge:error:not-a-controller');
      t.regex(problem.detail, /edge-1 is a worker/);
      t.regex(problem.action, /on a controller/);
      t.not((await ask(control, method === 'DELETE' ? 'GET' : method, path)).status, 403, 'a controller does not');
    }
    t.deepEqual((await control.status()).applications[0]?.generation, before.applications[0]?.generation);
  });

  await step('folders, sockets and keys are their owner’s alone', async () => {
    for (const { name, dataFolder } of nodes) {
      t.is((await stat(dataFolder)).mode & 0o777, 0o700, name);
      t.is((await stat(join(dataFolder, 'selvedge.sock'))).mode & 0o777, 0o600, name);
      const keys = (await filesOf(dataFolder)).filter(({ content }) => content.includes('PRIVATE KEY'));
      const names = keys.map(({ path }) => path.slice(dataFolder.length + 1)).sort();
      const here = `instances/default.work.${name === 'control' ? 'there' : 'here'}.0/identity/key.pem`;
      const roots = name === 'control' ? ['issuing.pem', 'root.pem'] : [];
      t.deepEqual(names, ['authority.pem', 'identity.pem', here, ...roots].sort(), 'these are all its keys');
      // A workload's own is not to be written by it either.
      for (const { path, mode } of keys) t.is(mode, path.endsWith('key.pem') ? 0o400 : 0o600, path);
    }
  });

  await step('another local user gets nothing from a socket', async () => {
    const other = await findOtherUser();
    if (typeof other === 'string') return skip(t, other);
    for (const { dataFolder } of nodes) {
      const socket = join(dataFolder, 'selvedge.sock');
      t.is((await other.run([process.execPath, '-e', knock(socket)])).stdout, 'EACCES\n');
      const cli = await other.run([process.execPath, program, '--data', dataFolder, 'status']);
      t.is(cli.status, 1);
      t.is(cli.stdout, '');
      t.regex(cli.stderr, /may not|not allowed|permission|belongs to/i);
      t.regex((await other.run(['ls', dataFolder])).stderr, /Permission denied/);
    }
  });

  await step('no key and no token is told: by a daemon, to a workload, or in a document', async () => {
    const files = (await Promise.all(nodes.map(({ dataFolder }) => filesOf(dataFolder)))).flat();
    const keys = privateNumbers(files);
    t.is(keys.length, 8, 'two of each node, two of the fabric, one of each workload');
    for (const key of keys) t.is(files.filter(({ content }) => holds(content, key)).length, 1, 'in its own file');
    const tokens = fabric.tokens.map((token) => token.split('_').at(-1) ?? '');
    t.true(tokens.every((secret) => secret.length >= 32));
    const { pid } = await edge.instance('here');
    const workload = await readFile(`/proc/${pid}/environ`, 'latin1');
    const [status, events] = [await control.status(), await control.daemon.client.events({ limit: 1000 })];
    t.true(events.length > 0);
    await Promise.all(nodes.map(({ daemon }) => daemon.kill('SIGTERM')));
    const texts = {
      'output of control': control.output(),
      'output of edge-1': edge.output(),
      'environment of a workload': workload,
      'the status': JSON.stringify(status),
      'the ledger': JSON.stringify(events),
      'documents of control': await documentsOf(control, ['fabric', 'bulletin', 'mailbox/control', 'mailbox/edge-1']),
      'documents of edge-1': await documentsOf(edge, ['bulletin', 'mailbox/edge-1']),
    };
    for (const [what, text] of Object.entries(texts)) {
      t.true(text.length > 0, what);
      t.is(
        keys.findIndex((key) => holds(text, key)),
        -1,
        `a key is in ${what}`,
      );
      t.false(
        tokens.some((secret) => text.includes(secret)) || /PRIVATE KEY|sv1_/.test(text),
        `a secret is in ${what}`,
      );
    }
    t.regex(texts['documents of edge-1'], /observed\/instance\/default\.work\.here\.0/);
    for (const { path, content } of files)
      t.false(
        tokens.some((secret) => content.includes(secret)),
        path,
      );
  });
});
