// Hostile signed documents: announcements and tickets as links bring them, facts as replication brings them, certificate chains and requests.
// What nobody signed must be refused; what a member signed itself must still have the form, and change nothing that is not its own.

import { createAnnouncementTable } from '../../mesh/announcements.ts';
import {
  announcementInstancesMax,
  announcementPartsMax,
  attachedSaidMax,
  linkCostMicrosecondsMax,
  neighboursSaidMax,
  ticketPortsMax,
} from '../../mesh/limits.ts';
import { linkStateType } from '../../mesh/link-state-format.ts';
import { createLinkStateTable } from '../../mesh/link-states.ts';
import { createSigningRequest, readSigningRequest } from '../../pki/csr.ts';
import { CertificateError, CertificateRequestError } from '../../pki/errors.ts';
import { acceptFact, factDocumentOf, factType } from '../../pki/facts.ts';
import type { Identity, SignPayload } from '../../pki/identity.ts';
import { factLifetimeMsMax } from '../../pki/limits.ts';
import { createSignatureVerifier, createSigner } from '../../pki/signature.ts';
import { createChainVerifier } from '../../pki/verify-chain.ts';
import { createTestFabric } from '../mesh/credentials.ts';
import { createFabric, dayMs, monitor } from '../pki/fabric-fixture.ts';
import type { Draw } from './draw.ts';
import { mutateBytes, mutateJson } from './mutate.ts';
import type { HostileKind, Verdict } from './run-kind.ts';
import { either, flag, like, list, maybe, members, oneOf, type Shape, text, whole } from './shapes.ts';

const bytesOf = (value: string): Uint8Array => new Uint8Array(Buffer.from(value));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const name = text(255, 1);
/** Any JSON text signed as it stands: what a member's own program would sign for it. */
type SignText = (typ: string, json: string) => string;

const payloadOf = (jws: string): unknown => {
  try {
    return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
};

/** A document with a part changed, so that its signature is of something else. */
function forged(jws: string, others: readonly Uint8Array[], draw: Draw): Uint8Array {
  if (draw.oneIn(3)) return mutateBytes(bytesOf(jws), others, draw);
  const parts = jws.split('.');
  const at = draw.below(2);
  const changed = mutateJson(Buffer.from(parts[at] ?? '', 'base64url').toString('utf8'), draw);
  parts[at] = Buffer.from(changed).toString('base64url');
  return bytesOf(parts.join('.'));
}

/** What a signer of this project makes of a payload, for payloads that only JSON text can say (keys twice, inherited names). */
const signText =
  (sign: SignPayload): SignText =>
  (typ, json) => {
    try {
      return sign(typ, JSON.parse(json));
    } catch {
      return sign(typ, json.slice(0, 1_000));
    }
  };

const announcement = members({
  fabricId: name,
  peerId: name,
  node: name,
  bootCounter: whole(0),
  sequence: whole(0),
  part: maybe(whole(1, announcementPartsMax - 1)),
  instances: list(
    members({ instance: name, ready: flag, ticket: text(Number.POSITIVE_INFINITY, 1) }),
    announcementInstancesMax,
  ),
});
const ticket = members({
  fabricId: name,
  instance: name,
  peerId: name,
  project: name,
  application: name,
  microservice: name,
  ports: list(whole(1, 65_535), ticketPortsMax),
  udpPorts: maybe(list(whole(1, 65_535), ticketPortsMax)),
  epoch: whole(0),
  term: whole(0),
  generation: whole(0),
});

function announcementWorld() {
  const fabric = createTestFabric();
  const one = fabric.node('one', []);
  const two = fabric.node('two', []);
  const instance = 'default.cold-chain.monitor.0';
  const honest = 'default.cold-chain.monitor.1';
  const say = (node: typeof one, of: string, more: object = {}) => ({
    fabricId: fabric.fabricId,
    peerId: node.peerId,
    node: node.name,
    bootCounter: 1,
    sequence: 1,
    instances: [{ instance: of, ready: true, ticket: fabric.ticket({ instance: of, peerId: node.peerId }) }],
    ...more,
  });
  const news = two.sign('selvedge-announcement+jws', say(two, honest));
  function newTable() {
    const made = createAnnouncementTable({ fabricId: fabric.fabricId, verifySigned: fabric.verifySigned });
    made.accept(news);
    return made;
  }
  let table = newTable();
  let uses = 0;
  /** A new one now and then: a high counter that was taken makes everything after it late. */
  function inTurn() {
    uses++;
    if (uses % 20 === 0) table = newTable();
    return table;
  }
  /** What the other node serves is there whatever this one says. */
  const othersServed = (): boolean =>
    table.endpoints().some((served) => served.instance === honest && served.peerId === two.peerId && served.ready);
  const state = (): string => JSON.stringify([table.endpoints(), [...table.all()]]);
  return { fabric, one, instance, inTurn, say, othersServed, state };
}

const announcements: HostileKind = {
  name: 'announcements',
  share: 50,
  open() {
    const { one, instance, inTurn, say, othersServed, state } = announcementWorld();
    const valid = [1, 2].map((sequence) =>
      bytesOf(one.sign('selvedge-announcement+jws', say(one, instance, { sequence }))),
    );
    const sign = signText(one.sign);
    const taken = new Set(valid.map(textOf));
    return {
      valid,
      hostile(draw) {
        const jws = textOf(draw.pick(valid));
        if (draw.oneIn(2)) return forged(jws, valid, draw);
        const said = say(one, instance, { sequence: 3 + draw.below(1e9), part: draw.pick([undefined, 1, 15]) });
        const signed = sign('selvedge-announcement+jws', mutateJson(JSON.stringify(said), draw));
        taken.add(signed);
        return bytesOf(signed);
      },
      take(frame): Verdict {
        const table = inTurn();
        const before = state();
        const jws = textOf(frame);
        const verdict = table.accept(jws);
        const accepted = !('refused' in verdict);
        if (!othersServed()) return { accepted, wrong: 'what another node serves is gone' };
        if (!accepted) return { accepted, wrong: state() === before ? undefined : 'a refusal changed the table' };
        if (!taken.has(jws)) return { accepted, wrong: 'what nobody signed is taken' };
        const payload = payloadOf(jws) as { peerId?: unknown };
        if (!announcement(payload) || payload.peerId !== one.peerId) return { accepted, wrong: 'its form is not one' };
        const invented = table
          .endpoints()
          .find((served) => served.peerId === one.peerId && served.instance !== instance);
        if (invented !== undefined) return { accepted, wrong: `it serves ${invented.instance} without a ticket` };
        return { accepted };
      },
    };
  },
};

const linkEnds = (sizeMax: number) =>
  list(members({ peerId: name, costMicroseconds: whole(1, linkCostMicrosecondsMax) }), sizeMax);
const linkState = members({
  ...{
    fabricId: name,
    peerId: name,
    node: name,
    router: oneOf('interior', 'edge'),
    bootCounter: whole(0),
    sequence: whole(0),
  },
  ...{ neighbours: linkEnds(neighboursSaidMax), attached: linkEnds(attachedSaidMax) },
});

const linkStates: HostileKind = {
  name: 'link-states',
  share: 50,
  open() {
    const fabric = createTestFabric();
    const [one, two] = [fabric.node('one', []), fabric.node('two', [])];
    const { fabricId, verifySigned } = fabric;
    const end = (peerId: string) => ({ peerId, costMicroseconds: 700 });
    const say = (node: typeof one, sequence: number) => ({
      ...{ fabricId, peerId: node.peerId, node: node.name, router: 'interior', bootCounter: 1, sequence },
      neighbours: [end(node === one ? two.peerId : one.peerId)],
      attached: [end('12D3KooWGzh8HUcoYPY1XmRkDXPHrxTg1TfTnzvRUpDy5sXHbtA7')],
    });
    const news = two.sign(linkStateType, say(two, 1));
    const newTable = () => {
      const made = createLinkStateTable({ fabricId, verifySigned });
      made.accept(news);
      return made;
    };
    let table = newTable();
    let uses = 0;
    const state = (): string => JSON.stringify([...table.all()]);
    const valid = [1, 2].map((sequence) => bytesOf(one.sign(linkStateType, say(one, sequence))));
    const sign = signText(one.sign);
    const taken = new Set(valid.map(textOf));
    return {
      valid,
      hostile(draw) {
        if (draw.oneIn(2)) return forged(textOf(draw.pick(valid)), valid, draw);
        const signed = sign(linkStateType, mutateJson(JSON.stringify(say(one, 3 + draw.below(1e9))), draw));
        taken.add(signed);
        return bytesOf(signed);
      },
      take(frame): Verdict {
        uses++;
        // A high counter that was taken makes everything after it late.
        if (uses % 20 === 0) table = newTable();
        const before = state();
        const jws = textOf(frame);
        const verdict = table.accept(jws);
        const accepted = !('refused' in verdict);
        if (table.held(two.peerId)?.jws !== news) return { accepted, wrong: 'what another router says is gone' };
        if (!accepted) return { accepted, wrong: state() === before ? undefined : 'a refusal changed the table' };
        if (jws !== news && !taken.has(jws)) return { accepted, wrong: 'what nobody signed is taken' };
        const said = payloadOf(jws) as { peerId?: unknown };
        const fits = linkState(said) && (jws === news || said.peerId === one.peerId);
        return fits ? { accepted } : { accepted, wrong: 'its form is not one' };
      },
    };
  },
};

const tickets: HostileKind = {
  name: 'tickets',
  share: 30,
  open() {
    const { fabric, one, instance, inTurn, say, othersServed } = announcementWorld();
    const good = fabric.ticket({ instance, peerId: one.peerId, udpPorts: [53, 123] });
    const bySigner = signText(fabric.sign);
    const payload = JSON.stringify(payloadOf(good));
    const signedByController = new Set([good]);
    let sequence = 0;
    return {
      valid: [bytesOf(good)],
      hostile(draw) {
        if (draw.oneIn(2)) return forged(good, [], draw);
        const signed = draw.oneIn(3)
          ? signText(one.sign)('selvedge-ticket+jws', mutateJson(payload, draw))
          : bySigner('selvedge-ticket+jws', mutateJson(payload, draw));
        // A controller's mistakes must not be taken either; a node's own signature is worth nothing on a ticket.
        if (ticket(payloadOf(signed))) signedByController.add(signed);
        return bytesOf(signed);
      },
      take(frame): Verdict {
        const table = inTurn();
        // An announcement carries no more; a larger one is another kind's.
        const jws = textOf(frame.subarray(0, 200_000));
        sequence++;
        const said = say(one, instance, { sequence, instances: [{ instance, ready: true, ticket: jws }] });
        const verdict = table.accept(one.sign('selvedge-announcement+jws', said));
        const accepted = !('refused' in verdict) && verdict.dropped.length === 0;
        if (!othersServed()) return { accepted, wrong: 'what another node serves is gone' };
        const served = table.endpoints().filter(({ peerId }) => peerId === one.peerId);
        if (!accepted)
          return { accepted, wrong: served.length === 0 ? undefined : 'it serves with a ticket that was dropped' };
        if (!signedByController.has(jws)) return { accepted, wrong: 'a ticket that no controller signed is taken' };
        const { instance: about, peerId } = payloadOf(jws) as { instance?: unknown; peerId?: unknown };
        return about === instance && peerId === one.peerId
          ? { accepted }
          : { accepted, wrong: 'it is about another instance' };
      },
    };
  },
};

const peerId = like(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/);
const label = like(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
const addresses = list(text(200), 32);
const factBody: Shape = either(
  members({ kind: oneOf('revocation'), peerId, node: label, reason: text(1_000) }, { closed: true }),
  members({ kind: oneOf('authority-floor'), peerId, issueNumber: whole(0) }, { closed: true }),
  members(
    { kind: oneOf('window'), peerId, node: label, open: flag, until: whole(0), cidrs: addresses, max: whole(0) },
    { closed: true },
  ),
  members({ kind: oneOf('controller'), peerId, node: label, addresses }, { closed: true }),
);
const factForm = members(
  {
    ...{ fabricId: text(100), subject: text(128), sequence: whole(0), issuer: peerId },
    ...{ issuedAt: whole(0), expiresAt: whole(0), body: factBody },
  },
  { closed: true },
);

const facts: HostileKind = {
  name: 'facts',
  share: 50,
  open() {
    const fabric = createFabric();
    const now = fabric.clock.now();
    const node = fabric.addNode('box2');
    const verifySigned = createSignatureVerifier({
      verifyChain: createChainVerifier({ fabricId: fabric.id, clock: fabric.clock }),
    });
    const factOf = (body: { kind: string; peerId: string; [field: string]: unknown }) => ({
      ...{ fabricId: fabric.id, subject: `${body.kind}/${body.peerId}`, sequence: 1, issuer: fabric.controller.peerId },
      ...{ issuedAt: now, expiresAt: now + 30 * dayMs, body },
    });
    const own = { peerId: fabric.controller.peerId, node: 'box1' };
    const honest = [
      factOf({ kind: 'revocation', peerId: node.peerId, node: 'box2', reason: 'stolen' }),
      factOf({ kind: 'authority-floor', peerId: node.peerId, issueNumber: 3 }),
      factOf({ kind: 'window', ...own, open: true, until: now + dayMs, cidrs: ['192.0.2.0/24'], max: 5 }),
      factOf({ kind: 'controller', ...own, addresses: ['/ip4/192.0.2.7/tcp/7433'] }),
    ];
    const sign = createSigner(fabric.controller);
    const valid = honest.map((fact) => bytesOf(JSON.stringify(factDocumentOf(sign(factType, fact)))));
    const signedByController = new Set(valid.map((document) => (JSON.parse(textOf(document)) as { jws: string }).jws));
    return {
      valid,
      hostile(draw) {
        const document = textOf(draw.pick(valid));
        if (draw.oneIn(3)) return bytesOf(mutateJson(document, draw));
        const { jws } = JSON.parse(document) as { jws: string };
        if (draw.oneIn(2)) return bytesOf(JSON.stringify(factDocumentOf(textOf(forged(jws, [], draw)))));
        const signer = draw.oneIn(4) ? createSigner(node) : sign;
        const signed = signText(signer)(factType, mutateJson(JSON.stringify(draw.pick(honest)), draw));
        if (signer === sign) signedByController.add(signed);
        return bytesOf(JSON.stringify(factDocumentOf(signed)));
      },
      take(frame): Verdict {
        let document: unknown;
        try {
          document = JSON.parse(textOf(frame));
        } catch {
          return { accepted: false };
        }
        // The store hands on nothing but objects.
        if (typeof document !== 'object' || document === null) return { accepted: false };
        const verdict = acceptFact(document as Record<string, unknown>, { verifySigned, fabricId: fabric.id, now });
        if (!verdict.accepted) return { accepted: false };
        const { jws, _id, ...more } = document as Record<string, unknown>;
        if (typeof jws !== 'string' || !signedByController.has(jws))
          return { accepted: true, wrong: 'a fact that no controller signed is taken' };
        const others = Object.keys(more).filter((key) => key !== '_rev');
        if (others.length > 0 || _id !== factDocumentOf(jws)._id)
          return { accepted: true, wrong: 'another document is taken' };
        const fact = payloadOf(jws) as (typeof honest)[number];
        const fits =
          factForm(fact) &&
          fact.fabricId === fabric.id &&
          fact.issuer === fabric.controller.peerId &&
          fact.subject === `${fact.body.kind}/${fact.body.peerId}` &&
          fact.expiresAt > now &&
          fact.expiresAt - fact.issuedAt <= factLifetimeMsMax;
        return fits ? { accepted: true } : { accepted: true, wrong: 'its form is not one' };
      },
    };
  },
};

/** Certificates behind their lengths. */
const packed = (chain: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(
    Buffer.concat(chain.flatMap((der) => [Buffer.from([der.length >> 8, der.length & 0xff]), Buffer.from(der)])),
  );
function unpacked(bytes: Uint8Array): Uint8Array[] {
  const chain: Uint8Array[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const end = at + 2 + (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    chain.push(bytes.slice(at + 2, end));
    at = end;
  }
  return chain;
}

const chains: HostileKind = {
  name: 'certificate-chains',
  share: 60,
  open() {
    const fabric = createFabric();
    const node = fabric.addNode('box2', { covers: [monitor] });
    const honest = [node.chain, fabric.controller.chain, fabric.issueWorkload(node, monitor).chain];
    const verify = createChainVerifier({ fabricId: fabric.id, clock: fabric.clock });
    const known = new Set(honest.flat().map((der) => Buffer.from(der).toString('hex')));
    return {
      valid: honest.map(packed),
      hostile(draw) {
        const chain = [...draw.pick(honest)];
        const at = draw.below(chain.length);
        const others = honest.flat();
        if (draw.oneIn(4)) chain[at] = draw.pick(others);
        else if (draw.oneIn(8)) chain.splice(at, draw.below(2), ...others.slice(0, draw.below(6)));
        else chain[at] = mutateBytes(chain[at] ?? draw.bytes(10), others, draw);
        return packed(chain);
      },
      take(frame): Verdict {
        const chain = unpacked(frame);
        let identity: Identity;
        try {
          identity = verify(chain);
        } catch (error) {
          if (!(error instanceof CertificateError)) throw error;
          return { accepted: false };
        }
        const made = chain.every((der) => known.has(Buffer.from(der).toString('hex')));
        if (!made) return { accepted: true, wrong: 'a certificate that nobody issued is taken' };
        return identity.fabricId === fabric.id
          ? { accepted: true }
          : { accepted: true, wrong: 'it is of another fabric' };
      },
    };
  },
};

const signingRequests: HostileKind = {
  name: 'certificate-requests',
  share: 50,
  open() {
    const { keys } = createFabric();
    const requests = (['P-256', 'Ed25519'] as const).map((algorithm) =>
      createSigningRequest({ key: keys.create(algorithm), commonName: 'box2' }),
    );
    return {
      valid: requests,
      take(frame): Verdict {
        try {
          readSigningRequest(frame);
        } catch (error) {
          if (!(error instanceof CertificateRequestError)) throw error;
          return { accepted: false };
        }
        const made = requests.some((request) => Buffer.compare(request, frame) === 0);
        return made ? { accepted: true } : { accepted: true, wrong: 'a request that no key signed is taken' };
      },
    };
  },
};

export const signedKinds: readonly HostileKind[] = [announcements, linkStates, tickets, facts, chains, signingRequests];
