// What one mailbox holds of desired documents, and writing them in their order: files, authority, plan. Called by the planner alone,
// which holds the lease; it must never touch an observed document.

import { canonicalJson, sha256 } from './canonical-json.ts';
import type { ObservedNode } from './fabric.ts';
import type { AuthorityDocument, FileDocument, Plan, PlanDocument, PlanVersion } from './plan.ts';
import { asPlan, compareVersions, isVersion } from './plan-version.ts';
import type { Database, StoredDocument } from './store.ts';

const planId = 'desired/plan';
const authorityId = 'desired/authority';
const filePrefix = 'desired/file/';

export interface MailboxDesk {
  /** The newest plan that is stored, undefined when there is none. Valid after `refresh`. */
  plan(): Plan | undefined;
  /** The chain that is stored. Valid after `refresh`. */
  authority(): string[] | undefined;
  /** Reads what changed since the last call and removes losing leaves; `mayWrite` is asked before each removal. */
  refresh(mayWrite: () => boolean): Promise<void>;
  writeFiles(files: readonly FileDocument[]): Promise<void>;
  writeAuthority(chain: string[]): Promise<void>;
  writePlan(plan: Plan, jws: string): Promise<void>;
  /** Removes slots that the stored plan does not list, once the node obeys it. */
  removeUnusedFiles(): Promise<void>;
  close(): void;
}

/** What makes two plans the same for the node: all but the version. */
export function planContent({ fabricId, node, peerId, instances, files, stage, gateways }: Plan): string {
  return canonicalJson({ fabricId, node, peerId, instances, files, stage, gateways });
}

export interface DeskOptions {
  database: Database;
  /** The payload of a stored plan; throws or answers undefined for one that does not count. */
  readPlan: (jws: string) => unknown;
  /** Called when a desired document changed, or the node obeys another plan while slots wait to be removed. */
  onChange: () => void;
  /** Called when the node has said something new of itself. */
  onObserved: () => void;
}

export function createMailboxDesk({ database, readPlan, onChange, onObserved }: DeskOptions): MailboxDesk {
  let plan: Plan | undefined;
  let authority: string[] | undefined;
  const files = new Map<string, string>();
  const stale = new Set<string>();
  let loaded = false;
  let written: { jws: string; plan: Plan } | undefined;

  const unused = (): string[] => {
    const used = new Set(plan?.files.map(({ slot }) => slot));
    return plan === undefined ? [] : [...files.keys()].filter((slot) => !used.has(slot));
  };

  const unsubscribe = database.subscribe(({ id }) => {
    if (id === 'observed/node') {
      onObserved();
      if (unused().length > 0) onChange();
    } else if (id.startsWith('desired/')) {
      stale.add(id);
      onChange();
    }
  });

  const decode = (document: StoredDocument | undefined): Plan | undefined => {
    // What this process wrote counts without a look: a verifier that refuses it must not make it write for ever.
    if (written !== undefined && document?.jws === written.jws) return written.plan;
    try {
      return typeof document?.jws === 'string' ? asPlan(readPlan(document.jws)) : undefined;
    } catch {
      return undefined;
    }
  };

  /** Which of several live leaves stays; the winner unless content decides. */
  const choose = (id: string, leaves: readonly StoredDocument[], winner: StoredDocument): StoredDocument => {
    if (id === planId) {
      const ranked = leaves.map((leaf) => ({ leaf, version: decode(leaf) }));
      const decoded = ranked.filter((one): one is { leaf: StoredDocument; version: Plan } => one.version !== undefined);
      return decoded.sort((left, right) => compareVersions(right.version, left.version))[0]?.leaf ?? winner;
    }
    const wanted = plan?.files.find(({ slot }) => id === `${filePrefix}${slot}`)?.sha256;
    const match = wanted === undefined ? undefined : leaves.find((leaf) => contentHash(leaf) === wanted);
    return match ?? winner;
  };

  const settle = async (id: string, mayWrite: () => boolean): Promise<StoredDocument | undefined> => {
    const leaves = (await database.leaves(id)).filter(({ _deleted }) => _deleted !== true);
    if (leaves.length <= 1) return leaves[0];
    const winner = (await database.get(id)) ?? (leaves[0] as StoredDocument);
    const kept = choose(id, leaves, winner);
    for (const leaf of leaves) {
      if (leaf._rev !== kept._rev && leaf._rev !== undefined && mayWrite()) await database.remove(id, leaf._rev);
    }
    return kept;
  };

  const take = (id: string, document: StoredDocument | undefined): void => {
    if (id === planId) plan = decode(document);
    else if (id === authorityId) authority = Array.isArray(document?.chain) ? (document.chain as string[]) : undefined;
    else if (id.startsWith(filePrefix)) {
      if (document === undefined) files.delete(id.slice(filePrefix.length));
      else files.set(id.slice(filePrefix.length), contentHash(document));
    }
  };

  const write = (id: string, fields: Record<string, unknown>): Promise<void> =>
    database.update(id, (current) => ({
      ...(current?._rev !== undefined && { _rev: current._rev }),
      _id: id,
      ...fields,
    }));

  return {
    plan: () => plan,
    authority: () => authority,
    async refresh(mayWrite) {
      // The plan first: it decides which leaf of a file stays.
      const ids = new Set<string>();
      if (!loaded) {
        for (const id of [planId, authorityId]) ids.add(id);
        for (const { _id } of await database.list(filePrefix)) ids.add(_id);
      }
      const pending = [...stale].sort((left, right) => Number(right === planId) - Number(left === planId));
      stale.clear();
      for (const id of pending) ids.add(id);
      try {
        for (const id of ids) take(id, await settle(id, mayWrite));
        loaded = true;
      } catch (error) {
        for (const id of ids) stale.add(id);
        throw error;
      }
    },
    async writeFiles(documents) {
      const changed = documents.filter(({ _id, contentBase64 }) => {
        const hash = sha256(Buffer.from(contentBase64, 'base64'));
        return files.get(_id.slice(filePrefix.length)) !== hash;
      });
      await Promise.all(
        changed.map(async (document) => {
          await write(document._id, { contentBase64: document.contentBase64 });
          take(document._id, document as unknown as StoredDocument);
        }),
      );
    },
    async writeAuthority(chain) {
      const document: AuthorityDocument = { _id: authorityId, chain };
      await write(authorityId, { chain: document.chain });
      authority = chain;
    },
    async writePlan(next, jws) {
      const document: PlanDocument = { _id: planId, jws };
      written = { jws, plan: next };
      await write(planId, { jws: document.jws });
      plan = next;
    },
    async removeUnusedFiles() {
      const slots = unused();
      if (slots.length === 0) return;
      const observed = (await database.get('observed/node')) as unknown as ObservedNode | undefined;
      const obeyed: PlanVersion | undefined = isVersion(observed?.version) ? observed.version : undefined;
      if (plan === undefined || obeyed === undefined || compareVersions(obeyed, plan) < 0) return;
      for (const slot of slots) {
        await database.remove(`${filePrefix}${slot}`);
        files.delete(slot);
      }
    },
    close: unsubscribe,
  };
}

function contentHash(document: StoredDocument): string {
  return typeof document.contentBase64 === 'string' ? sha256(Buffer.from(document.contentBase64, 'base64')) : '';
}
