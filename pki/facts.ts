// The bulletin's decisions, pure: which document is a fact, which of several facts counts, what the facts say. Called by
// control (writing), and by every node before it stores a fact or passes one on. A fact is never edited nor deleted.
//
// Expiry bounds the bulletin. A revocation must therefore outlive every certificate of the revoked peer: 30 days for a
// node's authority, a year for a controller's, plus the backdating; after that nothing is left to refuse. Facts of a
// controller that was itself revoked are no longer accepted: whoever revokes a controller signs its revocations again.

import * as z from 'zod';
import { toBase32 } from './base32.ts';
import type { Fact, VerifySigned } from './identity.ts';
import {
  addressCharactersMax,
  addressesMax,
  factBytesMax,
  factLifetimeMsMax,
  factSubjectCharactersMax,
  policyPortsMax,
  policyRulesMax,
  windowRangesMax,
} from './limits.ts';
import { isLabel } from './names.ts';
import { isPeerId } from './peer-id.ts';
import { sha256 } from './public-key.ts';

export const factType = 'selvedge-fact+jws';

/** A document of the bulletin: `fact/<id>`, written once. */
export interface FactDocument {
  _id: `fact/${string}`;
  _rev?: string;
  jws: string;
}

/** Why a window's fact is no longer taken: the normal end of one, and nothing to tell anybody. */
export const windowOver = 'the window is over';

export type FactVerdict = { accepted: true; fact: Fact } | { accepted: false; reason: string };

const peerId = z.string().refine(isPeerId, 'no peer id');
const node = z.string().refine(isLabel, 'no node name');
const whole = z.number().int().nonnegative();
const name = z.string().refine(isLabel, 'no name');
const factSchema = z.strictObject({
  fabricId: z.string(),
  subject: z.string().max(factSubjectCharactersMax),
  sequence: whole,
  issuer: peerId,
  issuedAt: whole,
  expiresAt: whole,
  body: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('revocation'), peerId, node, reason: z.string().max(1000) }),
    z.strictObject({ kind: z.literal('authority-floor'), peerId, issueNumber: whole }),
    z.strictObject({
      kind: z.literal('window'),
      peerId,
      node,
      open: z.boolean(),
      until: whole,
      cidrs: z.array(z.string().max(addressCharactersMax)).max(windowRangesMax),
      max: whole,
    }),
    z.strictObject({
      kind: z.literal('controller'),
      peerId,
      node,
      addresses: z.array(z.string().max(addressCharactersMax)).max(addressesMax),
    }),
    z.strictObject({
      kind: z.literal('policy'),
      project: name,
      name,
      allow: z
        .array(
          z.strictObject({
            from: z.strictObject({ project: name, application: name, microservice: name.exactOptional() }),
            to: z.strictObject({
              application: name,
              microservice: name.exactOptional(),
              ports: z.array(whole).max(policyPortsMax).exactOptional(),
            }),
          }),
        )
        .max(policyRulesMax),
    }),
  ]),
});

/** SHA-256 of the signed bytes (header and payload, as the JWS carries them) in 52 characters of base32. */
export const factId = (jws: string): string =>
  toBase32(sha256(new TextEncoder().encode(jws.slice(0, Math.max(0, jws.lastIndexOf('.'))))));

export const factDocumentOf = (jws: string): FactDocument => ({ _id: `fact/${factId(jws)}`, jws });

/** Signatures of one fact by one key may differ, but not its id; the first revision of a document is its only one. */
const firstRevision = /^1-[0-9a-f]{1,64}$/;

/** The only subject that a fact with this body may have. */
export function subjectOf(body: Fact['body']): string {
  return body.kind === 'policy' ? `policy/${body.project}/${body.name}` : `${body.kind}/${body.peerId}`;
}

const refuse = (reason: string): FactVerdict => ({ accepted: false, reason });

/** Whether a document that arrived is a fact of this fabric that was never altered. Never throws for bad input. */
export function acceptFact(
  document: Record<string, unknown>,
  { verifySigned, fabricId, now }: { verifySigned: VerifySigned; fabricId: string; now: number },
): FactVerdict {
  const { _id, _rev, _deleted, jws, ...more } = document;
  if (_deleted !== undefined) return refuse('facts are never deleted');
  if (Object.keys(more).length > 0) return refuse('the document has fields that a fact does not have');
  if (_rev !== undefined && !(typeof _rev === 'string' && firstRevision.test(_rev)))
    return refuse('facts are never edited');
  if (typeof jws !== 'string' || jws.length > factBytesMax) return refuse('the document has no signed fact');
  if (_id !== `fact/${factId(jws)}`) return refuse('the id is not the hash of the signed bytes');
  let signed: ReturnType<VerifySigned>;
  try {
    signed = verifySigned(jws, factType);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : 'the signature is not accepted');
  }
  const parsed = factSchema.safeParse(signed.payload);
  if (!parsed.success) return refuse(`the fact is malformed at ${parsed.error.issues[0]?.path.join('.') || 'its top'}`);
  const fact = parsed.data;
  if (signed.signer.kind !== 'controller') return refuse('only a controller signs facts');
  if (signed.signer.peerId !== fact.issuer) return refuse('the fact names another issuer than its signer');
  if (fact.fabricId !== fabricId) return refuse('the fact is about another fabric');
  if (fact.subject !== subjectOf(fact.body)) return refuse('the subject is not what the fact is about');
  if (fact.body.kind === 'window' && fact.issuer !== fact.body.peerId)
    return refuse('a controller tells of its own window alone');
  if (fact.expiresAt <= now) return refuse(fact.body.kind === 'window' ? windowOver : 'the fact has expired');
  // One from the future counts: a box whose clock is behind must not lose a revocation.
  if (fact.expiresAt > fact.issuedAt + factLifetimeMsMax) return refuse('the fact lives longer than facts may');
  return { accepted: true, fact };
}

/** Later (sequence, issuer); of revocations the one that lasts longest, so that none is lifted by another. */
function counts(fact: Fact, current: Fact): boolean {
  if (fact.body.kind === 'revocation' && fact.expiresAt !== current.expiresAt)
    return fact.expiresAt > current.expiresAt;
  if (fact.sequence !== current.sequence) return fact.sequence > current.sequence;
  return fact.issuer > current.issuer;
}

/** Of each subject the one fact that no other supersedes, expired or not. */
export function newestFacts(facts: Iterable<Fact>): Map<string, Fact> {
  const newest = new Map<string, Fact>();
  for (const fact of facts) {
    const other = newest.get(fact.subject);
    if (other === undefined || counts(fact, other)) newest.set(fact.subject, fact);
  }
  return newest;
}

/** Of each subject the one fact that counts, in order of subject. One that has expired leaves its subject to nobody: what it superseded may
 * last longer, and does not count again. */
export function currentFacts(facts: Iterable<Fact>, now: number): Fact[] {
  const current = [...newestFacts(facts).values()].filter(({ expiresAt }) => expiresAt > now);
  return current.sort((a, b) => (a.subject < b.subject ? -1 : 1));
}

/** Of current facts: who is revoked. */
export function isRevoked(facts: Iterable<Fact>): (peerId: string) => boolean {
  const revoked = new Set<string>();
  for (const { body } of facts) if (body.kind === 'revocation') revoked.add(body.peerId);
  return (peerId) => revoked.has(peerId);
}

/** Of current facts: the lowest valid issue number of a peer's authority; 0 where none was raised. */
export function authorityFloor(facts: Iterable<Fact>): (peerId: string) => number {
  const floors = new Map<string, number>();
  for (const { body } of facts) {
    if (body.kind === 'authority-floor')
      floors.set(body.peerId, Math.max(body.issueNumber, floors.get(body.peerId) ?? 0));
  }
  return (peerId) => floors.get(peerId) ?? 0;
}
