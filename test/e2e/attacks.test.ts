// A real controller under attack over real libp2p: by a member that does not keep to the protocols, and by strangers. What it
// must not do it does not get, nothing changes, and the operator hears of it. Token attacks are in token-attacks.test.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Client, createClient } from '../../control/cli/client.ts';
import { createPouchStore } from '../../control/pouch-store.ts';
import { firstRevision } from '../../control/revision.ts';
import type { StoredDocument } from '../../control/store.ts';
import { announcementType, ticketType } from '../../mesh/announcement-format.ts';
import { linkStateType } from '../../mesh/link-state-format.ts';
import type { FrameStream, Mesh } from '../../mesh/mesh.ts';
import { type DaemonEvent, startDaemon } from '../../node-runtime/daemon.ts';
import { linkProtocol } from '../../node-runtime/link-session.ts';
import { logsProtocol } from '../../node-runtime/log-protocol.ts';
import { planType } from '../../node-runtime/plan-follower.ts';
import { replicateProtocol } from '../../node-runtime/replicas.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import { factDocumentOf, factType } from '../../pki/facts.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { eventually } from '../eventually.ts';
import { startNode as startMesh } from '../mesh/libp2p-world.ts';
import { type BareMember, type BareReplication, joinAsBareMember } from '../node-runtime/bare-member.ts';

const waitMs = 60_000;
const application = {
  apiVersion: 'selvedge/v1',
  kind: 'Application',
  metadata: { name: 'shop' },
  spec: {
    microservices: [
      {
        name: 'web',
        engine: 'process',
        // Ends by itself, should the test not come to end it.
        command: ['/bin/sh', '-c', 'echo the line that is nobody’s business; exec sleep 180'],
        ports: [{ name: 'http', port: 8080 }],
        placement: { node: 'box1' },
      },
    ],
  },
};
const instanceName = 'default.shop.web.0';

interface Controller {
  peerId: string;
  port: number;
  client: Client;
  events: DaemonEvent[];
  stop(): Promise<void>;
}

async function startController(dataFolder: string, port: number): Promise<Controller> {
  const events: DaemonEvent[] = [];
  const daemon = await startDaemon({
    dataFolder,
    port,
    ...{ name: 'box1', found: true, fabricName: 'attacked', router: 'interior', labels: {}, join: [] },
    onEvent: (event) => void events.push(event),
  });
  const listening = events.find(({ type }) => type === 'listening') as DaemonEvent & {
    peerId: string;
    addresses: string[];
  };
  return {
    peerId: listening.peerId,
    port: Number(/\/tcp\/(\d+)/.exec(listening.addresses.join())?.[1]),
    client: createClient({ socketPath: join(dataFolder, 'selvedge.sock') }),
    events,
    stop: () => daemon.stop(),
  };
}

const loopback = ({ port }: Controller): string[] => [`/ip4/127.0.0.1/tcp/${port}`];

async function joinBare(t: ExecutionContext, controller: Controller, name: string): Promise<BareMember> {
  const { token } = await controller.client.createToken({ uses: 1, ttlMs: 600_000, labels: {}, router: 'edge' });
  return joinAsBareMember({
    mesh: await startMesh(t),
    clock: createSystemClock(),
    keys: createNodeKeys(),
    controller: controller.peerId,
    addresses: loopback(controller),
    token,
    name,
  });
}

const planInMailbox = async ({ ask }: BareReplication): Promise<StoredDocument | undefined> => {
  const answer = (await ask('changes', { since: 0, limit: 100 })) as {
    result: { results: { id: string; changes: { rev: string }[] }[] };
  };
  const row = answer.result.results.find(({ id }) => id === 'desired/plan');
  const rev = row?.changes[0]?.rev;
  if (rev === undefined) return undefined;
  const got = (await ask('bulkGet', { docs: [{ id: 'desired/plan', rev }] })) as {
    result: { results: { docs: { ok: StoredDocument }[] }[] };
  };
  return got.result.results[0]?.docs[0]?.ok;
};

/** Everything that the controller holds, but for what it says of itself and writes down of what happens. */
async function dump(dataFolder: string): Promise<Record<string, StoredDocument[]>> {
  const store = await createPouchStore({ folder: join(dataFolder, 'store'), clock: createSystemClock() });
  const content: Record<string, StoredDocument[]> = {};
  try {
    for (const name of ['fabric', 'bulletin', 'mailbox/box1', 'mailbox/honest', 'mailbox/bare']) {
      const database = await store.open(name);
      const documents: StoredDocument[] = [];
      for (const { _id } of await database.list('')) {
        if (_id.startsWith('event/') || (name === 'mailbox/box1' && _id.startsWith('observed/'))) continue;
        documents.push(...(await database.leaves(_id)));
      }
      content[name] = documents;
    }
  } finally {
    await store.close();
  }
  return content;
}

/** The next frame, or how the stream ended. */
async function outcome(stream: FrameStream): Promise<string> {
  try {
    const frame = await stream.receive(AbortSignal.timeout(15_000));
    return frame === undefined ? 'closed' : `frame ${Buffer.from(frame).toString('utf8').slice(0, 200)}`;
  } catch (error) {
    return error instanceof Error && error.name === 'TimeoutError' ? 'nothing' : 'reset';
  }
}

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const decode = (frame: Uint8Array | undefined) => JSON.parse(Buffer.from(frame ?? []).toString('utf8'));
const revised = (document: StoredDocument): StoredDocument => ({ ...document, _rev: firstRevision(document) });

/** What came of opening a protocol and saying one thing. */
async function asked(mesh: Mesh, { peerId }: Controller, protocol: string, message: unknown): Promise<string> {
  let stream: FrameStream;
  try {
    stream = await mesh.open(peerId, protocol);
  } catch {
    // The stream was reset before it could be used.
    return 'reset';
  }
  await stream.send(message instanceof Uint8Array ? message : encode(message)).catch(() => undefined);
  return outcome(stream);
}

test('a member that does not keep to the protocols gets nothing and changes nothing', async (t) => {
  const dataFolder = await mkdtemp(join(tmpdir(), 'selvedge-attacks-'));
  t.teardown(() => rm(dataFolder, { recursive: true, force: true }));
  let controller = await startController(dataFolder, 0);
  t.teardown(() => controller.stop());
  await controller.client.apply([application], ['test']);
  const honest = await joinBare(t, controller, 'honest');
  const bare = await joinBare(t, controller, 'bare');
  for (const member of [honest, bare]) {
    await member.present();
    const { stream, ...mailbox } = await member.replication('mailbox');
    await eventually(() => planInMailbox({ stream, ...mailbox }), {
      deadlineMs: waitMs,
      what: 'a plan in the mailbox',
    });
    stream.abort(new Error('seen'));
  }
  await eventually(async () => (await controller.client.instance(instanceName)).ready, { deadlineMs: waitMs });
  // What a node says of itself is its own to write; it is there before and after.
  const own = await bare.replication('mailbox');
  const observed = revised({ _id: 'observed/node', node: 'bare', links: [], addresses: [], problems: [] });
  t.deepEqual((await own.ask('bulkDocs', { docs: [observed] }))?.['result'], []);
  own.stream.abort(new Error('written'));

  await controller.stop();
  const before = await dump(dataFolder);
  t.true((before['mailbox/bare']?.length ?? 0) >= 3, 'a plan, an authority, an observation');
  controller = await startController(dataFolder, controller.port);
  await eventually(async () => (await controller.client.instance(instanceName)).ready, { deadlineMs: waitMs });
  await bare.present();

  const told = (pattern: RegExp): Promise<unknown> =>
    eventually(() => controller.events.some(({ type, message }) => type !== 'instance' && pattern.test(message)), {
      what: `the controller says ${pattern}`,
    });
  const refusals = (): number =>
    controller.events.filter(({ message }) => message.startsWith(`a request of ${bare.mesh.peerId}`)).length;
  const instanceBefore = await controller.client.instance(instanceName);

  // Databases that are not its own.
  const names = [
    'fabric',
    'mailbox/honest',
    'mailbox/box1',
    '../fabric',
    'mailbox/../fabric',
    '__proto__',
    '',
    'Mailbox',
  ];
  for (const name of names) {
    const { opening, receive } = await bare.replication(name);
    t.deepEqual(opening, { refused: 'there is no such database' }, name);
    t.is(await receive().catch(() => undefined), undefined, `nothing follows for ${name}`);
    await told(new RegExp(`for ${name.replaceAll('.', '\\.')} was refused: there is no such database`));
  }
  const odd = await bare.open(replicateProtocol);
  await odd.send(Buffer.concat([Buffer.from('.'), encode({ open: { name: 'fabric' } })]));
  t.regex(await outcome(odd), /refused/);

  // Documents that it may not write, in its own mailbox.
  const mailbox = await bare.replication('mailbox');
  t.deepEqual(mailbox.opening, { opened: 'mailbox' });
  const plan = (await planInMailbox(mailbox)) as StoredDocument;
  const { fabricId, node, peerId } = decode(Buffer.from(String(plan['jws']).split('.')[1] ?? '', 'base64url'));
  t.deepEqual({ node, peerId }, { node: 'bare', peerId: bare.mesh.peerId });
  const madeUp = { fabricId, node, peerId, epoch: 9, term: 9, generation: 9, instances: [], files: [] };
  const hash = 'a'.repeat(32);
  const next = (document: StoredDocument, _rev: string) => ({
    ...document,
    _rev: `2-${hash}`,
    _revisions: { start: 2, ids: [hash, _rev.slice(_rev.indexOf('-') + 1)] },
  });
  const forbidden: StoredDocument[] = [
    next({ _id: 'desired/plan', jws: bare.sign(planType, madeUp) }, String(plan._rev)),
    revised({ _id: 'desired/plan', jws: bare.sign(planType, madeUp) }),
    next({ _id: 'desired/plan', _deleted: true }, String(plan._rev)),
    revised({ _id: 'desired/plan', _deleted: true }),
    revised({ _id: 'desired/authority', chain: [] }),
    revised({ _id: 'desired/file/default.settings.one', contentBase64: '' }),
    revised({ _id: 'observed/node', node: 'honest' }),
    revised({ _id: 'observed/node', node: 'box1' }),
    { ...next({ _id: 'observed/node', _deleted: true }, String(observed._rev)) },
    revised({ _id: `observed/instance/${instanceName}`, node: 'box1', instance: instanceName }),
    revised({ _id: 'observed/instance/../node', node: 'bare', instance: '../node' }),
    revised({ _id: 'observed/instance/x', node: 'bare', instance: 'y' }),
    revised({ _id: 'observed/instance/large', node: 'bare', instance: 'large', text: 'x'.repeat(70_000) }),
    revised({ _id: 'node/honest', name: 'honest' }),
    revised({ _id: '_design/all', views: {} }),
    revised({ _id: '_local/checkpoint', last_seq: 1 }),
    { _id: 'observed/node', node: 'bare' },
    { _id: 'observed/node', node: 'bare', _rev: '1-short' },
    { ...observed, _rev: `3-${hash}`, _revisions: { start: 9, ids: [hash] } },
    { ...observed, _attachments: { file: { data: '' } } },
  ];
  for (const document of forbidden) {
    const refusedBefore = refusals();
    for (const request of [{ docs: [document] }, { docs: [document], new_edits: true }]) {
      const answer = await mailbox.ask('bulkDocs', request);
      t.like(
        answer,
        { result: [{ error: true, name: 'forbidden', status: 403 }] },
        JSON.stringify(document).slice(0, 200),
      );
    }
    await eventually(() => refusals() === refusedBefore + 2, { what: `two refusals of ${document._id}` });
  }
  const notServed: [string, ...unknown[]][] = [
    ['put', { _id: 'desired/plan', jws: 'x' }],
    ['put', { _id: '_local/../desired/plan', last_seq: 1 }],
    ['get', 'desired/plan'],
    ['get', '_local/../fabric'],
    ['post', { _id: 'desired/plan' }],
    ['remove', 'desired/plan'],
    ['destroy'],
    ['compact'],
    ['constructor'],
    ['__proto__'],
    ['changes', { since: 0, limit: 1_000_000 }],
    ['bulkGet', { docs: [{ id: '_local/x', rev: `1-${hash}` }] }],
    ['bulkDocs', { docs: 'desired/plan' }],
    ['bulkDocs', { docs: [null] }],
    ['revsDiff', { '../fabric\n': [`1-${hash}`] }],
  ];
  for (const [method, ...args] of notServed) {
    const refusedBefore = refusals();
    t.like(await mailbox.ask(method, ...args), { error: { name: 'bad_request', status: 400 } }, `${method} ${args}`);
    await eventually(() => refusals() === refusedBefore + 1, { what: `a refusal of ${method}` });
  }
  mailbox.stream.abort(new Error('enough'));

  // Facts into the controller's bulletin.
  const bulletin = await bare.replication('bulletin');
  t.deepEqual(bulletin.opening, { opened: 'bulletin' });
  const now = Date.now();
  const fact = factDocumentOf(
    bare.sign(factType, {
      ...{ fabricId, subject: `revocation/${honest.mesh.peerId}`, sequence: 1, issuer: bare.mesh.peerId },
      ...{ issuedAt: now, expiresAt: now + 86_400_000 },
      body: { kind: 'revocation', peerId: honest.mesh.peerId, node: 'honest', reason: 'made up' },
    }),
  );
  t.like(await bulletin.ask('bulkDocs', { docs: [revised({ ...fact })] }), { result: [{ name: 'forbidden' }] });
  await told(/of bulletin was refused: facts are read from a bulletin/);
  bulletin.stream.abort(new Error('enough'));

  // The lines of the controller's instance.
  const logs = await asked(bare.mesh, controller, logsProtocol, { instance: instanceName, tail: 10, follow: false });
  t.is(logs, 'reset');
  await told(/for logs was refused/);

  // Another node's instance, announced as its own.
  const link = await bare.open(linkProtocol);
  const self = { type: 'node', node: 'bare', router: 'edge', controller: false, addresses: [] };
  await link.send(encode(self));
  await link.send(encode({ type: 'summary', of: 'announcement', list: [], last: true, answer: false }));
  const heard: string[] = [];
  while (heard.length === 0) {
    const message = decode(await link.receive(AbortSignal.timeout(15_000)));
    if (message.type === 'statements') for (const { jws } of message.list) heard.push(jws);
  }
  const announced = heard
    .map((jws) => decode(Buffer.from(jws.split('.')[1] ?? '', 'base64url')))
    .find((announcement) => announcement.node === 'box1');
  const ticket: string = announced.instances.find(
    ({ instance }: { instance: string }) => instance === instanceName,
  ).ticket;
  const claims = { fabricId, peerId: bare.mesh.peerId, node: 'bare', bootCounter: 9 };
  const ticketOfMine = bare.sign(ticketType, {
    ...decode(Buffer.from(ticket.split('.')[1] ?? '', 'base64url')),
    peerId: bare.mesh.peerId,
    term: 99,
  });
  const nowhere = { peerId: bare.mesh.peerId, part: 0, bootCounter: 0, sequence: 0 };
  const lies = [
    bare.sign(announcementType, {
      ...claims,
      sequence: 1,
      instances: [{ instance: instanceName, ready: true, ticket }],
    }),
    bare.sign(announcementType, {
      ...{ ...claims, sequence: 2 },
      instances: [{ instance: instanceName, ready: true, ticket: ticketOfMine }],
    }),
    bare.sign(announcementType, { ...announced, bootCounter: announced.bootCounter + 1, instances: [] }),
    bare.sign(announcementType, { ...claims, sequence: 3, instances: 'none' }),
    bare.sign(planType, { ...claims, sequence: 4, instances: [] }),
    'nonsense',
  ];
  for (const lie of lies) {
    const refusedBefore = controller.events.filter(({ message }) => message.includes('announcement')).length;
    const position = { ...nowhere, bootCounter: Number.MAX_SAFE_INTEGER };
    await link.send(encode({ type: 'statements', of: 'announcement', list: [{ ...position, jws: lie }] }));
    await eventually(
      () => controller.events.filter(({ message }) => message.includes('announcement')).length > refusedBefore,
      { what: `a refusal of ${lie.slice(0, 40)}` },
    );
  }
  // It says that it is a router, and what it likes of others.
  await link.send(encode({ ...self, router: 'interior' }));
  const links = { router: 'interior', sequence: 1, neighbours: [], attached: [] };
  for (const [lie, why] of [
    [{ ...claims, ...links, peerId: announced.peerId, node: 'box1' }, 'signed by another peer'],
    [{ ...claims, ...links, neighbours: [{ peerId: announced.peerId, costMicroseconds: 0 }] }, 'malformed'],
  ] as const) {
    const position = { ...nowhere, sequence: 1 };
    const jws = bare.sign(linkStateType, lie);
    await link.send(encode({ type: 'statements', of: 'link-state', list: [{ ...position, jws }] }));
    await told(new RegExp(`a link state from .* was refused: ${why}`));
  }
  link.abort(new Error('enough'));

  // Messages that no link speaks: each ends its session, and the next one begins as if nothing had been.
  const nonsense: Uint8Array[] = [
    Buffer.from('no JSON'),
    encode(null),
    encode({ type: 'unknown' }),
    encode({ type: 'node', node: 'x'.repeat(1000), router: 'interior', controller: true, addresses: [] }),
    encode({ type: 'node', node: 'bare', router: 'interior', controller: true, addresses: [7] }),
    encode({ type: 'neighbours', list: [{ peerId: 'x', router: 'interior' }] }),
    encode({ type: 'neighbours', list: Array.from({ length: 2_000 }, () => '') }),
    encode({ type: 'announcement', jws: 'of a former version' }),
    encode({ type: 'statements', of: 'announcement', list: [{ jws: { header: 1 } }] }),
    encode({ type: 'statements', of: 'gossip', list: [] }),
    encode({ type: 'statements', of: 'link-state', list: [{ ...nowhere, jws: 'x'.repeat(3_000_000) }] }),
    encode({ type: 'statements', of: 'link-state', list: Array.from({ length: 65 }, () => ({ ...nowhere, jws: '' })) }),
    encode({
      type: 'summary',
      of: 'link-state',
      list: Array.from({ length: 1_025 }, () => nowhere),
      last: true,
      answer: false,
    }),
    encode({ type: 'summary', of: 'link-state', list: [{ ...nowhere, sequence: -1 }], last: true, answer: false }),
    encode({ type: 'reach-wanted', list: ['nobody'] }),
    encode({ type: 'reach', list: [{ peerId: bare.mesh.peerId, costMicroseconds: -1 }] }),
  ];
  for (const message of nonsense) {
    const session = await bare.open(linkProtocol);
    const unlinked = controller.events.filter(({ type }) => type === 'unlinked').length;
    await session.send(message);
    let last = await outcome(session);
    while (last.startsWith('frame')) last = await outcome(session);
    t.is(last, 'reset', Buffer.from(message).toString('utf8').slice(0, 80));
    await eventually(() => controller.events.filter(({ type }) => type === 'unlinked').length > unlinked);
  }
  const oversize = await bare.open(linkProtocol);
  await t.throwsAsync(oversize.send(new Uint8Array(5_000_000)), undefined, 'the mesh carries no such frame');
  oversize.abort(new Error('enough'));

  // In the ledger are all of them, counted; nothing else has changed.
  const expected = refusals();
  const counted = async (): Promise<number> => {
    const events = await controller.client.events({ limit: 1000 });
    return events
      .filter(({ type, subject }) => type === 'request-refused' && subject === bare.mesh.peerId)
      .reduce(
        (sum, { message }) =>
          sum + 1 + Number(/\((\d+) more within/.exec(message)?.[1] ?? 0) - Number(/more within/.test(message)),
        0,
      );
  };
  // The longer refusals go on, the longer they are counted before they are written.
  await eventually(async () => (await counted()) >= expected, {
    what: `${expected} refusals in the ledger`,
    deadlineMs: 150_000,
  });
  const instanceAfter = await controller.client.instance(instanceName);
  t.deepEqual(instanceAfter, instanceBefore, 'the instance runs on as it did');
  const { nodes } = await controller.client.status();
  t.deepEqual(nodes.map(({ name }) => name).sort(), ['bare', 'box1', 'honest']);
  await controller.stop();
  t.deepEqual(await dump(dataFolder), before);

  // What runs is ended by a daemon, as an operator does.
  controller = await startController(dataFolder, controller.port);
  await controller.client.down(true);
  await eventually(() => controller.events.some(({ type }) => type === 'stopped'), { deadlineMs: waitMs });
});

test('a stranger opens nothing but enrollment: everything else is reset without an answer', async (t) => {
  const dataFolder = await mkdtemp(join(tmpdir(), 'selvedge-stranger-'));
  t.teardown(() => rm(dataFolder, { recursive: true, force: true }));
  const controller = await startController(dataFolder, 0);
  t.teardown(() => controller.stop());
  const stranger: Mesh = await startMesh(t);
  await stranger.connect({ peerId: controller.peerId, addresses: loopback(controller) });
  const hello: Record<string, Uint8Array> = {
    [replicateProtocol]: Buffer.concat([Buffer.from('.'), encode({ open: 'mailbox' })]),
    [linkProtocol]: encode({ type: 'node', node: 'x', router: 'edge', controller: false, addresses: [] }),
    [logsProtocol]: encode({ instance: instanceName, tail: 1, follow: false }),
    '/selvedge/tunnel/1': encode({}),
    '/selvedge/replicate/2': encode({}),
  };
  for (const [protocol, frame] of Object.entries(hello)) {
    t.is(await asked(stranger, controller, protocol, frame), 'reset', protocol);
  }
  t.deepEqual(
    controller.events.filter(({ type }) => type === 'linked'),
    [],
  );
  const enrollment = await stranger.open(controller.peerId, enrollmentProtocol);
  await enrollment.send(encode({ type: 'hello' }));
  t.regex(await outcome(enrollment), /^frame \{"type":"hello"/, 'enrollment is served');
  enrollment.abort(new Error('seen'));
});
