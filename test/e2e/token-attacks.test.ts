// Attacks on joining, over real libp2p: tokens that do not count, one token for two, a lost reply, and somebody who shows the
// real controller's chain under a key of his own. The nodes are the product's own; their disks, stores and engines are
// simulated, so that nothing is left behind, and the controller's clock can be put forward.

import test, { type ExecutionContext } from 'ava';
import { replicate } from '../../control/replicate.ts';
import { createLibp2pMesh } from '../../mesh/libp2p-mesh.ts';
import type { Address, FrameStream, Mesh } from '../../mesh/mesh.ts';
import type { Clock } from '../../node-runtime/clock.ts';
import type { Controller } from '../../node-runtime/controller.ts';
import { createController } from '../../node-runtime/controller.ts';
import { createEngines } from '../../node-runtime/engines.ts';
import { type SelvedgeNode, startNode } from '../../node-runtime/node.ts';
import type { NodePorts, NodeSettings } from '../../node-runtime/node-ports.ts';
import { createSystemClock } from '../../node-runtime/system-clock.ts';
import { createSystemRandom } from '../../node-runtime/system-random.ts';
import { createSigningRequest } from '../../pki/csr.ts';
import { type Enrolled, enrollWithToken } from '../../pki/enrollment-client.ts';
import { enrollmentProtocol } from '../../pki/enrollment-frames.ts';
import { uniformRefusal } from '../../pki/enrollment-server.ts';
import type { PrivateKey } from '../../pki/keys.ts';
import { createNodeKeys } from '../../pki/node-keys.ts';
import { parseToken } from '../../pki/tokens.ts';
import { createSimDisk } from '../../simulations/sim-disk.ts';
import { createSimEngine } from '../../simulations/sim-engine.ts';
import { openSimGateway } from '../../simulations/sim-gateway.ts';
import { createSimHardware } from '../../simulations/sim-hardware.ts';
import { simDeriveKey } from '../../simulations/sim-scrypt.ts';
import { createSimServiceNetwork } from '../../simulations/sim-service-network.ts';
import { createSimStore } from '../../simulations/sim-store.ts';
import { eventually } from '../eventually.ts';
import { startNode as startMesh } from '../mesh/libp2p-world.ts';

const clock = createSystemClock();
const random = createSystemRandom();
const keys = createNodeKeys();
const platform = { os: 'linux', arch: 'x64', software: 'test' };

interface Running {
  node: SelvedgeNode;
  /** Everything that it reported, as text. */
  said: string[];
  /** Addresses that others can dial. */
  addresses: Address[];
  /** Puts its clock forward. */
  later(ms: number): void;
}

/** The product's node on a real mesh of its own. */
async function runNode(t: ExecutionContext, settings: Partial<NodeSettings>): Promise<Running> {
  let offsetMs = 0;
  const shifted: Clock = { ...clock, now: () => clock.now() + offsetMs };
  const said: string[] = [];
  let mesh: Mesh | undefined;
  const ports: NodePorts = {
    ...{ clock: shifted, random, keys, replicate, deriveKey: simDeriveKey, disk: createSimDisk() },
    engines: createEngines([createSimEngine({ clock, random })]),
    hardware: createSimHardware(),
    probe: async () => ({ ok: true }),
    freePort: async () => 20_000,
    openStore: async () => createSimStore(),
    async createMesh(identity) {
      const listen = { port: 0, hosts: ['127.0.0.1'] };
      mesh = await createLibp2pMesh({ identityPem: identity.toPem(), clock, random, listen, discovery: false });
      return mesh;
    },
    openGateway: openSimGateway,
    createController,
    createServiceNetwork: ({ localPeerId }) => createSimServiceNetwork({ node: localPeerId }),
    platform: { arch: 'x64', os: 'linux' },
    hostName: 'box',
    software: 'test',
  };
  const wished = { name: 'box', labels: {}, found: false, join: [], ...settings };
  const node = await startNode(ports, wished, (type, message, detail) =>
    said.push(`${type} ${message} ${JSON.stringify(detail ?? {})}`),
  );
  t.teardown(() => node.stop({ workloads: false }));
  return {
    node,
    said,
    addresses: mesh?.addresses() ?? [],
    later(ms) {
      offsetMs += ms;
    },
  };
}

interface Fabric extends Running {
  peerId: string;
  controller: Controller;
  token(ttlMs?: number): Promise<string>;
  /** Lines of the ledger: type, subject, message. */
  events(): Promise<string[]>;
}

async function foundFabric(t: ExecutionContext, fabricName: string): Promise<Fabric> {
  const running = await runNode(t, { name: 'box1', found: true, fabricName, router: 'interior' });
  const { controller } = await running.node.joined;
  if (controller === undefined) throw new Error('box1 is no controller');
  return {
    ...running,
    peerId: running.node.peerId,
    controller,
    async token(ttlMs = 600_000) {
      return (await controller.createToken({ uses: 1, ttlMs, labels: {}, router: 'edge' })).token;
    },
    async events() {
      const events = await controller.ledger.list({ limit: 1000 });
      return events.map(({ type, subject, message }) => `${type} ${subject} ${message}`);
    },
  };
}

interface Box {
  mesh: Mesh;
  key: PrivateKey;
}

async function newBox(t: ExecutionContext, { peerId, addresses }: Fabric): Promise<Box> {
  const mesh = await startMesh(t);
  await mesh.connect({ peerId, addresses });
  return { mesh, key: keys.create('P-256') };
}

async function enroll(
  { mesh, key }: Box,
  { peerId }: Fabric,
  token: string,
  change: (stream: FrameStream) => FrameStream = (stream) => stream,
): Promise<Enrolled> {
  const stream = change(await mesh.open(peerId, enrollmentProtocol));
  const self = mesh.peerId;
  const wishes = { name: 'box2', nameChosen: false, labels: {}, engines: ['process'], platform };
  return enrollWithToken({ stream, peerId, clock, token, self, key, ...wishes });
}

const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('utf8');

/** The very bytes that a secret is answered with. */
async function answerTo({ mesh, key }: Box, { peerId }: Fabric, secret: string, request?: string): Promise<string> {
  const stream = await mesh.open(peerId, enrollmentProtocol);
  await stream.send(encode({ type: 'hello' }));
  await stream.receive();
  const made = Buffer.from(createSigningRequest({ key, commonName: 'box2' })).toString('base64');
  const wishes = { name: 'box2', nameChosen: false, labels: {}, engines: ['process'], platform };
  await stream.send(encode({ type: 'token', secret, request: request ?? made, ...wishes }));
  const answer = text(await stream.receive());
  if ((await stream.receive()) !== undefined) throw new Error('one frame too many');
  await stream.close();
  return answer;
}

test('wrong, used, expired and foreign tokens get the same bytes; only the ledger says which it was', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  const other = await foundFabric(t, 'other');
  const box = await newBox(t, fabric);

  const used = await fabric.token();
  await enroll(await newBox(t, fabric), fabric, used);
  const unused = await fabric.token();
  const expired = await fabric.token(60_000);
  fabric.later(61_000);
  const secrets = {
    wrong: 'a'.repeat(32),
    used: parseToken(used).secret,
    expired: parseToken(expired).secret,
    foreign: parseToken(await other.token()).secret,
  };
  const answers = new Map<string, string>();
  for (const [what, secret] of Object.entries(secrets)) answers.set(what, await answerTo(box, fabric, secret));
  const { secret } = parseToken(unused);
  const forAnotherKey = Buffer.from(createSigningRequest({ key: keys.create('P-256'), commonName: 'x' }));
  forAnotherKey.set([forAnotherKey.at(-1) === 0 ? 1 : 0], forAnotherKey.length - 1);
  answers.set('a good one with a bad request', await answerTo(box, fabric, secret, forAnotherKey.toString('base64')));
  const refusal = JSON.stringify({ type: 'refused', message: uniformRefusal });
  t.deepEqual(
    [...answers.values()],
    Array.from({ length: 5 }, () => refusal),
    [...answers].join('\n'),
  );

  // What the answerer must find out for itself is written down, without any secret.
  const events = await eventually(async () => {
    const lines = await fabric.events();
    return lines.some((line) => line.includes('admitted')) && fabric.said.length >= 5 ? lines : undefined;
  });
  for (const reason of ['token unknown', 'token used', 'token expired']) {
    t.true(
      fabric.said.some((line) => line.includes(`${box.mesh.peerId} was refused: ${reason}`)),
      reason,
    );
  }
  t.true(events.some((line) => line.startsWith(`enrollment-refused ${box.mesh.peerId}`)));
  for (const known of [...Object.values(secrets), secret]) {
    t.false(
      [...events, ...fabric.said].some((line) => line.includes(known)),
      'a secret was written down',
    );
  }
  // The token of the bad request was not used up by it.
  t.is((await enroll(box, fabric, unused)).identity.peerId, box.mesh.peerId);
  // A box with a token of another fabric says nothing to this one.
  await t.throwsAsync(enroll(await newBox(t, fabric), fabric, await other.token()), { name: 'ForeignFabricError' });
});

test('one token used by two keys at once admits one of them', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  for (let round = 0; round < 3; round += 1) {
    const token = await fabric.token();
    const boxes = [await newBox(t, fabric), await newBox(t, fabric), await newBox(t, fabric)];
    const results = await Promise.allSettled(boxes.map((box) => enroll(box, fabric, token)));
    t.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected', 'rejected']);
    for (const result of results) {
      if (result.status === 'rejected') t.is(result.reason.message, uniformRefusal);
    }
  }
  const { nodes } = await fabric.controller.status.status();
  t.is(nodes.length, 4, 'the controller and one of each round');
});

test('one identity with two authority keys counts as two, and one key with two identities too', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  const token = await fabric.token();
  const box = await newBox(t, fabric);
  await enroll(box, fabric, token);
  await t.throwsAsync(enroll({ ...box, key: keys.create('P-256') }, fabric, token), { message: uniformRefusal });
  await t.throwsAsync(enroll({ ...(await newBox(t, fabric)), key: box.key }, fabric, token), {
    message: uniformRefusal,
  });
});

test('the same key is answered again after a lost reply; nobody else is', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  const token = await fabric.token();
  const box = await newBox(t, fabric);
  const losing = (stream: FrameStream): FrameStream => {
    let received = 0;
    return {
      ...stream,
      async receive(signal) {
        const frame = await stream.receive(signal);
        received += 1;
        if (received < 2) return frame;
        // The answer was on the wire; the box never sees it.
        stream.abort(new Error('the link was lost'));
        throw new Error('the link was lost');
      },
    };
  };
  for (let lost = 0; lost < 2; lost += 1) {
    await t.throwsAsync(enroll(box, fabric, token, losing), { message: /link was lost/ });
    await t.throwsAsync(enroll(await newBox(t, fabric), fabric, token), { message: uniformRefusal });
  }
  const first = await enroll(box, fabric, token);
  const again = await enroll(box, fabric, token);
  t.is(again.node, first.node);
  t.is(again.identity.authorityKeySha256, first.identity.authorityKeySha256);
  const { nodes } = await fabric.controller.status.status();
  t.is(nodes.length, 2, 'one box is one node, however often it asked');
});

interface Impostor {
  mesh: Mesh;
  addresses: Address[];
  /** Every frame that anybody sent to it. */
  received: Uint8Array[];
}

/** Answers every request to be admitted with this greeting, and then says what it can to get more. */
async function runImpostor(t: ExecutionContext, greeting: (mesh: Mesh) => Promise<Uint8Array>): Promise<Impostor> {
  const mesh = await startMesh(t);
  const received: Uint8Array[] = [];
  const answer = await greeting(mesh);
  mesh.handle(enrollmentProtocol, 'anyone', async (stream) => {
    for (let frame = await stream.receive(); frame !== undefined; frame = await stream.receive()) {
      received.push(frame);
      await stream.send(answer);
    }
  });
  return { mesh, addresses: mesh.addresses(), received };
}

/** What the real controller shows to everybody. */
async function greetingOf(mesh: Mesh, { peerId, addresses }: Fabric): Promise<Uint8Array> {
  await mesh.connect({ peerId, addresses });
  const stream = await mesh.open(peerId, enrollmentProtocol);
  await stream.send(encode({ type: 'hello' }));
  const frame = await stream.receive();
  stream.abort(new Error('seen'));
  return frame ?? new Uint8Array();
}

test('who shows the real chain under another key gets no secret, nor anything else', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  const other = await foundFabric(t, 'other');
  const member = { key: keys.create('P-256'), token: await fabric.token() };
  const greetings: Record<string, { greeting: (mesh: Mesh) => Promise<Uint8Array>; error: string }> = {
    'the real chain, replayed': {
      greeting: (mesh) => greetingOf(mesh, fabric),
      error: 'UntrustedAnswerError',
    },
    'the chain of another fabric under the name of this one': {
      async greeting(mesh) {
        const real = JSON.parse(text(await greetingOf(mesh, fabric)));
        const foreign = JSON.parse(text(await greetingOf(mesh, other)));
        return encode({ ...real, chain: foreign.chain });
      },
      error: 'UntrustedAnswerError',
    },
    'a chain that ends in a root of its own, with the real root behind it': {
      async greeting(mesh) {
        const real = JSON.parse(text(await greetingOf(mesh, fabric)));
        const foreign = JSON.parse(text(await greetingOf(mesh, other)));
        return encode({ ...real, chain: [...foreign.chain, real.chain.at(-1)] });
      },
      error: 'UntrustedAnswerError',
    },
    'no chain at all': {
      async greeting(mesh) {
        return encode({ ...JSON.parse(text(await greetingOf(mesh, fabric))), chain: [] });
      },
      error: 'EnrollmentProtocolError',
    },
    'its own chain: a member of the fabric, but no controller': {
      async greeting(mesh) {
        const real = JSON.parse(text(await greetingOf(mesh, fabric)));
        const { chain } = await enroll({ mesh, key: member.key }, fabric, member.token);
        return encode({ ...real, chain: chain.map((der) => Buffer.from(der).toString('base64')) });
      },
      error: 'NotAControllerError',
    },
  };
  for (const [title, { greeting, error }] of Object.entries(greetings)) {
    const impostor = await runImpostor(t, greeting);
    const token = await fabric.token();
    const box: Box = { mesh: await startMesh(t), key: keys.create('P-256') };
    const sent: Uint8Array[] = [];
    const recording = (stream: FrameStream): FrameStream => ({
      ...stream,
      async send(frame) {
        sent.push(frame.slice());
        await stream.send(frame);
      },
    });
    await box.mesh.connect({ peerId: impostor.mesh.peerId, addresses: impostor.addresses });
    const asked = enroll(box, { ...fabric, peerId: impostor.mesh.peerId }, token, recording);
    t.is((await t.throwsAsync(asked))?.name, error, title);
    t.deepEqual(sent.map(text), [JSON.stringify({ type: 'hello' })], `${title}: all that the box sent`);
    t.deepEqual(impostor.received.map(text), sent.map(text), `${title}: all that the impostor got`);
    // The token is as good as before.
    const honest = await newBox(t, fabric);
    t.is((await enroll(honest, fabric, token)).identity.peerId, honest.mesh.peerId, title);
  }
});

test('a whole box between an impostor and the real controller gives the impostor nothing and joins', async (t) => {
  const fabric = await foundFabric(t, 'acme');
  const impostor = await runImpostor(t, (mesh) => greetingOf(mesh, fabric));
  const token = await fabric.token();
  const joiner = await runNode(t, { name: 'box2', token, join: [...impostor.addresses, ...fabric.addresses] });
  const { fabricId } = (await joiner.node.joined).membership();
  t.is(fabricId, parseToken(token).fabricId);
  t.true(impostor.received.length > 0, 'it was asked');
  const { secret } = parseToken(token);
  for (const frame of impostor.received) {
    t.is(text(frame), JSON.stringify({ type: 'hello' }));
    t.false(text(frame).includes(secret));
  }
  t.true(joiner.said.some((line) => line.includes(`${impostor.mesh.peerId} did not prove its membership`)));
  t.false(joiner.said.some((line) => line.includes(secret)));
  await eventually(() => fabric.said.some((line) => line.startsWith('linked linked to box2')));
  t.false(joiner.said.some((line) => line.startsWith('linked') && line.includes(impostor.mesh.peerId)));
});
