import test from 'ava';
import {
  acceptFact,
  authorityFloor,
  currentFacts,
  factDocumentOf,
  factId,
  factType,
  isRevoked,
} from '../../pki/facts.ts';
import type { Fact } from '../../pki/identity.ts';
import { createSignatureVerifier, createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createFabric, dayMs, type Fabric, type Member } from './fabric-fixture.ts';

const setUp = () => {
  const fabric = createFabric();
  const verifySigned = createSignatureVerifier({
    verifyChain: createChainVerifier({ fabricId: fabric.id, clock: fabric.clock }),
  });
  const node = fabric.addNode('box2');
  const accept = (document: Record<string, unknown>) =>
    acceptFact(document, { verifySigned, fabricId: fabric.id, now: fabric.clock.now() });
  return { fabric, node, accept };
};

const revocationOf = (fabric: Fabric, { peerId, node }: Member, more: Partial<Fact> = {}): Fact => ({
  fabricId: fabric.id,
  subject: `revocation/${peerId}`,
  sequence: 1,
  issuer: fabric.controller.peerId,
  issuedAt: fabric.clock.now(),
  expiresAt: fabric.clock.now() + 32 * dayMs,
  body: { kind: 'revocation', peerId, node, reason: 'stolen' },
  ...more,
});
const floorOf = (fabric: Fabric, { peerId }: Member, issueNumber: number, more: Partial<Fact> = {}): Fact => ({
  ...revocationOf(fabric, { peerId } as Member),
  subject: `authority-floor/${peerId}`,
  body: { kind: 'authority-floor', peerId, issueNumber },
  ...more,
});
const signed = ({ key, chain }: Member, fact: unknown, type = factType) =>
  factDocumentOf(createSigner({ key, chain })(type, fact));

test('a fact that a controller signed is accepted, also after it was stored', (t) => {
  const { fabric, node, accept } = setUp();
  const fact = revocationOf(fabric, node);
  const document = signed(fabric.controller, fact);
  t.regex(document._id, /^fact\/[a-z2-7]{52}$/);
  t.deepEqual(accept({ ...document }), { accepted: true, fact });
  t.deepEqual(accept({ ...document, _rev: '1-0123456789abcdef' }), { accepted: true, fact });
});

test('the id is of the signed bytes: another signature of the same fact has the same id', (t) => {
  const { fabric, node } = setUp();
  const fact = revocationOf(fabric, node);
  const [first, second] = [signed(fabric.controller, fact), signed(fabric.controller, fact)];
  t.not(first.jws, second.jws);
  t.is(factId(first.jws), factId(second.jws));
});

const refusals: [string, RegExp, (parts: ReturnType<typeof setUp>) => Record<string, unknown>][] = [
  [
    'deleted',
    /never deleted/,
    ({ fabric, node }) => ({ ...signed(fabric.controller, revocationOf(fabric, node)), _deleted: true }),
  ],
  [
    'undeleted',
    /never deleted/,
    ({ fabric, node }) => ({ ...signed(fabric.controller, revocationOf(fabric, node)), _deleted: false }),
  ],
  [
    'of a later revision',
    /never edited/,
    ({ fabric, node }) => ({ ...signed(fabric.controller, revocationOf(fabric, node)), _rev: '2-ab' }),
  ],
  [
    'with a field more',
    /fields/,
    ({ fabric, node }) => ({ ...signed(fabric.controller, revocationOf(fabric, node)), note: 'x' }),
  ],
  [
    'under another fact’s id',
    /not the hash/,
    ({ fabric, node }) => ({
      ...signed(fabric.controller, revocationOf(fabric, node)),
      jws: signed(fabric.controller, floorOf(fabric, node, 1)).jws,
    }),
  ],
  [
    'with the signature of a node',
    /only a controller/,
    ({ fabric, node }) => signed(node, revocationOf(fabric, node, { issuer: node.peerId })) as never,
  ],
  [
    'of another fabric',
    /another fabric/,
    ({ fabric, node }) => signed(fabric.controller, revocationOf(fabric, node, { fabricId: 'x' })) as never,
  ],
  [
    'signed by a stranger',
    /not accepted/,
    ({ fabric, node }) => signed(createFabric().controller, revocationOf(fabric, node)) as never,
  ],
  [
    'of another issuer',
    /another issuer/,
    ({ fabric, node }) =>
      signed(fabric.controller, revocationOf(fabric, node, { issuer: fabric.newPeerId() })) as never,
  ],
  [
    'of another type',
    /not of type/,
    ({ fabric, node }) => signed(fabric.controller, revocationOf(fabric, node), 'selvedge-plan+jws') as never,
  ],
  [
    'with another subject',
    /subject/,
    ({ fabric, node }) =>
      signed(fabric.controller, revocationOf(fabric, node, { subject: `revocation/${fabric.newPeerId()}` })) as never,
  ],
  [
    'that has expired',
    /expired/,
    ({ fabric, node }) =>
      signed(fabric.controller, revocationOf(fabric, node, { expiresAt: fabric.clock.now() })) as never,
  ],
  [
    'that lives for ever',
    /longer/,
    ({ fabric, node }) =>
      signed(fabric.controller, revocationOf(fabric, node, { expiresAt: fabric.clock.now() + 500 * dayMs })) as never,
  ],
  [
    'with a member more',
    /malformed/,
    ({ fabric, node }) => signed(fabric.controller, { ...revocationOf(fabric, node), more: 1 }) as never,
  ],
  ['that is no object', /malformed/, ({ fabric }) => signed(fabric.controller, 'revoke') as never],
  ['with no signed text', /no signed fact/, () => ({ _id: 'fact/x', jws: 5 })],
  ['that is an empty document', /no signed fact/, () => ({})],
];

for (const [what, reason, document] of refusals) {
  test(`not a fact: one ${what}`, (t) => {
    const parts = setUp();
    const verdict = parts.accept({ ...document(parts) });
    t.regex(verdict.accepted ? 'accepted' : verdict.reason, reason);
  });
}

test('of one subject the highest sequence counts, then the highest issuer, in any order of arrival', (t) => {
  const { fabric, node } = setUp();
  const facts = [
    floorOf(fabric, node, 1, { sequence: 1, issuer: 'z' }),
    floorOf(fabric, node, 3, { sequence: 2, issuer: 'a' }),
    floorOf(fabric, node, 2, { sequence: 2, issuer: 'b' }),
  ];
  for (const order of [facts, facts.toReversed(), [facts[1], facts[2], facts[0]] as Fact[]]) {
    const current = currentFacts(order, fabric.clock.now());
    t.deepEqual(current, [facts[2]] as Fact[]);
    t.is(authorityFloor(current)(node.peerId), 2);
    t.is(authorityFloor(current)('another'), 0);
  }
});

test('a revocation is lifted by no later fact, not even by a later revocation that ends sooner', (t) => {
  const { fabric, node } = setUp();
  const now = fabric.clock.now();
  const revocation = revocationOf(fabric, node, { sequence: 1 });
  const shorter = revocationOf(fabric, node, { sequence: 9, expiresAt: now + 1 });
  const longer = revocationOf(fabric, node, { sequence: 1, expiresAt: now + 60 * dayMs });
  t.deepEqual(currentFacts([revocation, shorter], now), [revocation]);
  t.deepEqual(currentFacts([shorter, revocation, longer], now), [longer]);
  t.true(isRevoked(currentFacts([shorter, revocation], now + 2))(node.peerId));
  t.false(isRevoked([floorOf(fabric, node, 2)])(node.peerId));
});

test('what has expired is forgotten', (t) => {
  const { fabric, node } = setUp();
  const facts = [revocationOf(fabric, node), floorOf(fabric, node, 2, { expiresAt: fabric.clock.now() + 5 })];
  t.is(currentFacts(facts, fabric.clock.now()).length, 2);
  t.is(currentFacts(facts, fabric.clock.now() + 5).length, 1);
  t.deepEqual(currentFacts(facts, fabric.clock.now() + 32 * dayMs), []);
});

test('what was superseded does not count again once its successor has expired', (t) => {
  const { fabric, node } = setUp();
  const now = fabric.clock.now();
  const facts = [
    floorOf(fabric, node, 3, { sequence: 1, expiresAt: now + 90 * dayMs }),
    floorOf(fabric, node, 2, { sequence: 2, expiresAt: now + 5 }),
  ];
  t.deepEqual(currentFacts(facts, now), [facts[1]] as Fact[]);
  t.deepEqual(currentFacts(facts, now + 5), []);
  t.deepEqual(currentFacts(facts.toReversed(), now + 5), []);
});

test('a window is told by the controller whose it is, and by nobody else', (t) => {
  const { fabric, node, accept } = setUp();
  const { peerId } = fabric.controller;
  const until = fabric.clock.now() + 60_000;
  const body = { kind: 'window', node: 'box1', open: true, until, cidrs: ['192.0.2.0/24'], max: 5 } as const;
  const windowOf = (of: string): Fact => ({
    ...revocationOf(fabric, node),
    subject: `window/${of}`,
    expiresAt: until,
    body: { ...body, cidrs: [...body.cidrs], peerId: of },
  });
  t.like(accept({ ...signed(fabric.controller, windowOf(peerId)) }), { accepted: true });
  t.like(accept({ ...signed(fabric.controller, windowOf(node.peerId)) }), {
    accepted: false,
    reason: 'a controller tells of its own window alone',
  });
  t.like(accept({ ...signed(node, windowOf(node.peerId)) }), { accepted: false });
});
