// Approval by code as design section 5 describes it, and what somebody in the middle, beside it or in front of it gets out of it.

import test from 'ava';
import { registerForApproval } from '../../pki/approval-client.ts';
import { parseApprovalCode } from '../../pki/approval-code.ts';
import { encodeChain } from '../../pki/enrollment-frames.ts';
import { createFramePair } from '../frame-pair.ts';
import { type Box, createSite, type Frame, junk, read, requestOf, type Site, write } from './approval-fixture.ts';
import { createFabric, hourMs } from './fabric-fixture.ts';

const secretOf = (box: Box): string => parseApprovalCode(box.code()).code.slice(2);
const text = (frames: readonly Uint8Array[]) => frames.map((frame) => Buffer.from(frame).toString()).join('\n');

/** Another code with the same handle. */
function mistyped(code: string): string {
  const last = code.at(-1) === 'Z' ? 'Y' : 'Z';
  return `${code.slice(0, -1)}${last}`;
}

async function waitingBox(site: Site): Promise<{ box: Box } & ReturnType<Site['register']>> {
  const box = await site.newBox();
  const registered = site.register(box);
  await site.untilPending(site.pending.list().length + 1);
  return { box, ...registered };
}

test('the box whose code is typed is admitted, with a certificate for its own key, and pins the root that was proved', async (t) => {
  const site = await createSite();
  const { fabric, pending, requests, approve } = site;
  const { box, joined, pair } = await waitingBox(site);
  const handle = box.code().slice(0, 2);
  t.like(pending.list()[0], { handle, name: 'box2', peerId: box.peerId, address: '192.0.2.7' });
  t.deepEqual(box.waiting, [fabric.id]);
  const secret = secretOf(box);
  const typed = box.code().toLowerCase().replaceAll('-', ' ');
  t.deepEqual(await approve(typed, { name: 'press-4' }), { node: 'press-4', peerId: box.peerId });
  const enrolled = await joined;
  t.like(enrolled, { node: 'press-4', fabricId: fabric.id, fabricName: 'acme', router: 'edge' });
  t.like(enrolled.identity, { kind: 'node', node: 'press-4', peerId: box.peerId });
  t.like(enrolled.serverIdentity, { kind: 'controller', node: 'box1' });
  t.like(requests[0], { by: 'approval', nameChosen: true, labels: { room: '4', site: 'north' } });
  t.deepEqual(pending.list(), []);
  const travelled = text([...pair.sentByNear, ...pair.sentByFar]);
  t.false(travelled.includes(secret), 'the code travels in no frame');
});

test('a wrong code changes nothing, is told apart from nobody waiting, and the right one still works', async (t) => {
  const site = await createSite();
  const { box, joined } = await waitingBox(site);
  const code = box.code();
  await t.throwsAsync(site.approveInTime(mistyped(code)), { name: 'ApprovalFailedError', message: /code is wrong/ });
  t.deepEqual(box.wrongProofs, [site.fabric.id]);
  const other = code.startsWith('77') ? '88' : '77';
  await t.throwsAsync(site.approveInTime(`${other}${code.slice(2)}`), { message: /no box with the handle/ });
  t.is(box.code(), code);
  t.is(site.pending.list().length, 1);
  t.is((await site.approve(code)).peerId, box.peerId);
  t.is((await joined).node, 'box2');
});

test('a code is worth nothing after an hour, and nothing after use', async (t) => {
  const site = await createSite();
  const { fabric, newBox, register, untilPending, approve, approveInTime } = site;
  const box = await newBox();
  const first = box.code();
  register(box);
  await untilPending(1);
  await fabric.clock.advance(hourMs);
  const second = box.code();
  t.not(second, first);
  // It still waits with the old one: the box that shows another code does not take it any more.
  await t.throwsAsync(approveInTime(first), { name: 'ApprovalFailedError' });
  const { joined } = register(box);
  await untilPending(1);
  await t.throwsAsync(approveInTime(first), { name: 'ApprovalFailedError' });
  await approve(second);
  await joined;
  t.not(box.code(), second);
  register(box);
  await untilPending(1);
  await t.throwsAsync(approveInTime(second), { name: 'ApprovalFailedError' });
});

test('a code that proved right is used up although the admission is refused', async (t) => {
  const site = await createSite({ refuseNames: ['box2'] });
  const { box, joined } = await waitingBox(site);
  const code = box.code();
  await t.throwsAsync(site.approve(code), { name: 'ApprovalRefusedError', message: /box2 is taken/ });
  await t.throwsAsync(joined, { name: 'EnrollmentRefusedError' });
  await site.fabric.clock.settle();
  t.not(box.code(), code);
  const again = site.register(box);
  await site.untilPending(1);
  await site.approve(box.code(), { name: 'box3' });
  t.is((await again.joined).node, 'box3');
});

/** A machine in the middle: to the box it is a controller of a fabric of its own, to the controller a box. */
async function terminateBothSides(site: Site, box: Box, alter: (frame: Frame) => Frame = (frame) => frame) {
  const middle = createFabric({ name: site.fabric.name, clock: site.fabric.clock });
  const left = createFramePair('left');
  const { pair, joined } = site.register(box, { stream: left.near, peerId: middle.controller.peerId });
  pair.near.abort(new Error('not used'));
  const asBox = middle.controller.peerId;
  const { near: right } = site.open(asBox);
  await read(left.far);
  const chain = encodeChain(middle.controller.chain);
  await write(left.far, { type: 'hello', fabricId: middle.id, fabricName: middle.name, chain });
  await write(right, { type: 'hello' });
  await read(right);
  const claim = await read(left.far);
  await write(right, claim as Frame);
  const heard: Frame[] = [];
  const pump = async (from: typeof right, to: typeof right) => {
    for (let frame = await read(from); frame !== undefined; frame = await read(from)) {
      heard.push(frame);
      await write(to, alter(frame)).catch(() => undefined);
    }
  };
  void pump(right, left.far);
  void pump(left.far, right);
  await site.untilPending(1);
  return { middle, heard, joined };
}

test('a machine in the middle that terminates both sides gets neither proof accepted', async (t) => {
  const site = await createSite();
  const box = await site.newBox();
  const { heard, joined, middle } = await terminateBothSides(site, box);
  const code = box.code();
  await t.throwsAsync(site.approveInTime(code), { name: 'ApprovalFailedError', message: /code is wrong/ });
  t.deepEqual(
    heard.map(({ type }) => type),
    ['waiting', 'prove', 'wrong'],
  );
  t.deepEqual(box.wrongProofs, [middle.id]);
  t.deepEqual(site.requests, []);
  t.is(box.code(), code, 'the code is not used up');
  // It lies to the controller instead: the box's words as a proof, and its own request.
  const site2 = await createSite();
  const box2 = await site2.newBox();
  const request = requestOf(site2.fabric.keys.create('P-256'));
  const lie = (frame: Frame): Frame =>
    frame.type === 'wrong' ? { type: 'proved', proof: String(middleProof), request } : frame;
  const middleProof = junk();
  await terminateBothSides(site2, box2, lie);
  await t.throwsAsync(site2.approveInTime(box2.code()), { name: 'ApprovalFailedError', message: /did not know it/ });
  t.is(site2.forged.length, 1);
  t.deepEqual(site2.requests, []);
  joined.catch(() => undefined);
});

test('a machine in the middle that shows the real controller’s chain is not even told the handle', async (t) => {
  const { fabric, newBox, register, open } = await createSite();
  const box = await newBox();
  const middle = fabric.newPeerId();
  const left = createFramePair('left');
  const { joined } = register(box, { stream: left.near, peerId: middle });
  const { near: right } = open(middle);
  await write(right, (await read(left.far)) as Frame);
  await write(left.far, (await read(right)) as Frame);
  await t.throwsAsync(joined, { name: 'UntrustedAnswerError', message: /wrong-peer/ });
  t.is(left.sentByNear.length, 1);
});

test('one that only relays changes nothing, and what it recorded is worth nothing to it', async (t) => {
  const site = await createSite();
  const { fabric, newBox, register, open, untilPending, approve } = site;
  const box = await newBox();
  const left = createFramePair('left');
  const { near: right } = open(box.peerId);
  const recorded: { fromBox: Frame[]; fromController: Frame[] } = { fromBox: [], fromController: [] };
  const pump = async (from: typeof right, to: typeof right, record: Frame[]) => {
    for (let frame = await read(from); frame !== undefined; frame = await read(from)) {
      record.push(frame);
      await write(to, frame);
    }
  };
  void pump(left.far, right, recorded.fromBox);
  void pump(right, left.far, recorded.fromController);
  const joined = registerForApproval({
    stream: left.near,
    peerId: fabric.controller.peerId,
    clock: fabric.clock,
    desk: box.desk,
    ...{ name: 'box2', nameChosen: false, self: box.peerId, key: box.key, labels: {}, engines: [], trustLan: false },
    platform: { os: 'linux', arch: 'x64', software: '0' },
    onWaiting: () => undefined,
    onWrongProof: () => undefined,
    onDecided: () => undefined,
    mayTrust: async () => false,
  });
  await untilPending(1);
  await approve(box.code());
  t.is((await joined).node, 'box2');

  const admitted = site.requests.length;
  const attacker = fabric.newPeerId();
  const { near } = open(attacker);
  for (const frame of recorded.fromBox) {
    await write(near, frame).catch(() => undefined);
    await read(near);
  }
  t.is(site.requests.length, admitted, 'the box’s frames replayed admit nobody');
  const prove = recorded.fromController.find(({ type }) => type === 'prove');
  const rogue = createFabric({ clock: fabric.clock });
  const again = createFramePair('again');
  register(box, { stream: again.near, peerId: rogue.controller.peerId });
  await read(again.far);
  const chain = encodeChain(rogue.controller.chain);
  await write(again.far, { type: 'hello', fabricId: rogue.id, fabricName: 'acme', chain });
  await read(again.far);
  await write(again.far, prove as Frame);
  t.is((await read(again.far))?.type, 'wrong', 'the controller’s proof replayed proves nothing');
});

test('one that claims the box’s handle and nonce and sends the controller’s own proof back is dropped', async (t) => {
  const site = await createSite();
  const box = await site.newBox();
  const { handle, nonce } = box.desk.current();
  const rogue = await site.claim({ handle, nonce: Buffer.from(nonce).toString('base64') });
  const reflect = (async () => {
    const prove = await read(rogue.stream);
    const request = requestOf(site.fabric.keys.create('P-256'));
    await write(rogue.stream, { type: 'proved', proof: String(prove?.['proof']), request });
    return await read(rogue.stream);
  })();
  const approving = site.approveInTime(box.code());
  t.is(await reflect, undefined, 'its stream is closed without an answer');
  await t.throwsAsync(approving, { name: 'ApprovalFailedError', message: /did not know it/ });
  t.deepEqual(site.forged, [rogue.peerId]);
  t.deepEqual(site.requests, []);
  t.deepEqual(site.pending.list(), []);
});

test('those that claim the honest box’s handle and answer wrongly, late or never do not keep it out', async (t) => {
  const site = await createSite();
  const box = await site.newBox();
  const { handle, nonce } = box.desk.current();
  const key = site.fabric.keys.create('P-256');
  const answers: ((prove: Frame | undefined) => Frame | undefined)[] = [
    () => ({ type: 'proved', proof: junk(), request: requestOf(key) }),
    (prove) => ({ type: 'proved', proof: String(prove?.['proof']), request: requestOf(key) }),
    () => ({ type: 'wrong' }),
    () => ({ type: 'busy' }),
    () => ({ type: 'accept', request: requestOf(key) }),
    () => ({ type: 'nonsense' }),
    () => undefined,
  ];
  for (const [index, answer] of answers.entries()) {
    const claim = { handle, nonce: Buffer.from(nonce).toString('base64'), address: `198.51.100.${index}` };
    const { stream } = await site.claim(claim);
    void (async () => {
      for (let prove = await read(stream); prove !== undefined; prove = await read(stream)) {
        const said = answer(prove);
        if (said !== undefined) await write(stream, said).catch(() => undefined);
      }
    })();
  }
  const { joined } = site.register(box);
  await site.untilPending(answers.length + 1);
  const approved = await site.approve(box.code());
  t.is(approved.peerId, box.peerId);
  t.is((await joined).identity.peerId, box.peerId);
  t.is(site.requests.length, 1);
});

test('a rogue controller that answers first, and guesses as fast as it can, owns nothing', async (t) => {
  const site = await createSite();
  const rogue = createFabric({ name: 'rogue', clock: site.fabric.clock });
  const box = await site.newBox();
  const left = createFramePair('left');
  const first = site.register(box, { stream: left.near, peerId: rogue.controller.peerId });
  first.pair.near.abort(new Error('not used'));
  await read(left.far);
  const chain = encodeChain(rogue.controller.chain);
  await write(left.far, { type: 'hello', fabricId: rogue.id, fabricName: rogue.name, chain });
  await read(left.far);
  const verdicts = new Map<string, number>();
  let guessing = true;
  const guesses = (async () => {
    while (guessing) {
      await write(left.far, { type: 'prove', nonce: junk(), proof: junk() });
      const { type = 'ended' } = (await read(left.far)) ?? {};
      verdicts.set(type, (verdicts.get(type) ?? 0) + 1);
      if (type === 'ended') return;
    }
  })();
  await site.fabric.clock.advance(10_000);
  const { joined } = site.register(box);
  await site.untilPending(1);
  await site.approveInTime(box.code());
  t.is((await joined).fabricId, site.fabric.id);
  guessing = false;
  left.far.abort(new Error('over'));
  await guesses.catch(() => undefined);
  t.is(rogue.id === site.fabric.id, false);
  t.true((verdicts.get('wrong') ?? 0) > 10 && (verdicts.get('busy') ?? 0) > 10, JSON.stringify([...verdicts]));
  t.true((verdicts.get('wrong') ?? 0) <= 6 * 41, 'at most its share of each second was checked');
  t.is(verdicts.get('proved'), undefined);
});

test('a box that is busy is asked again', async (t) => {
  const site = await createSite();
  const { box, joined } = await waitingBox(site);
  for (let guess = 0; guess < 100; guess += 1) {
    const proof = new Uint8Array(32);
    const controllerPeerId = `somebody ${guess}`;
    box.desk.check({ controllerPeerId, controllerNonce: proof, fabricId: site.fabric.id, proof });
  }
  t.is((await site.approveInTime(box.code(), 3_000)).peerId, box.peerId);
  t.is((await joined).node, 'box2');
});

test('a box that answers what nobody asked for is let go', async (t) => {
  const site = await createSite();
  const { stream } = await site.claim({ handle: 'K7' });
  await write(stream, { type: 'proved', proof: junk(), request: requestOf(site.fabric.keys.create('P-256')) });
  t.is(await read(stream), undefined);
  await site.untilPending(0);
  t.regex(site.refusals[0] ?? '', /nobody had asked/);
});

test('a member that is no controller is not asked to approve', async (t) => {
  const site = await createSite();
  const member = site.fabric.addNode('box9');
  const box = await site.newBox();
  const left = createFramePair('left');
  const { joined } = site.register(box, { stream: left.near, peerId: member.peerId });
  await read(left.far);
  const { id: fabricId, name: fabricName } = site.fabric;
  await write(left.far, { type: 'hello', fabricId, fabricName, chain: encodeChain(member.chain) });
  await t.throwsAsync(joined, { name: 'NotAControllerError' });
  t.is(left.sentByNear.length, 1);
});
