// Reads what the mailbox delivers and decides what the node obeys: the newest plan that is genuine, meant for this node and
// whose files have all arrived (delivered-plan.ts), and the newest authority. Reads every leaf, never the winner alone.
// Called by node.ts; tells it through `onPlan` and `onAuthority`. It never writes to the mailbox.

import type { AuthorityDocument } from '../control/plan.ts';
import type { Database, StoredDocument } from '../control/store.ts';
import type { NodeIdentity, VerifyChain, VerifySigned } from '../pki/identity.ts';
import type { Clock, TimerId } from './clock.ts';
import { createDeliveredPlans, planType } from './delivered-plan.ts';
import type { Disk } from './disk.ts';
import { planRetryMs } from './limits.ts';
import { type ObeyedPlan, saveObeyedPlan } from './obeyed-plan.ts';

export { planType };

export interface PlanFollowerDependencies {
  clock: Clock;
  mailbox: Database;
  disk: Disk;
  fabricId: string;
  node: string;
  peerId: string;
  authorityKeySha256: string;
  verifySigned: VerifySigned;
  verifyChain: VerifyChain;
  /** What this node obeys at start. */
  obeyed: ObeyedPlan | undefined;
  issueNumber: number;
  onPlan(obeyed: ObeyedPlan): void;
  /** Base64 DER, leaf first; stored by the callee before it resolves. */
  onAuthority(chain: string[], identity: NodeIdentity): Promise<void>;
  /** Something was ignored; once per reason and document revision. */
  onIgnored(message: string): void;
}

export interface PlanFollower {
  /** Looks at what is there already, then follows. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export function createPlanFollower(dependencies: PlanFollowerDependencies): PlanFollower {
  const { clock, mailbox, disk, verifyChain, onPlan, onAuthority, onIgnored } = dependencies;
  let obeyed = dependencies.obeyed;
  let issueNumber = dependencies.issueNumber;
  let unsubscribe: (() => void) | undefined;
  let running: Promise<void> | undefined;
  let retry: TimerId | undefined;
  let again = false;
  // Bounded: revisions that were reported, so that a bad document is one event and not one per look.
  const reported = new Set<string>();

  function ignore(leaf: StoredDocument, reason: string): void {
    const key = `${leaf._id} ${leaf._rev} ${reason}`;
    if (reported.has(key)) return;
    if (reported.size >= 256) reported.clear();
    reported.add(key);
    onIgnored(`${leaf._id} (revision ${leaf._rev}) is ignored: ${reason}`);
  }

  const delivered = createDeliveredPlans({ ...dependencies, onIgnored: ignore });

  async function lookForPlan(): Promise<void> {
    const next = await delivered.newerThan(obeyed);
    if (next === undefined) return;
    await saveObeyedPlan(disk, next, () => {
      obeyed = next;
      onPlan(next);
    });
  }

  async function lookForAuthority(): Promise<void> {
    for (const leaf of await mailbox.leaves('desired/authority')) {
      const { chain } = leaf as unknown as Partial<AuthorityDocument>;
      if (leaf._deleted === true) {
        ignore(leaf, 'an authority is never deleted');
        continue;
      }
      if (!Array.isArray(chain) || !chain.every((certificate) => typeof certificate === 'string')) {
        ignore(leaf, 'it holds no chain of certificates');
        continue;
      }
      try {
        const identity = verifyChain(chain.map((certificate) => Buffer.from(certificate, 'base64')));
        if (identity.kind !== 'node' || identity.peerId !== dependencies.peerId) {
          ignore(leaf, 'it is the authority of another node');
        } else if (identity.authorityKeySha256 !== dependencies.authorityKeySha256) {
          ignore(leaf, 'it is for a key that this node does not have');
        } else if (identity.issueNumber > issueNumber) {
          await onAuthority(chain, identity);
          issueNumber = identity.issueNumber;
        }
      } catch (error) {
        ignore(leaf, error instanceof Error ? error.message : String(error));
      }
    }
  }

  function failed(error: unknown): void {
    onIgnored(`what the mailbox holds cannot be taken over: ${error instanceof Error ? error.message : String(error)}`);
    retry ??= clock.setTimeout(() => {
      retry = undefined;
      void look();
    }, planRetryMs);
  }

  /** One look at a time; what changes meanwhile causes one more. */
  function look(): Promise<void> {
    again = true;
    running ??= (async () => {
      while (again && unsubscribe !== undefined) {
        again = false;
        // Side by side: neither waits for the other to be on the disk. An instance waits until its authority is there.
        await Promise.all([lookForAuthority().catch(failed), lookForPlan().catch(failed)]);
      }
      running = undefined;
    })();
    return running;
  }

  return {
    async start() {
      unsubscribe ??= mailbox.subscribe(({ id }) => {
        if (id.startsWith('desired/')) void look();
      });
      await look();
    },
    async stop() {
      unsubscribe?.();
      unsubscribe = undefined;
      clock.clearTimeout(retry);
      retry = undefined;
      await running;
    },
  };
}
