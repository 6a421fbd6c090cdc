// Replication over a stream between two nodes: what it carries, how it breaks and goes on, and what a hostile end achieves.

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ReplicationError, ReplicationProtocolError, ReplicationRefusedError } from '../../control/errors.ts';
import { refusalsPerStreamMax, replicationFrameBytesMax, replicationStreamsPerPeerMax } from '../../control/limits.ts';
import { createMessageChannel } from '../../control/message-channel.ts';
import { createPouchStore } from '../../control/pouch-store.ts';
import { createRemotePeer, type RemotePeer } from '../../control/remote-peer.ts';
import { replicate } from '../../control/replicate.ts';
import { type DatabaseKind, replicationProtocol } from '../../control/replication-messages.ts';
import { createReplicationServer, type ReplicationRefusal } from '../../control/replication-server.ts';
import type { Database, ReplicationPeer, Store, StoredDocument } from '../../control/store.ts';
import {
  bulletinWrites,
  controllerWrites,
  guardedPeer,
  nodeWrites,
  type WriteGuard,
} from '../../control/write-guard.ts';
import type { FrameStream } from '../../mesh/mesh.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { eventually } from '../eventually.ts';
import { createFramePair } from '../frame-pair.ts';

const readOnly: WriteGuard = () => 'read only';

interface Controller {
  store: Store;
  /** Of the node `edge-1`, whose peer id is `peer-1`; and of another. */
  mailbox: Database;
  otherMailbox: Database;
  bulletin: Database;
  refusals: ReplicationRefusal[];
  serve: (stream: FrameStream, from: string) => Promise<void>;
  connect: (from?: string) => { stream: FrameStream; served: Promise<void>; frames: () => number };
  open: (database: DatabaseKind, onChanged?: () => void) => RemotePeer;
}

async function controller(store: Store = createSimStore()): Promise<Controller> {
  const [mailbox, otherMailbox, bulletin] = await Promise.all(
    ['mailbox/peer-1', 'mailbox/peer-2', 'bulletin'].map((name) => store.open(name)),
  );
  if (mailbox === undefined || otherMailbox === undefined || bulletin === undefined) throw new Error('three databases');
  const refusals: ReplicationRefusal[] = [];
  const mailboxes: Record<string, Database> = { 'peer-1': mailbox, 'peer-2': otherMailbox };
  const serve = createReplicationServer({
    async resolve(from, database) {
      const own = database === 'bulletin' ? bulletin : mailboxes[from];
      return (
        own && {
          database: own,
          guard: database === 'bulletin' ? readOnly : nodeWrites(from === 'peer-1' ? 'edge-1' : 'edge-2'),
        }
      );
    },
    onRefused: (refusal) => refusals.push(refusal),
  });
  const connect = (from = 'peer-1') => {
    const pair = createFramePair(replicationProtocol);
    return {
      stream: pair.near,
      served: serve(pair.far, from),
      frames: () => pair.sentByNear.length + pair.sentByFar.length,
    };
  };
  const open = (database: DatabaseKind, onChanged = () => {}) =>
    createRemotePeer(connect().stream, { database, onChanged });
  return { store, mailbox, otherMailbox, bulletin, refusals, serve, connect, open };
}

const nodeDatabase = (): Promise<Database> => createSimStore().open('mailbox');
const ignored = (peer: ReplicationPeer): ReplicationPeer => guardedPeer(peer, controllerWrites, () => {});

async function pouchStore(t: ExecutionContext): Promise<Store> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-replication-'));
  const store = await createPouchStore({ folder, clock: createSystemClock() });
  t.teardown(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  return store;
}

const observed = (instance: string, node = 'edge-1'): StoredDocument => ({
  _id: `observed/instance/${instance}`,
  instance,
  node,
  state: 'running',
});
const contents = async (database: Database): Promise<unknown> =>
  Promise.all((await database.list('')).map(async ({ _id }) => database.leaves(_id)));

test('300 documents replicate both ways over a stream, on real stores', async (t) => {
  const { mailbox, open } = await controller(await pouchStore(t));
  const local = await (await pouchStore(t)).open('mailbox');
  for (let n = 0; n < 150; n++) await mailbox.put({ _id: `desired/file/${n}`, contentBase64: `c${n}` });
  for (let n = 0; n < 150; n++) await local.put(observed(`i${n}`));
  const remote = open('mailbox');
  t.is((await replicate(remote, ignored(local.peer))).documentsWritten, 150);
  t.is((await replicate(local.peer, remote)).documentsWritten, 150);
  t.deepEqual(await contents(local), await contents(mailbox));
  t.is((await mailbox.list('')).length, 300);
  remote.close();
});

test('documents larger than a frame, and more than one answer holds, arrive whole', async (t) => {
  const { mailbox, connect } = await controller();
  const local = await nodeDatabase();
  const content = (): string => randomBytes(600_000).toString('base64');
  for (let n = 0; n < 5; n++) await mailbox.put({ _id: `desired/file/${n}`, contentBase64: content() });
  await mailbox.put({ _id: 'desired/plan', jws: 'ü'.repeat(3_000_000) });
  const pair = connect();
  const remote = createRemotePeer(
    spiedStream(pair.stream, (frame) => t.true(frame.length <= replicationFrameBytesMax)),
    { database: 'mailbox', onChanged: () => {} },
  );
  await replicate(remote, ignored(local.peer));
  t.deepEqual(await contents(local), await contents(mailbox));
});

test('a change is told once until it is looked at, and is pulled; what the node wrote itself is not told', async (t) => {
  const { mailbox, open } = await controller();
  const local = await nodeDatabase();
  let told = 0;
  const remote = open('mailbox', () => told++);
  await replicate(remote, ignored(local.peer));
  for (let n = 0; n < 10; n++) await mailbox.update('desired/plan', () => ({ _id: 'desired/plan', jws: `plan ${n}` }));
  await eventually(() => told > 0);
  await remote.info();
  t.is(told, 1);
  await replicate(remote, ignored(local.peer));
  t.like(await local.get('desired/plan'), { jws: 'plan 9' });
  await local.put(observed('a'));
  await replicate(local.peer, remote);
  await remote.info();
  t.is(told, 1);
  await mailbox.put({ _id: 'desired/file/x', contentBase64: '' });
  await eventually(() => told === 2);
});

test('one changed document is pulled with few frames', async (t) => {
  const { mailbox, connect } = await controller();
  const local = await nodeDatabase();
  const { stream, frames } = connect();
  const remote = createRemotePeer(stream, { database: 'mailbox', onChanged: () => {} });
  await mailbox.put({ _id: 'desired/plan', jws: 'one' });
  await replicate(remote, ignored(local.peer));
  const before = frames();
  await mailbox.update('desired/plan', () => ({ _id: 'desired/plan', jws: 'two' }));
  await replicate(remote, ignored(local.peer));
  t.like(await local.get('desired/plan'), { jws: 'two' });
  // Word of the change; changes, the document and the checkpoint, each asked and answered.
  t.is(frames() - before, 7);
});

test('a link cut after any number of frames says so, and the next runs converge', async (t) => {
  const { mailbox, connect } = await controller();
  const local = await nodeDatabase();
  for (let n = 0; n < 70; n++) await mailbox.put({ _id: `desired/file/${n}`, contentBase64: `c${n}` });
  for (let n = 0; n < 40; n++) await local.put(observed(`i${n}`));
  let cuts = 0;
  for (let framesLeft = 1; framesLeft < 100; framesLeft++) {
    const { stream } = connect();
    let frames = 0;
    const cutting = spiedStream(stream, () => {
      if (++frames >= framesLeft) stream.abort(new Error('the link was cut'));
    });
    const remote = createRemotePeer(cutting, { database: 'mailbox', onChanged: () => {} });
    try {
      await replicate(remote, ignored(local.peer));
      await replicate(local.peer, remote);
      break;
    } catch (error) {
      t.true(error instanceof ReplicationError && error.retryable);
      cuts++;
    }
  }
  t.true(cuts > 10, `cut ${cuts} times`);
  t.deepEqual(await contents(local), await contents(mailbox));
});

test('closing ends what is under way and tells the owner once', async (t) => {
  const { connect } = await controller();
  const { stream, served } = connect();
  const closed: Error[] = [];
  const remote = createRemotePeer(stream, {
    database: 'mailbox',
    onChanged: () => {},
    onClosed: (cause) => closed.push(cause),
  });
  await remote.info();
  const underWay = t.throwsAsync(remote.info(), { instanceOf: ReplicationError });
  remote.close();
  remote.close();
  await underWay;
  await t.throwsAsync(remote.id(), { instanceOf: ReplicationError });
  await served;
  t.is(closed.length, 1);
});

test('a removed database ends the stream', async (t) => {
  const { store, open } = await controller();
  const remote = open('mailbox');
  await remote.info();
  await store.destroy('mailbox/peer-1');
  await t.throwsAsync(replicate(remote, (await nodeDatabase()).peer), { instanceOf: ReplicationError });
});

test('attack: any other database is refused with an event, and a peer without a mailbox gets none', async (t) => {
  const { connect, refusals } = await controller();
  for (const [database, from] of [
    ['fabric', 'peer-1'],
    ['mailbox/peer-2', 'peer-1'],
    ['../fabric', 'peer-1'],
    ['mailbox', 'peer-3'],
  ] as const) {
    const { stream, served } = connect(from);
    const remote = createRemotePeer(stream, { database: database as DatabaseKind, onChanged: () => {} });
    await t.throwsAsync(remote.info(), { instanceOf: ReplicationRefusedError });
    await served;
    t.like(refusals.at(-1), { from, database });
  }
  t.is(refusals.length, 4);
});

test('attack: unknown methods, unbounded or malformed arguments are refused with an event each', async (t) => {
  const { mailbox, otherMailbox, connect, refusals } = await controller();
  await mailbox.put({ _id: 'desired/plan', jws: 'plan' });
  const before = [await contents(mailbox), await contents(otherMailbox)];
  const { stream } = connect();
  const channel = createMessageChannel(stream);
  await channel.send('{"open":"mailbox"}');
  t.deepEqual(await channel.receive(), { opened: 'mailbox' });
  const revision = `1-${'0'.repeat(32)}`;
  const attacks: [string, unknown[]][] = [
    ['destroy', []],
    ['constructor', []],
    ['__proto__', []],
    ['allDocs', [{ include_docs: true }]],
    ['changes', [{ since: 0, limit: 1e9 }]],
    ['changes', [{ since: 0, limit: 10, filter: 'function () {}', live: true }, {}]],
    ['changes', [{ since: -1, limit: 10 }]],
    ['bulkGet', [{ docs: Array.from({ length: 1000 }, () => ({ id: 'a', rev: revision })) }]],
    ['bulkGet', [{ docs: [{ id: '_local/x', rev: revision }] }]],
    ['bulkGet', [{ docs: [{ id: 'a', rev: 'all' }] }]],
    ['revsDiff', [Object.fromEntries(Array.from({ length: 1000 }, (_, n) => [`d${n}`, [revision]]))]],
    ['bulkDocs', [{ docs: Array.from({ length: 1000 }, () => observed('a')) }]],
    ['get', ['desired/plan']],
    ['get', ['_local/../x']],
    ['put', [{ _id: 'desired/plan', jws: 'mine' }]],
    ['put', [{ _id: '_local/x', last_seq: 'x'.repeat(100_000) }]],
  ];
  for (const [index, [method, args]] of attacks.entries()) {
    await channel.send(JSON.stringify({ id: index, method, args }));
    t.like(await channel.receive(), { id: index, error: { status: 400 } }, `${method} ${index}`);
    t.is(refusals.length, index + 1);
  }
  await channel.send(
    JSON.stringify({
      id: 99,
      method: 'bulkGet',
      args: [{ docs: [{ id: 'desired/plan', rev: `7-${'0'.repeat(32)}` }] }],
    }),
  );
  t.deepEqual(await channel.receive(), {
    id: 99,
    result: { results: [{ id: 'desired/plan', docs: [] }], remaining: 0 },
  });
  await channel.send('{"id":100,"method":"revsDiff","args":[{"__proto__":["x"]}]}');
  t.deepEqual(await channel.receive(), { id: 100, result: {} });
  t.deepEqual([await contents(mailbox), await contents(otherMailbox)], before);
});

test('attack: frames that are no messages, too large ones and endless refusals end the stream', async (t) => {
  const { connect, refusals } = await controller();
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  for (const frame of [
    bytes('.{'),
    bytes('?{}'),
    bytes(''),
    bytes('.'),
    bytes('.{"id":"x"}'),
    new Uint8Array(replicationFrameBytesMax + 1).fill(0x2b),
  ]) {
    const { stream, served } = connect();
    await stream.send(bytes('.{"open":"mailbox"}'));
    await stream.receive();
    await stream.send(frame);
    await served;
    await t.throwsAsync(stream.receive());
  }
  t.is(refusals.length, 6);
  const { stream, served } = connect();
  const channel = createMessageChannel(stream);
  await channel.send('{"open":"mailbox"}');
  const sending = (async () => {
    for (let id = 0; id < refusalsPerStreamMax + 100; id++) {
      await channel.send(JSON.stringify({ id, method: 'no', args: [] }));
      await channel.receive();
    }
  })();
  await t.throwsAsync(sending);
  await served;
  t.true(refusals.length <= 6 + refusalsPerStreamMax + 2);
});

test('attack: one peer cannot hold more streams than its share', async (t) => {
  const { connect, refusals, open } = await controller();
  const held = Array.from({ length: replicationStreamsPerPeerMax }, () => connect('peer-2'));
  const { stream, served } = connect('peer-2');
  await served;
  await t.throwsAsync(stream.receive());
  t.is(refusals.length, 1);
  t.deepEqual(await open('mailbox').info(), { update_seq: 0 });
  for (const { stream: other } of held) other.abort(new Error('enough'));
  await Promise.all(held.map(({ served: ended }) => ended));
  await createRemotePeer(connect('peer-2').stream, { database: 'mailbox', onChanged: () => {} }).info();
});

test('attack: a node writes a plan of its own, deletes plans, and writes about other nodes: refused one by one, the rest arrives', async (t) => {
  for (const store of [createSimStore(), await pouchStore(t)]) {
    const { mailbox, open, refusals } = await controller(store);
    await mailbox.put({ _id: 'desired/plan', jws: 'plan' });
    const local = await nodeDatabase();
    await replicate(open('mailbox'), ignored(local.peer));
    await local.update('desired/plan', () => ({ _id: 'desired/plan', jws: 'mine' }));
    await local.put({ _id: 'desired/file/x', contentBase64: 'mine' });
    await local.put(observed('a', 'edge-2'));
    await local.put({ _id: 'observed/instance/b', node: 'edge-1', instance: 'another' });
    await local.put({ _id: 'observed/node', node: 'edge-1', padding: 'x'.repeat(100_000) });
    await local.put({ _id: 'application/p/a' });
    await local.put(observed('good'));
    const remote = open('mailbox');
    const result = await replicate(local.peer, remote);
    t.deepEqual(result, { documentsRead: 7, documentsWritten: 1, writeFailures: 6 });
    t.is(refusals.length, 6);
    t.deepEqual(refusals.map(({ document }) => document).sort(), [
      'application/p/a',
      'desired/file/x',
      'desired/plan',
      'observed/instance/a',
      'observed/instance/b',
      'observed/node',
    ]);
    t.deepEqual(
      (await mailbox.list('')).map(({ _id }) => _id),
      ['desired/plan', 'observed/instance/good'],
    );
    t.is((await mailbox.leaves('desired/plan')).length, 1);
    // The checkpoint has passed the refused ones: no loop, and what comes later still arrives.
    await local.put(observed('later'));
    await local.remove('desired/plan');
    t.deepEqual(await replicate(local.peer, remote), { documentsRead: 2, documentsWritten: 1, writeFailures: 1 });
    t.like(await mailbox.get('desired/plan'), { jws: 'plan' });
  }
});

test('attack: documents that PouchDB cannot parse are refused one by one', async (t) => {
  const { mailbox, connect, refusals } = await controller(await pouchStore(t));
  const channel = createMessageChannel(connect().stream);
  await channel.send('{"open":"mailbox"}');
  await channel.receive();
  const revision = `1-${'a'.repeat(32)}`;
  const bad: Record<string, unknown>[] = [
    { _id: '', _rev: revision },
    { _id: '_design/x', _rev: revision },
    { _id: '_local/x', _rev: revision },
    { _id: 'observed/node' },
    { _id: 'observed/node', _rev: 'x' },
    { _id: 'observed/node', _rev: revision, _revisions: { start: 1, ids: [] } },
    { _id: 'observed/node', _rev: revision, _revisions: { start: 1, ids: ['a'.repeat(32), 'b'.repeat(32)] } },
    { _id: 'observed/node', _rev: revision, _revisions: { start: 2, ids: ['a'.repeat(32)] } },
    { _id: 'observed/node', _rev: revision, _revisions: null },
    { _id: 'observed/node', _rev: revision, _attachments: { a: { digest: 'x', length: 1 } } },
    { _id: 'observed/node', _rev: revision, _unknown: 1 },
    { _id: 'observed/node', _rev: revision, _deleted: 'yes' },
    { _id: 'observed/node', _rev: revision, _deleted: true },
  ];
  const docs = bad.map((document) => ({ node: 'edge-1', ...document }));
  await channel.send(
    JSON.stringify({ id: 1, method: 'bulkDocs', args: [{ docs: [...docs, { ...observed('good'), _rev: revision }] }] }),
  );
  const answer = (await channel.receive()) as { result: unknown[] };
  t.is(answer.result.length, bad.length);
  t.is(refusals.length, bad.length);
  t.deepEqual(
    (await mailbox.list('')).map(({ _id }) => _id),
    ['observed/instance/good'],
  );
});

test('attack: checkpoints of another peer are neither seen nor written, and their number is bounded', async (t) => {
  const { bulletin, connect } = await controller();
  const remote = (from: string): RemotePeer =>
    createRemotePeer(connect(from).stream, { database: 'bulletin', onChanged: () => {} });
  const [one, two] = [remote('peer-1'), remote('peer-2')];
  await one.put({ _id: '_local/abc', last_seq: 1 });
  await t.throwsAsync(two.get('_local/abc'), { message: 'not_found' });
  await two.put({ _id: '_local/abc', last_seq: 2 });
  t.like(await remote('peer-1').get('_local/abc'), { _id: '_local/abc', last_seq: 1 });
  for (let n = 0; n < 20; n++) await two.put({ _id: `_local/n${n}`, last_seq: n });
  await t.throwsAsync(remote('peer-2').get('_local/n0'), { message: 'not_found' });
  t.like(await remote('peer-2').get('_local/n19'), { last_seq: 19 });
  t.like(await remote('peer-1').get('_local/abc'), { last_seq: 1 });
  t.deepEqual(await bulletin.list(''), []);
});

test('attack: a node cannot write the bulletin', async (t) => {
  const { bulletin, open, refusals } = await controller();
  await bulletin.put({ _id: 'fact', jws: 'true' });
  const local = await createSimStore().open('bulletin');
  await replicate(open('bulletin'), local.peer);
  await local.put({ _id: 'mine', jws: 'false' });
  await local.remove('fact');
  const before = await contents(bulletin);
  t.is((await replicate(local.peer, open('bulletin'))).writeFailures, 2);
  t.deepEqual(await contents(bulletin), before);
  t.is(refusals.length, 2);
});

test('attack: what a lying peer did to facts changes nothing where they are pulled', async (t) => {
  const isTrue = (document: StoredDocument): string | undefined =>
    document['jws'] === `signed ${document._id}` ? undefined : 'its signature is wrong';
  const lying = await createSimStore().open('bulletin');
  const honest = await createSimStore().open('bulletin');
  for (const id of ['revocation', 'edited', 'floor']) await lying.put({ _id: id, jws: `signed ${id}` });
  const refused: string[] = [];
  const guarded = guardedPeer(honest.peer, bulletinWrites(isTrue), ({ id }) => refused.push(id));
  await replicate(lying.peer, guarded);
  const before = await contents(honest);
  t.is((await honest.list('')).length, 3);
  await lying.remove('revocation');
  await lying.update('edited', () => ({ _id: 'edited', jws: 'signed edited', more: 1 }));
  await lying.put({ _id: 'made-up', jws: 'signed by nobody' });
  // The same fact under a made-up revision would be stored once more for each.
  await lying.peer.bulkDocs({
    docs: [{ _id: 'floor', _rev: `1-${'f'.repeat(32)}`, jws: 'signed floor' }],
    new_edits: false,
  });
  await lying.put({ _id: 'new', jws: 'signed new' });
  await replicate(lying.peer, guarded);
  t.deepEqual(refused.sort(), ['edited', 'floor', 'made-up', 'revocation']);
  await honest.remove('new');
  t.deepEqual(await contents(honest), before);
});

test('attack: a node takes nothing but desired documents from a controller, and no deletion of its plan', async (t) => {
  const mailbox = await createSimStore().open('mailbox');
  const local = await nodeDatabase();
  const refused: string[] = [];
  const guarded = guardedPeer(local.peer, controllerWrites, ({ id }) => refused.push(id));
  await mailbox.put({ _id: 'desired/plan', jws: 'plan' });
  await mailbox.put({ _id: 'desired/authority', chain: ['MII'] });
  await mailbox.put({ _id: 'desired/file/a', contentBase64: 'YQ==' });
  await replicate(mailbox.peer, guarded);
  await mailbox.remove('desired/plan');
  await mailbox.remove('desired/file/a');
  await mailbox.put({ _id: 'desired/other', x: 1 });
  await mailbox.put({ _id: 'desired/file/b', content: 1 });
  await mailbox.put(observed('a'));
  await replicate(mailbox.peer, guarded);
  t.deepEqual(refused.sort(), ['desired/file/b', 'desired/other', 'desired/plan', 'observed/instance/a']);
  t.deepEqual(
    (await local.list('')).map(({ _id }) => _id),
    ['desired/authority', 'desired/plan'],
  );
});

test('attack: a server that answers nonsense ends the stream, and a run over it says so', async (t) => {
  for (const answer of ['{"id":0,"result":7}', '{"id":5,"result":"x"}', '[]', '{"id":0,"error":"x"}']) {
    const { near, far } = createFramePair(replicationProtocol);
    const channel = createMessageChannel(far);
    const remote = createRemotePeer(near, { database: 'mailbox', onChanged: () => {} });
    const run = t.throwsAsync(replicate(remote, (await nodeDatabase()).peer), { instanceOf: ReplicationError });
    await channel.receive();
    await channel.receive();
    await channel.send(answer);
    const error = await run;
    t.true(error.cause instanceof ReplicationProtocolError, answer);
  }
});

test('a checkpoint that always conflicts ends the run', async (t) => {
  const source = await createSimStore().open('a');
  await source.put({ _id: 'x' });
  const conflict = async (): Promise<never> => {
    throw Object.assign(new Error('conflict'), { status: 409, name: 'conflict' });
  };
  const target = (await createSimStore().open('b')).peer;
  await t.throwsAsync(replicate({ ...source.peer, put: conflict }, target), {
    instanceOf: ReplicationError,
    message: /conflicts again/,
  });
});

/** Looks at each frame as it passes, sent or received. */
function spiedStream(stream: FrameStream, look: (frame: Uint8Array) => void): FrameStream {
  return {
    protocol: stream.protocol,
    async send(frame) {
      look(frame);
      await stream.send(frame);
    },
    async receive(signal) {
      const frame = await stream.receive(signal);
      if (frame !== undefined) look(frame);
      return frame;
    },
    close: () => stream.close(),
    abort: (reason) => stream.abort(reason),
  };
}
