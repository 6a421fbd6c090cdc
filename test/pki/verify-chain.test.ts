import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import * as asn1 from '../../pki/asn1.ts';
import {
  alternativeNames,
  authority,
  authorityKeyUsage,
  controllerRole,
  dnsName,
  issueNumberOf,
  nameConstraints,
  noAuthority,
  uriName,
  workloadKeyUsage,
  workloadPurposes,
} from '../../pki/certificate-extensions.ts';
import { createRoot } from '../../pki/certificates.ts';
import type { CertificateFault } from '../../pki/errors.ts';
import type { Identity } from '../../pki/identity.ts';
import { nodeDnsName, nodeUri, workloadDnsName, workloadUri } from '../../pki/names.ts';
import { sha256Hex } from '../../pki/public-key.ts';
import { type ChainVerifierDependencies, checkPresenter, createChainVerifier } from '../../pki/verify-chain.ts';
import { createFabric, dayMs, type Fabric, hourMs, type Member, monitor, sensor } from './fabric-fixture.ts';
import { forgeLeaf } from './forged-leaf.ts';

const verifierOf = (fabric: Fabric, more: Partial<ChainVerifierDependencies> = {}) =>
  createChainVerifier({ fabricId: fabric.id, clock: fabric.clock, ...more });

test('a chain says who its holder is', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [sensor, monitor], issueNumber: 3 });
  const workload = fabric.issueWorkload(node, monitor);
  const verify = verifierOf(fabric);
  const { peerId, key } = node;
  const ofNode = {
    fabricId: fabric.id,
    node: 'box2',
    peerId,
    issueNumber: 3,
    authorityKeySha256: sha256Hex(key.publicKey),
  };
  const expected: [Uint8Array[], Identity][] = [
    [
      fabric.controller.chain,
      {
        kind: 'controller',
        fabricId: fabric.id,
        node: 'box1',
        peerId: fabric.controller.peerId,
        authorityKeySha256: sha256Hex(fabric.controller.key.publicKey),
        notAfter: fabric.clock.now() + 365 * dayMs,
      },
    ],
    [node.chain, { kind: 'node', ...ofNode, covers: [monitor, sensor], notAfter: fabric.clock.now() + 30 * dayMs }],
    [workload.chain, { kind: 'workload', ...ofNode, ...monitor, notAfter: fabric.clock.now() + dayMs }],
  ];
  for (const [chain, identity] of expected) t.deepEqual(verify(chain), identity);
});

test('the root may be left out where the verifier has it, and only there', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  const chain = fabric.issueWorkload(node, monitor).chain.slice(0, -1);
  t.is(verifierOf(fabric, { root: fabric.root })(chain).kind, 'workload');
  t.throws(() => verifierOf(fabric)(chain), { name: 'CertificateError', message: /root/ });
  const other = createFabric();
  t.throws(() => verifierOf(fabric, { root: other.root }), { name: 'CertificateError' });
});

test('a node that covers nothing yet, and one that covers the most, are accepted', (t) => {
  const fabric = createFabric();
  const many = Array.from({ length: 256 }, (_, index) => ({ ...monitor, microservice: `${'m'.repeat(50)}${index}` }));
  for (const covers of [[], many]) {
    const identity = verifierOf(fabric)(fabric.addNode('box2', { covers }).chain);
    t.is(identity.kind === 'node' && identity.covers.length, covers.length);
  }
});

interface Attack {
  what: string;
  reason: CertificateFault;
  chain: (fabric: Fabric, node: Member) => Uint8Array[];
  verifier?: (fabric: Fabric, node: Member) => Partial<ChainVerifierDependencies>;
  laterMs?: number;
}

const uri = (fabric: Fabric, name = monitor) => uriName(workloadUri(fabric.id, name));
const dns = (fabric: Fabric, name = monitor) => dnsName(workloadDnsName(fabric.id, name));
const leaf = (fabric: Fabric, node: Member) => fabric.issueWorkload(node, monitor).chain;

/** What a node's authority looks like, with one part replaced. */
const nodeExtensions = (
  fabric: Fabric,
  {
    role = [],
    constraints,
    number = issueNumberOf(1),
    path = 0,
  }: {
    role?: (typeof controllerRole)[];
    constraints?: typeof controllerRole;
    number?: typeof controllerRole;
    path?: number;
  },
) => [
  authority(path),
  authorityKeyUsage,
  constraints ?? nameConstraints(fabric.id, [nodeDnsName(fabric.id, 'box9')]),
  number,
  ...role,
];
const forgeNode = (fabric: Fabric, parts: Parameters<typeof nodeExtensions>[1]) =>
  forgeLeaf(fabric, fabric.controller, {
    commonName: 'box9',
    userId: fabric.newPeerId(),
    extensions: nodeExtensions(fabric, parts),
  });

const attacks: Attack[] = [
  { what: 'an empty chain', reason: 'chain-length', chain: () => [] },
  { what: 'the root alone', reason: 'chain-length', chain: (fabric) => [fabric.root] },
  { what: 'a chain of five', reason: 'chain-length', chain: (fabric, node) => [...leaf(fabric, node), fabric.root] },
  { what: 'bytes that are no certificate', reason: 'malformed', chain: (fabric) => [new Uint8Array(100), fabric.root] },
  {
    what: 'bytes after a certificate',
    reason: 'malformed',
    chain: (_fabric, node) => [Uint8Array.of(...(node.chain[0] ?? []), 0), ...node.chain.slice(1)],
  },
  { what: 'a huge certificate', reason: 'too-large', chain: (fabric) => [new Uint8Array(100_000), fabric.root] },
  { what: 'a foreign root', reason: 'foreign-root', chain: () => createFabric().controller.chain },
  {
    what: 'a root of the same name with another key',
    reason: 'foreign-root',
    chain: (fabric, node) => {
      const { random, clock, keys } = fabric;
      return [
        ...node.chain.slice(0, -1),
        createRoot({ key: keys.create('P-256'), fabricName: fabric.name, random, nowMs: clock.now() }),
      ];
    },
  },
  {
    what: 'another fabric’s chain under our root',
    reason: 'not-issued',
    chain: (fabric) => [...createFabric().controller.chain.slice(0, 1), fabric.root],
  },
  {
    what: 'a certificate whose signature was altered',
    reason: 'bad-signature',
    chain: (_fabric, node) =>
      node.chain.map((der, index) => {
        const altered = der.slice();
        // In the middle of s, or of the second half of an Ed25519 signature.
        if (index === 0) altered[altered.length - 9] = (altered.at(-9) ?? 0) ^ 1;
        return altered;
      }),
  },
  {
    what: 'an RSA key',
    reason: 'algorithm',
    chain: (fabric, node) => {
      const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
      const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
      return forgeLeaf(fabric, node, { names: [uri(fabric), dns(fabric)], publicKey: spki });
    },
  },
  { what: 'an expired workload', reason: 'expired', chain: leaf, laterMs: dayMs + 1000 },
  { what: 'an expired node', reason: 'expired', chain: (_fabric, node) => node.chain, laterMs: 31 * dayMs },
  {
    what: 'a certificate of the future',
    reason: 'not-yet-valid',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, { names: [uri(fabric), dns(fabric)], notBeforeMs: fabric.clock.now() + hourMs }),
  },
  {
    what: 'a workload for a month',
    reason: 'lifetime',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, { names: [uri(fabric), dns(fabric)], notAfterMs: fabric.clock.now() + 30 * dayMs }),
  },
  {
    what: 'an authority under a node’s authority',
    reason: 'path-length',
    chain: (fabric, node) => forgeLeaf(fabric, node, { extensions: [authority(0), authorityKeyUsage] }),
  },
  {
    what: 'a certificate signed by a workload',
    reason: 'chain-length',
    chain: (fabric, node) => {
      const { key, chain } = fabric.issueWorkload(node, monitor);
      const [certificate = new Uint8Array()] = chain;
      const workload = { ...node, key, chain, issuer: { key, certificate } };
      return forgeLeaf(fabric, workload, { names: [uri(fabric), dns(fabric)] });
    },
  },
  {
    what: 'a node’s authority with the role of a controller',
    reason: 'profile',
    chain: (fabric) => forgeNode(fabric, { role: [controllerRole] }),
  },
  {
    what: 'a workload signed by a controller',
    reason: 'not-an-authority',
    chain: (fabric) => forgeLeaf(fabric, fabric.controller, { names: [uri(fabric), dns(fabric)] }),
  },
  {
    what: 'a controller certified by a controller',
    reason: 'profile',
    chain: (fabric) =>
      forgeLeaf(fabric, fabric.controller, {
        commonName: 'box9',
        userId: fabric.newPeerId(),
        extensions: [authority(1), authorityKeyUsage, controllerRole],
      }),
  },
  { what: 'a node with a longer path', reason: 'path-length', chain: (fabric) => forgeNode(fabric, { path: 1 }) },
  {
    what: 'a node without an issue number',
    reason: 'profile',
    chain: (fabric) => forgeNode(fabric, { number: controllerRole }),
  },
  {
    what: 'a node whose name constraints are not critical',
    reason: 'name-constraints',
    chain: (fabric) =>
      forgeNode(fabric, {
        constraints: { ...nameConstraints(fabric.id, [nodeDnsName(fabric.id, 'box9')]), critical: false },
      }),
  },
  {
    what: 'a node that may use every name',
    reason: 'name-constraints',
    chain: (fabric) =>
      forgeNode(fabric, { constraints: nameConstraints(fabric.id, [nodeDnsName(fabric.id, 'box9'), fabric.id]) }),
  },
  {
    what: 'a node with another node’s name',
    reason: 'name-constraints',
    chain: (fabric) => forgeNode(fabric, { constraints: nameConstraints(fabric.id, [nodeDnsName(fabric.id, 'box1')]) }),
  },
  {
    what: 'a node for every URI host',
    reason: 'name-constraints',
    chain: (fabric) => forgeNode(fabric, { constraints: nameConstraints('', [nodeDnsName(fabric.id, 'box9')]) }),
  },
  {
    what: 'a critical extension that nobody knows',
    reason: 'profile',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, {
        extensions: [
          noAuthority,
          workloadKeyUsage,
          workloadPurposes,
          alternativeNames(uri(fabric), dns(fabric)),
          { id: '1.2.3.4', critical: true, value: asn1.integer(1) },
        ],
      }),
  },
  {
    what: 'the same extension twice',
    reason: 'malformed',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, {
        extensions: [
          noAuthority,
          workloadKeyUsage,
          workloadPurposes,
          alternativeNames(uri(fabric), dns(fabric)),
          alternativeNames(uri(fabric), dns(fabric)),
        ],
      }),
  },
  {
    what: 'a workload for servers only',
    reason: 'profile',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, {
        extensions: [noAuthority, workloadKeyUsage, alternativeNames(uri(fabric), dns(fabric))],
      }),
  },
  {
    what: 'a second SPIFFE ID',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric), uri(fabric, sensor), dns(fabric)] }),
  },
  {
    what: 'another service’s SPIFFE ID without a DNS name',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric, sensor)] }),
  },
  {
    what: 'another service’s SPIFFE ID beside a DNS name that is covered',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric, sensor), dns(fabric)] }),
  },
  {
    what: 'a SPIFFE ID beside the DNS name of another service',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric), dns(fabric, sensor)] }),
  },
  {
    what: 'another DNS name beside the right one',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric), dns(fabric), dns(fabric, sensor)] }),
  },
  {
    what: 'no SPIFFE ID',
    reason: 'names',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [dns(fabric)] }),
  },
  {
    what: 'a node’s SPIFFE ID on a workload',
    reason: 'names',
    chain: (fabric, node) =>
      forgeLeaf(fabric, node, {
        names: [uriName(nodeUri(fabric.id, 'box2')), dnsName(nodeDnsName(fabric.id, 'box2'))],
      }),
  },
  {
    what: 'both names of a service that is not placed there',
    reason: 'name-constraints',
    chain: (fabric, node) => forgeLeaf(fabric, node, { names: [uri(fabric, sensor), dns(fabric, sensor)] }),
  },
  {
    what: 'an older authority than the floor',
    reason: 'stale-issue-number',
    chain: (_fabric, node) => node.chain,
    verifier: (_fabric, node) => ({ authorityFloor: (peerId) => (peerId === node.peerId ? 2 : 0) }),
  },
  {
    what: 'a workload of an older authority than the floor',
    reason: 'stale-issue-number',
    chain: leaf,
    verifier: () => ({ authorityFloor: () => 2 }),
  },
  {
    what: 'a revoked node',
    reason: 'revoked',
    chain: (_fabric, node) => node.chain,
    verifier: (_fabric, node) => ({ revoked: (peerId) => peerId === node.peerId }),
  },
  {
    what: 'a workload of a revoked node',
    reason: 'revoked',
    chain: leaf,
    verifier: (_fabric, node) => ({ revoked: (peerId) => peerId === node.peerId }),
  },
  {
    what: 'a node certified by a revoked controller',
    reason: 'revoked',
    chain: (_fabric, node) => node.chain,
    verifier: (fabric) => ({ revoked: (peerId) => peerId === fabric.controller.peerId }),
  },
];

for (const { what, reason, chain, verifier, laterMs = 0 } of attacks) {
  test(`refused: ${what} (${reason})`, async (t) => {
    const fabric = createFabric();
    const node = fabric.addNode('box2', { covers: [monitor] });
    const verify = verifierOf(fabric, verifier?.(fabric, node));
    const presented = chain(fabric, node);
    await fabric.clock.advance(laterMs);
    const error = t.throws(() => verify(presented), { name: 'CertificateError' });
    t.like(error, { reason }, error?.message);
  });
}

test('a chain that was accepted is refused once it is revoked, superseded or expired', async (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2', { covers: [monitor] });
  let revoked = false;
  let floor = 0;
  const verify = verifierOf(fabric, { revoked: () => revoked, authorityFloor: () => floor });
  const { chain } = fabric.issueWorkload(node, monitor);
  t.notThrows(() => verify(chain));
  revoked = true;
  t.throws(() => verify(chain), { message: /revoked/ });
  revoked = false;
  floor = 2;
  t.throws(() => verify(chain), { message: /newer authority/ });
  floor = 1;
  t.notThrows(() => verify(chain));
  await fabric.clock.advance(dayMs + 1000);
  t.throws(() => verify(chain), { message: /expired/ });
});

test('what a caller does to an identity does not change the next answer', (t) => {
  const fabric = createFabric();
  const { chain } = fabric.addNode('box2');
  const verify = verifierOf(fabric);
  const first = verify(chain);
  first.peerId = 'changed';
  t.not(verify(chain).peerId, 'changed');
});

test('a chain that another peer presents is refused', (t) => {
  const fabric = createFabric();
  const node = fabric.addNode('box2');
  const identity = verifierOf(fabric)(node.chain);
  t.notThrows(() => checkPresenter(identity, node.peerId, ['node']));
  t.throws(() => checkPresenter(identity, fabric.newPeerId(), ['node']), {
    name: 'CertificateError',
    message: /another peer/,
  });
  t.throws(() => checkPresenter(identity, node.peerId, ['controller']), { name: 'CertificateError', message: /kind/ });
});
