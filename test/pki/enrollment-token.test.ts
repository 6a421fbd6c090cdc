import test from 'ava';
import { createSigningRequest } from '../../pki/csr.ts';
import { enrollWithToken } from '../../pki/enrollment-client.ts';
import { encodeChain } from '../../pki/enrollment-frames.ts';
import { formatToken, parseToken } from '../../pki/tokens.ts';
import { createFramePair } from '../frame-pair.ts';
import { createSite, serve } from './enrollment-fixture.ts';
import { createFabric, hourMs } from './fabric-fixture.ts';

const text = (frames: readonly Uint8Array[]) => frames.map((frame) => Buffer.from(frame).toString()).join('\n');
const frame = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

test('a box with a token is admitted, and gets a certificate for its own key, name and peer id', async (t) => {
  const { fabric, server, newToken, newBox, enroll, requests } = await createSite();
  const box = newBox();
  const token = await newToken({ labels: { site: 'north' }, router: 'interior' });
  const enrolled = await enroll(box, token, { labels: { site: 'south', room: '4' }, nameChosen: true });
  t.like(enrolled, { node: 'box2', router: 'interior', fabricId: fabric.id, fabricName: 'acme' });
  t.like(enrolled.identity, { kind: 'node', node: 'box2', peerId: box.peerId, issueNumber: 1 });
  t.like(enrolled.serverIdentity, { kind: 'controller', node: 'box1' });
  t.is(enrolled.controllers[0]?.peerId, fabric.controller.peerId);
  t.deepEqual(enrolled.chain.slice(1), fabric.controller.chain);
  t.like(requests[0], {
    peerId: box.peerId,
    name: 'box2',
    nameChosen: true,
    publicKey: box.key.publicKey,
    labels: { site: 'north', room: '4' },
    router: 'interior',
    engines: ['process'],
  });
  t.deepEqual(server.refusals, []);
});

test('the private key travels in no frame', async (t) => {
  const { server, newToken, newBox, enrollmentOf } = await createSite();
  const box = newBox();
  const pair = server.open(box.peerId);
  await enrollWithToken(enrollmentOf(box, await newToken(), pair.near));
  const sent = text(pair.sentByNear);
  const secrets = box.key.toPem().split('\n').slice(1, -2);
  t.true(sent.includes('"request"'));
  t.false(secrets.some((line) => sent.includes(line)));
});

test('the real chain replayed under another peer id gets no secret', async (t) => {
  const { fabric, newToken, newBox, enrollmentOf } = await createSite();
  const token = await newToken();
  const { secret } = parseToken(token);
  // Everything that the real controller shows, on a connection that Noise authenticated as somebody else.
  const impostor = serve(fabric, fabric.controller);
  const pair = impostor.open('anybody');
  const error = await t.throwsAsync(
    enrollWithToken(enrollmentOf(newBox(), token, pair.near, { peerId: fabric.newPeerId() })),
    { name: 'UntrustedAnswerError', message: /wrong-peer/ },
  );
  t.regex((error as { action?: string }).action ?? '', /No secret was sent/);
  t.is(pair.sentByNear.length, 1);
  t.false(text(pair.sentByNear).includes(secret));
  t.truthy(await pair.served);
});

test('an answerer of another fabric, of a forged one, or without a controller’s chain gets no secret', async (t) => {
  const { fabric, newToken, newBox, enrollmentOf } = await createSite();
  const token = await newToken();
  const { secret } = parseToken(token);
  const other = createFabric({ name: 'other' });
  const member = fabric.addNode('box3');
  const cases = [
    { server: serve(other, other.controller), peerId: other.controller.peerId, name: 'ForeignFabricError' },
    // Claims the right fabric id over its own chain.
    {
      server: serve({ ...other, id: fabric.id }, other.controller),
      peerId: other.controller.peerId,
      name: 'UntrustedAnswerError',
    },
    { server: serve(fabric, member), peerId: member.peerId, name: 'NotAControllerError' },
    { server: serve(fabric, { ...member, chain: [fabric.root] }), peerId: member.peerId, name: 'UntrustedAnswerError' },
  ];
  for (const { server, peerId, name } of cases) {
    const box = newBox();
    const pair = server.open(box.peerId);
    await t.throwsAsync(enrollWithToken(enrollmentOf(box, token, pair.near, { peerId })), { name });
    t.false(text(pair.sentByNear).includes(secret), name);
    t.is(pair.sentByNear.length, 1);
  }
});

test('wrong, used and expired tokens and bad requests get the same bytes, and only the ledger learns which it was', async (t) => {
  const { fabric, server, newToken, newBox, enroll } = await createSite();
  const used = await newToken();
  await enroll(newBox(), used);
  const expired = await newToken({ ttlMs: 60_000 });
  await fabric.clock.advance(60_000);
  const wrong = formatToken({ fabricId: fabric.id, secret: 'a'.repeat(32) });
  const answers: string[] = [];
  for (const token of [wrong, used, expired]) {
    const box = newBox();
    const pair = server.open(box.peerId);
    await t.throwsAsync(enroll(box, token, { stream: pair.near }), { name: 'EnrollmentRefusedError' });
    answers.push(text(pair.sentByFar.slice(1)));
  }
  const box = newBox();
  const pair = server.open(box.peerId);
  const request = createSigningRequest({ key: box.key, commonName: 'box2' });
  request[request.length - 1] = (request.at(-1) ?? 0) ^ 1;
  await pair.near.send(frame({ type: 'hello' }));
  await pair.near.receive();
  await pair.near.send(
    frame({
      type: 'token',
      secret: parseToken(await newToken()).secret,
      name: 'box2',
      nameChosen: false,
      request: Buffer.from(request).toString('base64'),
      labels: {},
      engines: [],
      platform: { os: 'linux', arch: 'x64', software: '0' },
    }),
  );
  answers.push(Buffer.from((await pair.near.receive()) ?? []).toString());
  t.is(new Set(answers).size, 1, answers.join('\n'));
  t.deepEqual(
    server.refusals.slice(0, 3).map(({ reason }) => reason),
    ['token unknown', 'token used', 'token expired'],
  );
  t.regex(server.refusals[3]?.reason ?? '', /not signed by its own key/);
  t.false(JSON.stringify(server.refusals).includes(parseToken(used).secret));
});

test('after a lost reply the same box is answered again, with a certificate for the same key', async (t) => {
  const { server, newToken, newBox, enroll, enrollmentOf } = await createSite();
  const box = newBox();
  const token = await newToken();
  const pair = server.open(box.peerId);
  const { receive } = pair.near;
  let received = 0;
  const losing = {
    ...pair.near,
    receive: async (signal?: AbortSignal) => {
      const answer = await receive(signal);
      received += 1;
      if (received === 2) throw new Error('the link broke');
      return answer;
    },
  };
  await t.throwsAsync(enrollWithToken(enrollmentOf(box, token, losing)), { message: 'the link broke' });
  const again = await enroll(box, token);
  t.like(again.identity, { node: 'box2', peerId: box.peerId });
  await t.throwsAsync(enroll(newBox(), token), { name: 'EnrollmentRefusedError' });
  await t.throwsAsync(enroll({ ...newBox(), peerId: box.peerId }, token), { name: 'EnrollmentRefusedError' });
});

test('two boxes at once on a single-use token: exactly one is admitted', async (t) => {
  const { newToken, newBox, enroll, requests } = await createSite();
  const token = await newToken();
  const results = await Promise.allSettled([1, 2, 3].map(() => enroll(newBox(), token)));
  t.is(results.filter(({ status }) => status === 'fulfilled').length, 1);
  t.is(requests.length, 1);
});

test('a name that is taken is refused with that reason, and the token is not lost on it', async (t) => {
  const { newToken, newBox, enroll, server } = await createSite(['box2']);
  const box = newBox();
  const token = await newToken();
  await t.throwsAsync(enroll(box, token), { name: 'EnrollmentRefusedError', message: /box2 is taken/ });
  t.is(server.refusals.length, 1);
  t.is((await enroll(box, token, { name: 'box3' })).node, 'box3');
});

test('a certificate for another key, peer or name is not accepted by the box', async (t) => {
  const { fabric, tokens, newToken, newBox, enrollmentOf } = await createSite();
  const box = newBox();
  const other = newBox();
  const { controller } = fabric;
  for (const wrong of [
    () => fabric.addNode('box2', { peerId: other.peerId, key: box.key }),
    () => fabric.addNode('box2', { peerId: box.peerId, key: other.key }),
    () => fabric.addNode('box7', { peerId: box.peerId, key: box.key }),
    () => controller,
    () => createFabric().controller,
  ]) {
    const server = serve(fabric, controller, {
      tokens,
      admit: async () => ({ chain: encodeChain(wrong().chain), node: 'box2', router: 'edge', controllers: [] }),
    });
    const enrollment = enrollmentOf(box, await newToken(), server.open(box.peerId).near);
    await t.throwsAsync(enrollWithToken(enrollment), { name: 'WrongAdmissionError' });
  }
});

test('a malformed token reaches nobody', async (t) => {
  const { newBox, enrollmentOf } = await createSite();
  const pair = createFramePair('x');
  await t.throwsAsync(enrollWithToken(enrollmentOf(newBox(), 'sv1_x', pair.near)), { name: 'TokenFormatError' });
  t.is(pair.sentByNear.length, 0);
  await t.throwsAsync(pair.far.receive(), { name: 'TokenFormatError' });
});

test('a peer that asks too often is told to wait, and may ask again a minute later', async (t) => {
  const { fabric, newToken, newBox, enroll } = await createSite();
  const box = newBox();
  const wrong = formatToken({ fabricId: fabric.id, secret: 'a'.repeat(32) });
  for (let attempt = 0; attempt < 30; attempt += 1) {
    await t.throwsAsync(enroll(box, wrong), { name: 'EnrollmentRefusedError' });
  }
  await t.throwsAsync(enroll(box, wrong), { name: 'EnrollmentBusyError' });
  const token = await newToken({ ttlMs: hourMs });
  await t.notThrowsAsync(enroll(newBox(), token));
  await fabric.clock.advance(60_000);
  await t.throwsAsync(enroll(box, wrong), { name: 'EnrollmentRefusedError' });
});

test('peers without number cannot fill the ledger', async (t) => {
  const { fabric, server, newBox } = await createSite();
  const { peerId } = newBox();
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const pair = server.open(`${peerId}${attempt}`);
    await pair.near.send(frame({ type: 'nonsense' }));
    await pair.served;
  }
  t.is(server.refusals.length, 120);
  await fabric.clock.advance(60_000);
  const pair = server.open(peerId);
  await pair.near.send(frame({ type: 'nonsense' }));
  await pair.served;
  t.is(server.refusals.length, 122);
  t.regex(server.refusals[120]?.reason ?? '', /80 earlier refusals/);
});

test('attack: labels with what records pass over are refused', async (t) => {
  const { server, newToken, newBox, enrollmentOf, requests } = await createSite();
  const box = newBox();
  const honest = server.open(box.peerId);
  await enrollWithToken(enrollmentOf(box, await newToken({ uses: 2 }), honest.near));
  const claim = Buffer.from(honest.sentByNear[1] ?? []).toString();
  for (const [labels, admitted] of [
    ['{"__proto__":5}', 0],
    ['{"site":"north"}', 1],
  ] as const) {
    requests.length = 0;
    const { near, served } = server.open(box.peerId);
    await near.send(frame({ type: 'hello' }));
    await near.send(Buffer.from(claim.replace('"labels":{}', `"labels":${labels}`)));
    await near.close();
    await served;
    t.is(requests.length, admitted, labels);
  }
});
