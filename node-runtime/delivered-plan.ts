// What a mailbox delivers as a plan: every leaf of the revision tree is judged, never the winner alone, and the newest genuine plan
// whose files have all arrived is taken. Called by plan-follower.ts, and at a start whose own copy is damaged. It never writes.

import type { FileDocument, Plan, PlanDocument, PlanVersion } from '../control/plan.ts';
import type { Database, StoredDocument } from '../control/store.ts';
import type { VerifySigned } from '../pki/identity.ts';
import { compareVersions, type ObeyedPlan, sha256Hex } from './obeyed-plan.ts';
import { readPlan } from './plan-schema.ts';

export const planType = 'selvedge-plan+jws';

export interface DeliveredPlans {
  /** Newer than `obeyed`, whose files need not arrive again. */
  newerThan(obeyed: ObeyedPlan | undefined): Promise<ObeyedPlan | undefined>;
  /** The newest of this version or a later one. */
  atLeast(version: PlanVersion | undefined): Promise<ObeyedPlan | undefined>;
}

export function createDeliveredPlans(dependencies: {
  mailbox: Database;
  fabricId: string;
  node: string;
  peerId: string;
  verifySigned: VerifySigned;
  onIgnored(leaf: StoredDocument, reason: string): void;
}): DeliveredPlans {
  const { mailbox, fabricId, node, peerId, verifySigned, onIgnored: ignore } = dependencies;

  /** The plan of a leaf when it is genuine and for this node. */
  function judge(leaf: StoredDocument): { plan: Plan; jws: string; leaf: StoredDocument } | undefined {
    if (leaf._deleted === true) return void ignore(leaf, 'a plan is never deleted');
    const { jws } = leaf as unknown as Partial<PlanDocument>;
    if (typeof jws !== 'string') return void ignore(leaf, 'it holds no signed plan');
    try {
      const { payload, signer } = verifySigned(jws, planType);
      if (signer.kind !== 'controller') return void ignore(leaf, `a ${signer.kind} may not sign plans`);
      const read = readPlan(payload);
      if ('malformed' in read) return void ignore(leaf, `the plan is malformed at ${read.malformed}`);
      const { plan } = read;
      if (plan.fabricId !== fabricId) return void ignore(leaf, 'it is for another fabric');
      if (plan.node !== node || plan.peerId !== peerId) return void ignore(leaf, 'it is for another node');
      return { plan, jws, leaf };
    } catch (error) {
      return void ignore(leaf, error instanceof Error ? error.message : String(error));
    }
  }

  async function fileOf(slot: string, sha256: string): Promise<Uint8Array | undefined> {
    for (const leaf of await mailbox.leaves(`desired/file/${slot}`)) {
      const { contentBase64 } = leaf as unknown as Partial<FileDocument>;
      if (typeof contentBase64 !== 'string') continue;
      const content = Buffer.from(contentBase64, 'base64');
      if (sha256Hex(content) === sha256) return content;
    }
    return undefined;
  }

  /** All files of the plan, or undefined while one has not arrived. */
  async function collectFiles(
    plan: Plan,
    known: ReadonlyMap<string, Uint8Array>,
  ): Promise<Map<string, Uint8Array> | undefined> {
    const files = new Map<string, Uint8Array>();
    for (const { slot, sha256 } of plan.files) {
      const content = known.get(sha256) ?? (await fileOf(slot, sha256));
      if (content === undefined) return undefined;
      files.set(sha256, content);
    }
    return files;
  }

  async function newest(
    leaves: readonly StoredDocument[],
    isWanted: (plan: Plan, leaf: StoredDocument) => boolean,
    known: ReadonlyMap<string, Uint8Array>,
  ): Promise<ObeyedPlan | undefined> {
    const candidates = leaves.map(judge).filter((one) => one !== undefined && isWanted(one.plan, one.leaf));
    const sorted = candidates.filter((one) => one !== undefined);
    sorted.sort((one, other) => compareVersions(other.plan, one.plan));
    for (const { plan, jws } of sorted) {
      const files = await collectFiles(plan, known);
      if (files !== undefined) return { plan, jws, files };
    }
    return undefined;
  }

  return {
    async newerThan(obeyed) {
      const leaves = await mailbox.leaves('desired/plan');
      const unknown = leaves.filter((leaf) => obeyed === undefined || leaf['jws'] !== obeyed.jws);
      const isNewer = (plan: Plan, leaf: StoredDocument): boolean => {
        if (obeyed === undefined || compareVersions(plan, obeyed.plan) > 0) return true;
        ignore(leaf, 'it is not newer than the plan that is obeyed');
        return false;
      };
      return newest(unknown, isNewer, obeyed?.files ?? new Map());
    },
    async atLeast(version) {
      const isLate = (plan: Plan): boolean => version === undefined || compareVersions(plan, version) >= 0;
      return newest(await mailbox.leaves('desired/plan'), isLate, new Map());
    },
  };
}
