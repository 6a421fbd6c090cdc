import test from 'ava';
import { readCertificate } from '../../pki/certificate-reader.ts';
import type { SignatureFault } from '../../pki/errors.ts';
import { createSignatureVerifier, createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createSimClock } from '../../simulations/sim-clock.ts';
import { createSimKeys } from '../../simulations/sim-keys.ts';
import { createSimRandom } from '../../simulations/sim-random.ts';
import { createFabric, type Fabric, type Member, monitor } from './fabric-fixture.ts';

const type = 'selvedge-plan+jws';
const payload = { instances: [{ name: 'a' }], generation: 3, node: 'box2' };

const simulated = (seed = 3): Fabric => {
  const random = createSimRandom(seed);
  return createFabric({ keys: createSimKeys(random), random, clock: createSimClock() });
};
const verifierOf = (fabric: Fabric) =>
  createSignatureVerifier({ verifyChain: createChainVerifier({ fabricId: fabric.id, clock: fabric.clock }) });
const signerOf = ({ key, chain }: Pick<Member, 'key' | 'chain'>) => createSigner({ key, chain });
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (text: string) => JSON.parse(Buffer.from(text, 'base64url').toString()) as Record<string, unknown>;

for (const [kind, make, alg] of [
  ['P-256', () => createFabric(), 'ES256'],
  ['Ed25519', simulated, 'EdDSA'],
] as const) {
  test(`what controllers, nodes and workloads sign is verified with its signer (${kind})`, (t) => {
    const fabric = make();
    const node = fabric.addNode('box2', { covers: [monitor] });
    const workload = fabric.issueWorkload(node, monitor);
    for (const [holder, signer] of [
      [fabric.controller, 'controller'],
      [node, 'node'],
      [workload, 'workload'],
    ] as const) {
      const jws = signerOf(holder)(type, payload);
      const verified = verifierOf(fabric)(jws, type);
      t.deepEqual(verified.payload, payload);
      t.is(verified.signer.kind, signer);
      t.like(decode(jws.split('.')[0] ?? ''), { alg, typ: type });
    }
  });
}

test('equal payloads give equal signed bytes, and in simulation equal documents', (t) => {
  const fabric = simulated();
  const sign = signerOf(fabric.controller);
  t.is(sign(type, { b: { d: 1, c: [2] }, a: undefined, e: null }), sign(type, { e: null, b: { c: [2], d: 1 } }));
  t.is(sign(type, payload), signerOf(simulated().controller)(type, payload));
  t.not(sign(type, payload), signerOf(simulated(4).controller)(type, payload));
});

interface Tampering {
  what: string;
  reason: SignatureFault;
  jws: (jws: string, fabric: Fabric) => string;
}

const swap = (jws: string, part: 0 | 1 | 2, text: string) => jws.split('.').with(part, text).join('.');
const withHeader = (jws: string, change: Record<string, unknown>) =>
  swap(jws, 0, encode({ ...decode(jws.split('.')[0] ?? ''), ...change }));
const groupOrder = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const tamperings: Tampering[] = [
  {
    what: 'another payload',
    reason: 'bad-signature',
    jws: (jws) => swap(jws, 1, encode({ ...payload, node: 'box3' })),
  },
  {
    what: 'another type',
    reason: 'type',
    jws: (_jws, fabric) => signerOf(fabric.controller)('selvedge-fact+jws', payload),
  },
  { what: 'a type changed in the header', reason: 'type', jws: (jws) => withHeader(jws, { typ: 'selvedge-fact+jws' }) },
  { what: 'no algorithm', reason: 'algorithm', jws: (jws) => withHeader(jws, { alg: 'none' }) },
  { what: 'the other algorithm', reason: 'algorithm', jws: (jws) => withHeader(jws, { alg: 'EdDSA' }) },
  { what: 'a symmetric algorithm', reason: 'algorithm', jws: (jws) => withHeader(jws, { alg: 'HS256' }) },
  { what: 'a header with crit', reason: 'malformed', jws: (jws) => withHeader(jws, { crit: ['b64'] }) },
  { what: 'a key in the header', reason: 'malformed', jws: (jws) => withHeader(jws, { jwk: {} }) },
  { what: 'no chain', reason: 'malformed', jws: (jws) => withHeader(jws, { x5c: [] }) },
  { what: 'a foreign chain', reason: 'certificate', jws: () => signerOf(createFabric().controller)(type, payload) },
  {
    what: 'our chain over a stranger’s signature',
    reason: 'bad-signature',
    jws: (_jws, fabric) =>
      createSigner({ key: fabric.keys.create('P-256'), chain: fabric.controller.chain })(type, payload),
  },
  { what: 'no signature', reason: 'bad-signature', jws: (jws) => swap(jws, 2, '') },
  {
    what: 'a signature of zeros',
    reason: 'bad-signature',
    jws: (jws) => swap(jws, 2, Buffer.alloc(64).toString('base64url')),
  },
  {
    what: 'the other signature of the same key and bytes, which anybody can compute',
    reason: 'bad-signature',
    jws: (jws) => {
      const raw = Buffer.from(jws.split('.')[2] ?? '', 'base64url');
      const s = BigInt(`0x${raw.subarray(32).toString('hex')}`);
      raw.write((groupOrder - s).toString(16).padStart(64, '0'), 32, 'hex');
      return swap(jws, 2, raw.toString('base64url'));
    },
  },
  { what: 'padding', reason: 'malformed', jws: (jws) => `${jws}==` },
  { what: 'a fourth part', reason: 'malformed', jws: (jws) => `${jws}.x` },
  { what: 'text that is none', reason: 'malformed', jws: () => 'nonsense' },
  { what: 'a header that is no JSON', reason: 'malformed', jws: (jws) => swap(jws, 0, 'AAAA') },
  { what: 'five megabytes', reason: 'too-large', jws: (jws) => swap(jws, 1, 'A'.repeat(5_000_000)) },
];

for (const { what, reason, jws } of tamperings) {
  test(`refused: ${what} (${reason})`, (t) => {
    const fabric = createFabric();
    const good = signerOf(fabric.controller)(type, payload);
    const error = t.throws(() => verifierOf(fabric)(jws(good, fabric), type), { name: 'SignatureError' });
    t.like(error, { reason }, error?.message);
  });
}

test('a signature is accepted in one text only', (t) => {
  const fabric = createFabric();
  const verify = verifierOf(fabric);
  // The last character of 64 bytes holds four bits: three other characters decode to the same bytes.
  const jws = signerOf(fabric.controller)(type, payload);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const accepted = [...alphabet].filter((character) => {
    try {
      verify(jws.slice(0, -1) + character, type);
      return true;
    } catch {
      return false;
    }
  });
  t.deepEqual(accepted, [jws.at(-1)]);
});

test('what is too large or is no JSON is not signed', (t) => {
  const sign = signerOf(createFabric().controller);
  t.throws(() => sign(type, 'x'.repeat(4 * 1024 * 1024)), { name: 'SignatureError' });
  t.throws(() => sign(type, undefined), { name: 'SignatureError' });
});

test('any single flipped bit of a certificate ends its chain', (t) => {
  const fabric = createFabric();
  const verify = createChainVerifier({ fabricId: fabric.id, clock: fabric.clock });
  const [certificate = new Uint8Array(), root = new Uint8Array()] = fabric.controller.chain;
  t.is(readCertificate(certificate).commonName, 'box1');
  for (let index = 0; index < certificate.length; index += 1) {
    const flipped = certificate.slice();
    flipped[index] = (flipped[index] ?? 0) ^ (1 << (index % 8));
    t.throws(() => verify([flipped, root]), { name: 'CertificateError' }, `byte ${index}`);
  }
});
