// What a node keeps on disk of who it is: identity key, authority key, membership. Used by enrolling.ts, founding.ts and
// node.ts. A damaged file is an error that names it: never a silent new identity.

import type { RouterMode } from '../control/fabric.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';

export interface KnownController {
  peerId: string;
  addresses: string[];
}

export interface Membership {
  fabricId: string;
  fabricName: string;
  /** This node's name. */
  node: string;
  router: RouterMode;
  labels: Record<string, string>;
  /** Chain of this node's authority, base64 DER: authority, issuing authority, root. */
  chain: string[];
  controllers: KnownController[];
}

const identityFile = 'identity.pem';
const authorityFile = 'authority.pem';
const membershipFile = 'membership.json';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

/** Reads a key, or makes and stores it when `missing` says so. */
async function keyFile(
  disk: Disk,
  keys: Keys,
  path: string,
  missing: () => PrivateKey | undefined,
): Promise<PrivateKey | undefined> {
  const stored = await disk.read(path);
  if (stored === undefined) {
    const made = missing();
    if (made !== undefined) await disk.write(path, made.toPem());
    return made;
  }
  try {
    return keys.fromPem(text(stored));
  } catch (error) {
    throw new DamagedFileError(path, 'it holds no private key', { cause: error });
  }
}

/**
 * The node's identity key (Ed25519); made at the first start. When it is missing although the node is a member, that is an
 * error: a new identity would be another node.
 */
export async function loadIdentityKey(disk: Disk, keys: Keys): Promise<PrivateKey> {
  const isMember = (await disk.read(membershipFile)) !== undefined;
  const key = await keyFile(disk, keys, identityFile, () => (isMember ? undefined : keys.create('Ed25519')));
  if (key === undefined)
    throw new DamagedFileError(identityFile, 'it is missing, but this node is a member of a fabric');
  return key;
}

/** The key of the node's authority (P-256); made before the first request to be admitted, and kept for good. */
export async function loadAuthorityKey(disk: Disk, keys: Keys): Promise<PrivateKey> {
  const isMember = (await disk.read(membershipFile)) !== undefined;
  const key = await keyFile(disk, keys, authorityFile, () => (isMember ? undefined : keys.create('P-256')));
  if (key === undefined)
    throw new DamagedFileError(authorityFile, 'it is missing, but this node is a member of a fabric');
  return key;
}

function isMembership(value: unknown): value is Membership {
  if (typeof value !== 'object' || value === null) return false;
  const candidate = value as Partial<Membership>;
  return (
    typeof candidate.fabricId === 'string' &&
    typeof candidate.node === 'string' &&
    (candidate.router === 'interior' || candidate.router === 'edge') &&
    Array.isArray(candidate.chain) &&
    candidate.chain.every((certificate) => typeof certificate === 'string') &&
    Array.isArray(candidate.controllers)
  );
}

/** Undefined while the node belongs to no fabric. */
export async function loadMembership(disk: Disk): Promise<Membership | undefined> {
  const stored = await disk.read(membershipFile);
  if (stored === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text(stored));
  } catch (error) {
    throw new DamagedFileError(membershipFile, 'it is no JSON', { cause: error });
  }
  if (!isMembership(value)) throw new DamagedFileError(membershipFile, 'fields are missing');
  return value;
}

/** Durable when it resolves. */
export async function saveMembership(disk: Disk, membership: Membership): Promise<void> {
  await disk.write(membershipFile, JSON.stringify(membership));
}

/** Counts the starts of this node; durable, so that announcements of an earlier start can never be replayed as newer. */
export async function nextBootCounter(disk: Disk): Promise<number> {
  const stored = await disk.read('boot-counter');
  const last = stored === undefined ? 0 : Number.parseInt(text(stored), 10);
  if (!Number.isSafeInteger(last)) throw new DamagedFileError('boot-counter', 'it holds no number');
  await disk.write('boot-counter', String(last + 1));
  return last + 1;
}
