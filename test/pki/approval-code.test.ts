import { createHmac, randomBytes, scryptSync } from 'node:crypto';
import test from 'ava';
import { formatApprovalCode, newApprovalCode, parseApprovalCode, parseHandle } from '../../pki/approval-code.ts';
import { createApprovalDesk } from '../../pki/approval-desk.ts';
import { approvalProof, isSameProof, type ProofContext } from '../../pki/approval-proof.ts';
import { fabricIdOf } from '../../pki/names.ts';
import { deriveApprovalKey } from '../../pki/scrypt.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { simDeriveKey } from '../../simulations/sim-scrypt.ts';
import { cheapKey } from './approval-fixture.ts';
import { hourMs, strongRandom } from './fabric-fixture.ts';

test('what is shown is read again however it is typed', (t) => {
  for (let round = 0; round < 200; round += 1) {
    const { code, handle } = newApprovalCode(randomBytes(12));
    const shown = formatApprovalCode(code);
    t.regex(shown, /^[0-9A-HJKMNP-TV-Z]{2}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{2}$/);
    for (const typed of [
      shown,
      ` ${shown.toLowerCase()} `,
      code,
      shown.replaceAll('-', ' '),
      shown.replaceAll('-', '–'),
    ]) {
      t.deepEqual(parseApprovalCode(typed), { code, handle });
    }
    t.deepEqual(parseApprovalCode(shown.replaceAll('0', 'o').replaceAll('1', 'l')), { code, handle });
    t.is(parseHandle(handle.toLowerCase()), handle);
  }
});

test('what is no code is refused without being repeated', (t) => {
  for (const typed of [
    '',
    'K7',
    'K7-ABCD-EFGH-J',
    'K7-ABCD-EFGH-JKM',
    'K7-ABCD-EFGU-JK',
    'K7-ABCD-EFGÄ-JK',
    'K'.repeat(1e6),
  ]) {
    const error = t.throws(() => parseApprovalCode(typed), { name: 'ApprovalCodeError' });
    t.false(typed !== '' && typed !== 'K7' && error?.message.includes(typed));
  }
  t.is(parseHandle('boxb'), undefined);
  t.is(parseHandle('U7'), undefined);
});

test('codes are spread evenly over the alphabet', (t) => {
  const counts = new Map<string, number>();
  for (let byte = 0; byte < 256; byte += 1) {
    const { code } = newApprovalCode(new Uint8Array(12).fill(byte));
    counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  t.is(counts.size, 32);
  t.true([...counts.values()].every((count) => count === 8));
});

const fabricId = fabricIdOf(new Uint8Array(91));
const context: ProofContext = {
  controllerPeerId: 'c',
  nodePeerId: 'n',
  controllerNonce: new Uint8Array(32).fill(1),
  nodeNonce: new Uint8Array(32).fill(2),
  fabricId,
};

test('a key is scrypt with N 2^15, r 8, p 1, in both adapters', async (t) => {
  const salt = new Uint8Array(randomBytes(32));
  const expected = new Uint8Array(
    scryptSync('K7ABCDEFGHJK', salt, 32, { N: 32_768, r: 8, p: 1, maxmem: 128 * 1024 * 1024 }),
  );
  t.deepEqual(await deriveApprovalKey('K7ABCDEFGHJK', salt), expected);
  t.deepEqual(await simDeriveKey('K7ABCDEFGHJK', salt), expected);
});

test('a proof is the HMAC of length-prefixed role, version, peers, nonces and root', (t) => {
  const key = new Uint8Array(32).fill(7);
  const hmac = createHmac('sha256', key);
  const root = Buffer.from(approvalRoot(), 'hex');
  for (const field of ['node', 'selvedge-approval/1', 'c', 'n', context.controllerNonce, context.nodeNonce, root]) {
    const bytes = Buffer.from(field);
    hmac.update(Buffer.from([0, 0, 0, bytes.length])).update(bytes);
  }
  t.deepEqual(approvalProof(key, 'node', context), new Uint8Array(hmac.digest()));
});

/** SHA-256 of 91 zero bytes. */
function approvalRoot(): string {
  return '2795ec931b5b17c9e0e5e5adb2ce787d413ab0c2bb29cfbf554668fea090eeea';
}

test('a proof for another role, peer, nonce, root or key is another proof', (t) => {
  const key = new Uint8Array(32).fill(7);
  const proof = approvalProof(key, 'controller', context);
  const others = [
    approvalProof(key, 'node', context),
    approvalProof(new Uint8Array(32), 'controller', context),
    approvalProof(key, 'controller', { ...context, controllerPeerId: 'n', nodePeerId: 'c' }),
    approvalProof(key, 'controller', { ...context, controllerPeerId: 'cn', nodePeerId: '' }),
    approvalProof(key, 'controller', {
      ...context,
      controllerNonce: context.nodeNonce,
      nodeNonce: context.controllerNonce,
    }),
    approvalProof(key, 'controller', { ...context, fabricId: fabricIdOf(new Uint8Array(92)) }),
  ];
  for (const other of others) t.false(isSameProof(other, proof));
  t.true(isSameProof(approvalProof(key, 'controller', { ...context }), proof));
  t.false(isSameProof(proof.subarray(0, 31), proof));
  t.throws(() => approvalProof(key, 'node', { ...context, nodeNonce: new Uint8Array(31) }), { name: 'RangeError' });
});

async function desk() {
  const clock = createSimClock();
  const made = createApprovalDesk({
    clock,
    random: strongRandom,
    deriveKey: cheapKey,
    self: 'n',
    onFailed: () => undefined,
  });
  await made.start();
  const controllerNonce = new Uint8Array(32).fill(1);
  const guess = (controllerPeerId: string) =>
    made.check({ controllerPeerId, controllerNonce, fabricId, proof: new Uint8Array(32) }).verdict;
  const right = async (controllerPeerId = 'c') => {
    const { code, nonce } = made.current();
    const key = await cheapKey(parseApprovalCode(code).code, nonce);
    const given = { controllerPeerId, controllerNonce, fabricId };
    const proof = approvalProof(key, 'controller', { ...given, nodePeerId: 'n', nodeNonce: nonce });
    return {
      given: { ...given, proof },
      own: approvalProof(key, 'node', { ...given, nodePeerId: 'n', nodeNonce: nonce }),
    };
  };
  return { clock, made, guess, right };
}

test('a box checks a hundred proofs a second, six of one peer, and says that it is busy beyond', async (t) => {
  const { clock, made, guess, right } = await desk();
  const one = Array.from({ length: 10 }, () => guess('one'));
  t.deepEqual(one, [...Array(6).fill('wrong'), ...Array(4).fill('busy')]);
  const others = Array.from({ length: 120 }, (_, index) => guess(`peer ${index}`));
  t.is(others.filter((verdict) => verdict === 'wrong').length, 94);
  t.is(others.filter((verdict) => verdict === 'busy').length, 26);
  const proof = await right();
  t.is(made.check(proof.given).verdict, 'busy', 'also for who knows the code');
  await clock.advance(1_000);
  t.deepEqual(made.check(proof.given), { verdict: 'right', proof: proof.own });
});

test('a code changes after an hour and after use, and says so', async (t) => {
  const { clock, made, right } = await desk();
  const told: string[] = [];
  made.subscribe(({ code }) => told.push(code));
  const first = await right();
  const shown = made.current();
  await clock.advance(hourMs - 1);
  t.is(made.current().code, shown.code);
  await clock.advance(1);
  t.not(made.current().code, shown.code);
  t.notDeepEqual(made.current().nonce, shown.nonce);
  t.is(made.check(first.given).verdict, 'wrong');
  const second = await right();
  t.is(made.check(second.given).verdict, 'right');
  t.is(made.check(second.given).verdict, 'wrong', 'at once, before the next code has its key');
  await clock.settle();
  t.is(told.length, 2);
  t.is(new Set([shown.code, ...told]).size, 3);
  await clock.advance(1_000);
  t.is(made.check((await right()).given).verdict, 'right');
  made.stop();
  await clock.settle();
  t.is(clock.pending(), 0);
});
