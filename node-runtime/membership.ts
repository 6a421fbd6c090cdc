// The files that say who a node is: keys and membership, each read and written by itself. Used by own-files.ts, enrolling.ts and
// founding.ts. A damaged file is an error that names it: never a silent new identity.

import type { RouterMode } from '../control/fabric.ts';
import type { KeyAlgorithm, Keys, PrivateKey } from '../pki/keys.ts';
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
  /** One that it had before, in case the newest was issued by a clock far ahead. */
  formerChain?: string[];
  controllers: KnownController[];
}

export const identityFile = 'identity.pem';
export const authorityFile = 'authority.pem';
export const membershipFile = 'membership.json';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

/** The key of a file; undefined when there is none. Throws DamagedFileError. */
export async function readKeyFile(disk: Disk, keys: Keys, path: string): Promise<PrivateKey | undefined> {
  const stored = await disk.read(path);
  if (stored === undefined) return undefined;
  try {
    return keys.fromPem(text(stored));
  } catch (error) {
    throw new DamagedFileError(path, 'it holds no private key', { cause: error });
  }
}

/** Makes a key; it is durable when this resolves. Only for a file that is not there: a key is never replaced. */
export async function createKeyFile(
  disk: Disk,
  keys: Keys,
  path: string,
  algorithm: KeyAlgorithm,
): Promise<PrivateKey> {
  const key = keys.create(algorithm);
  await disk.write(path, key.toPem());
  return key;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isMembership(value: unknown): value is Membership {
  if (!isRecord(value)) return false;
  const { fabricId, fabricName, node, router, labels, chain, formerChain = [], controllers } = value;
  const isController = (one: unknown): boolean =>
    isRecord(one) && isText(one['peerId']) && Array.isArray(one['addresses']) && one['addresses'].every(isText);
  return (
    [fabricId, fabricName, node].every(isText) &&
    (router === 'interior' || router === 'edge') &&
    isRecord(labels) &&
    Object.values(labels).every(isText) &&
    Array.isArray(chain) &&
    chain.every(isText) &&
    Array.isArray(formerChain) &&
    formerChain.every(isText) &&
    Array.isArray(controllers) &&
    controllers.every(isController)
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
