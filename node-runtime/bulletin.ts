// The bulletin as this node believes it: signed facts, verified before they are stored, and what follows from them. Called by
// node.ts (revocations, floors, controllers), by the replicas as their write guard, and by controller.ts to publish.

import type { Database, StoredDocument } from '../control/store.ts';
import {
  acceptFact,
  authorityFloor,
  currentFacts,
  type FactDocument,
  factDocumentOf,
  factType,
  isRevoked,
  newestFacts,
  windowOver,
} from '../pki/facts.ts';
import type { ControllerBody, Fact, PolicyBody, SignPayload, VerifySigned, WindowBody } from '../pki/identity.ts';
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import { createKeptRevocations } from './kept-revocations.ts';

export interface Bulletin {
  /** Loads what is stored, then follows. */
  start(): Promise<void>;
  stop(): void;
  /** Why the document may not be stored, or undefined. */
  judge(document: StoredDocument): string | undefined;
  /** Signs and stores a new fact; the sequence follows the newest of the subject. A revocation is fsynced before it is stored. */
  publish(sign: SignPayload, issuer: string, subject: string, body: Fact['body'], lifetimeMs: number): Promise<void>;
  isRevoked(peerId: string): boolean;
  authorityFloor(peerId: string): number;
  controllers(): ControllerBody[];
  /** Those that are open now. */
  windows(): WindowBody[];
  /** The facts that say which calls between applications are allowed, those that allow nothing among them. */
  policies(): (Fact & { body: PolicyBody })[];
}

export function createBulletin(dependencies: {
  database: Database;
  disk: Disk;
  clock: Clock;
  fabricId: string;
  verifySigned: VerifySigned;
  onChanged(): void;
  onIgnored(message: string): void;
}): Bulletin {
  const { database, disk, clock, fabricId, verifySigned, onChanged, onIgnored } = dependencies;
  const kept = createKeptRevocations({ disk, database, onLost: onIgnored });
  /** Of each subject the newest, by id: also once it has expired, as the mark that older ones stay below. */
  const accepted = new Map<string, Fact>();
  const seen = new Set<string>();
  let current: Fact[] = [];
  /** Made once for each change: asked of every node that is held. */
  let revoked = isRevoked(current);
  let floors = authorityFloor(current);
  let unsubscribe: (() => void) | undefined;

  const verdictOn = (document: StoredDocument) => acceptFact(document, { verifySigned, fabricId, now: clock.now() });

  /** Reads every leaf: an edit that hides a fact is one more leaf, never its end. */
  async function take(id: string): Promise<void> {
    for (const leaf of await database.leaves(id)) {
      const verdict = verdictOn(leaf);
      if (!verdict.accepted) {
        if (verdict.reason === windowOver) continue;
        onIgnored(`${id} (revision ${leaf._rev}) is ignored: ${verdict.reason}`);
        continue;
      }
      accepted.set(id, verdict.fact);
      seen.add(id);
      // It counts from now on; the disk only has to remember it.
      if (verdict.fact.body.kind === 'revocation') heard(leaf as unknown as FactDocument);
    }
  }

  const heard = (document: FactDocument): void =>
    void kept
      .keep(document)
      .catch((error: unknown) => onIgnored(`revocation ${document._id} is not on disk: ${String(error)}`));

  function refresh(): void {
    const newest = newestFacts(accepted.values());
    for (const [id, fact] of accepted) if (newest.get(fact.subject) !== fact) accepted.delete(id);
    current = currentFacts(accepted.values(), clock.now());
    revoked = isRevoked(current);
    floors = authorityFloor(current);
    onChanged();
  }

  return {
    async start() {
      unsubscribe ??= database.subscribe(({ id }) => {
        if (seen.has(id)) return;
        void take(id).then(refresh, (error: unknown) => onIgnored(`fact ${id} cannot be read: ${String(error)}`));
      });
      await kept.restore();
      for (const { _id } of await database.list('')) if (!seen.has(_id)) await take(_id);
      refresh();
    },
    stop() {
      unsubscribe?.();
      unsubscribe = undefined;
    },
    judge({ _revisions, ...document }) {
      // The history that replication sends along is judged by the write guard.
      const verdict = verdictOn(document);
      return verdict.accepted ? undefined : verdict.reason;
    },
    async publish(sign, issuer, subject, body, lifetimeMs) {
      const earlier = [...accepted.values()].filter((fact) => fact.subject === subject);
      const sequence = 1 + Math.max(0, ...earlier.map((fact) => fact.sequence));
      const now = clock.now();
      const fact: Fact = { fabricId, subject, sequence, issuer, issuedAt: now, expiresAt: now + lifetimeMs, body };
      const document = factDocumentOf(sign(factType, fact));
      if (body.kind === 'revocation') await kept.keep(document);
      await database.put({ ...document });
      await take(document._id);
      refresh();
    },
    isRevoked: (peerId) => revoked(peerId),
    authorityFloor: (peerId) => floors(peerId),
    windows: () =>
      current.flatMap(({ body }) => (body.kind === 'window' && body.open && body.until > clock.now() ? [body] : [])),
    policies: () => current.flatMap((fact) => (fact.body.kind === 'policy' ? [{ ...fact, body: fact.body }] : [])),
    controllers: () => current.flatMap(({ body }) => (body.kind === 'controller' ? [body] : [])),
  };
}
