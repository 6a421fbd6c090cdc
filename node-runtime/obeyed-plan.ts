// The node's own durable copy of the plan that it obeys (design, section 4): the plan as signed and the content of its
// files in a folder of their own, and a pointer that is switched by one atomic rename. The node runs and boots from this
// copy alone; the mailbox only delivers. Used by plan-follower.ts and by node.ts at start.

import { createHash } from 'node:crypto';
import type { Plan, PlanVersion } from '../control/plan.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';
import { readPlan } from './plan-schema.ts';

export interface ObeyedPlan {
  plan: Plan;
  jws: string;
  /** Content by SHA-256 (hex). */
  files: ReadonlyMap<string, Uint8Array>;
}

const pointerFile = 'obeyed/current';
const folderPattern = /^obeyed\/\d+-\d+-\d+$/;
/** 64 bytes in base64url: ES256 and EdDSA alike. */
const signatureCharacters = 86;

/** Negative when `one` is older. Order: epoch, term, generation. */
export function compareVersions(one: PlanVersion, other: PlanVersion): number {
  return one.epoch - other.epoch || one.term - other.term || one.generation - other.generation;
}

export const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const folderOf = ({ epoch, term, generation }: PlanVersion): string => `obeyed/${epoch}-${term}-${generation}`;

/** The payload of a JWS whose signature was checked before it was stored. */
function payloadOf(jws: string): Plan {
  return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString('utf8')) as Plan;
}

/** What is left of other plans, and of saving that a power cut ended. */
export async function removeOtherPlans(disk: Disk, version: PlanVersion): Promise<void> {
  const folder = folderOf(version);
  for (const name of await disk.list('obeyed')) {
    if (name !== 'current' && `obeyed/${name}` !== folder) await disk.remove(`obeyed/${name}`);
  }
}

/**
 * Stores plan and files, syncs them, then switches the pointer. `onStored` is called as soon as the next boot runs this plan; what is
 * left of older ones is removed after it.
 */
export async function saveObeyedPlan(
  disk: Disk,
  obeyed: ObeyedPlan,
  onStored: () => void = () => undefined,
): Promise<void> {
  const folder = folderOf(obeyed.plan);
  const files = [...obeyed.files].map(([sha256, content]) => disk.write(`${folder}/files/${sha256}`, content));
  // Side by side: nothing of it counts before the pointer does.
  const written = await Promise.allSettled([...files, disk.write(`${folder}/plan.jws`, obeyed.jws)]);
  const failed = written.find((one) => one.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  await disk.write(pointerFile, folder);
  onStored();
  // This plan counts from here on, whatever becomes of the old ones: they are in nobody's way, and the next plan tries again.
  await removeOtherPlans(disk, obeyed.plan).catch(() => undefined);
}

/** Whose plan it must be. */
export interface PlanOwner {
  fabricId: string;
  node: string;
  peerId: string;
}

async function loadFolder(disk: Disk, folder: string, owner: PlanOwner | undefined): Promise<ObeyedPlan> {
  const path = `${folder}/plan.jws`;
  const stored = await disk.read(path);
  if (stored === undefined) throw new DamagedFileError(path, 'it is missing');
  const jws = Buffer.from(stored).toString('utf8');
  let plan: Plan;
  try {
    plan = payloadOf(jws);
  } catch (error) {
    throw new DamagedFileError(path, 'it holds no plan', { cause: error });
  }
  const read = readPlan(plan);
  if ('malformed' in read) throw new DamagedFileError(path, `the plan is malformed at ${read.malformed}`);
  if (folderOf(plan) !== folder) throw new DamagedFileError(path, 'it holds a plan of another version');
  // A signature's length is fixed: what is shorter was cut.
  if ((jws.split('.')[2]?.length ?? 0) < signatureCharacters) throw new DamagedFileError(path, 'its end is missing');
  if (owner !== undefined && (plan.fabricId !== owner.fabricId || plan.peerId !== owner.peerId)) {
    throw new DamagedFileError(path, `it is the plan of another node: ${plan.node}, peer ${plan.peerId}`);
  }
  const files = new Map<string, Uint8Array>();
  for (const { sha256 } of plan.files) {
    const content = await disk.read(`${folder}/files/${sha256}`);
    if (content === undefined || sha256Hex(content) !== sha256) {
      throw new DamagedFileError(`${folder}/files/${sha256}`, 'its content is not what the plan says');
    }
    files.set(sha256, content);
  }
  return { plan, jws, files };
}

/**
 * The plan to run at start; undefined when none was ever obeyed. Every file is held against its hash, and the plan against the
 * node that it must be for. Throws DamagedFileError, or DiskError for a file that cannot be read.
 */
export async function loadObeyedPlan(disk: Disk, owner?: PlanOwner): Promise<ObeyedPlan | undefined> {
  const pointer = await disk.read(pointerFile);
  if (pointer === undefined) return undefined;
  const folder = Buffer.from(pointer).toString('utf8');
  if (!folderPattern.test(folder)) throw new DamagedFileError(pointerFile, 'it names no plan');
  return loadFolder(disk, folder, owner);
}

/** Versions of the plans that lie here, the newest first: what was obeyed, or was about to be. */
export async function storedVersions(disk: Disk): Promise<PlanVersion[]> {
  const versions = (await disk.list('obeyed')).flatMap((name): PlanVersion[] => {
    if (!folderPattern.test(`obeyed/${name}`)) return [];
    const [epoch = 0, term = 0, generation = 0] = name.split('-').map(Number);
    return [{ epoch, term, generation }];
  });
  return versions.sort((one, other) => compareVersions(other, one));
}

/**
 * The newest plan that is whole, when the pointer to it is damaged or missing. Older ones are removed as soon as a newer one counts,
 * so of two the newer was being saved.
 */
export async function findStoredPlan(disk: Disk, owner: PlanOwner): Promise<ObeyedPlan | undefined> {
  for (const version of await storedVersions(disk)) {
    const found = await loadFolder(disk, folderOf(version), owner).catch(() => undefined);
    if (found !== undefined) return found;
  }
  return undefined;
}
