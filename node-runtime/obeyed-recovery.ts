// The plan to run at start when this node's own copy of it is damaged: another whole copy on disk, or the one that the mailbox
// still holds, never an older one. Called by member.ts. What cannot be had again is an error that names the damaged file.

import type { PlanVersion } from '../control/plan.ts';
import type { DeliveredPlans } from './delivered-plan.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';
import {
  findStoredPlan,
  loadObeyedPlan,
  type ObeyedPlan,
  type PlanOwner,
  removeOtherPlans,
  saveObeyedPlan,
  storedVersions,
} from './obeyed-plan.ts';

export interface ObeyedAtStart {
  obeyed: ObeyedPlan | undefined;
  /** Set while the copy is damaged and no other was found on disk. */
  damage?: DamagedFileError;
  /** What was obeyed, as far as the folder tells. */
  atLeast?: PlanVersion | undefined;
}

/** Mends the pointer where it alone is damaged and tells `onMended`. Throws DiskError for what cannot be read. */
export async function loadObeyedAtStart(
  disk: Disk,
  owner: PlanOwner,
  onMended: (message: string) => void,
): Promise<ObeyedAtStart> {
  let damage: DamagedFileError | undefined;
  try {
    const obeyed = await loadObeyedPlan(disk, owner);
    if (obeyed !== undefined) {
      // What a daemon was killed over while it stored the next one.
      await removeOtherPlans(disk, obeyed.plan).catch(() => undefined);
      return { obeyed };
    }
  } catch (error) {
    if (!(error instanceof DamagedFileError)) throw error;
    damage = error;
  }
  const stored = await findStoredPlan(disk, owner);
  if (stored !== undefined) {
    await saveObeyedPlan(disk, stored);
    onMended(
      `${damage?.message ?? 'the pointer to the obeyed plan is missing'}; the plan beside it is whole and counts`,
    );
    return { obeyed: stored };
  }
  if (damage === undefined) return { obeyed: undefined };
  return { obeyed: undefined, damage, atLeast: (await storedVersions(disk))[0] };
}

/** The mailbox's copy, stored again. Throws the damage when it has none that is as new. */
export async function recoverObeyedPlan(input: {
  disk: Disk;
  delivered: DeliveredPlans;
  damage: DamagedFileError;
  atLeast: PlanVersion | undefined;
  onMended(message: string): void;
}): Promise<ObeyedPlan> {
  const { disk, delivered, damage, atLeast, onMended } = input;
  const found = await delivered.atLeast(atLeast);
  if (found === undefined) throw damage;
  await saveObeyedPlan(disk, found);
  onMended(`${damage.message}; the plan was taken from the mailbox again`);
  return found;
}
