// Everything that says who this node is, read together and held against each other: a key must be the one that its certificate
// names, and all must be of one node and one fabric. Called by node.ts before anything else, and by the doctor. It only reads; what
// does not fit is an error that names the file.

import { type ReadCertificate, readCertificate } from '../pki/certificate-reader.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import { fabricIdOf } from '../pki/names.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import { bootCounterFile } from './boot-counter.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';
import {
  type ControllerAuthority,
  controllerFile,
  issuingKeyFile,
  readControllerAuthority,
  rootKeyFile,
} from './founding.ts';
import {
  authorityFile,
  identityFile,
  loadMembership,
  type Membership,
  membershipFile,
  readKeyFile,
} from './membership.ts';

export interface OwnFiles {
  /** Undefined before the first start. */
  identityKey: PrivateKey | undefined;
  authorityKey: PrivateKey | undefined;
  /** Undefined while the node belongs to no fabric. */
  membership: Membership | undefined;
  /** Undefined on a node that is no controller. */
  controllerAuthority: ControllerAuthority | undefined;
  /** What is wrong with files that this node runs without, for the operator. */
  warnings: string[];
}

const samePublicKey = (key: PrivateKey, certificate: ReadCertificate): boolean =>
  Buffer.from(key.publicKey).equals(certificate.publicKeySpki);

function readChain(path: string, chain: readonly string[], lengthMin: number): ReadCertificate[] {
  try {
    if (chain.length < lengthMin) throw new Error('certificates are missing');
    return chain.map((certificate) => readCertificate(Buffer.from(certificate, 'base64')));
  } catch (error) {
    throw new DamagedFileError(path, 'its certificates cannot be read', { cause: error });
  }
}

/** A file that is there although another says that it cannot be, or the other way round. */
async function checkPresence(disk: Disk, files: Omit<OwnFiles, 'warnings'>): Promise<void> {
  const { identityKey, authorityKey, membership, controllerAuthority } = files;
  if (membership === undefined) {
    // Written at the first start as a member, so that founding or joining that was cut off can begin again.
    if ((await disk.read(bootCounterFile)) === undefined) return;
    throw new DamagedFileError(membershipFile, 'it is missing, but this node was a member of a fabric');
  }
  for (const [path, key] of [
    [identityFile, identityKey],
    [authorityFile, authorityKey],
  ] as const) {
    if (key === undefined) throw new DamagedFileError(path, 'it is missing, but this node is a member of a fabric');
  }
  if (controllerAuthority === undefined && (await disk.read(issuingKeyFile)) !== undefined) {
    throw new DamagedFileError(controllerFile, 'it is missing, but this node has the key of a controller');
  }
}

function checkMember(identityKey: PrivateKey, authorityKey: PrivateKey, membership: Membership): ReadCertificate {
  const path = readChain(membershipFile, membership.chain, 3);
  const [authority, root] = [path[0], path.at(-1)];
  if (authority === undefined || root === undefined) throw new DamagedFileError(membershipFile, 'it has no chain');
  if (fabricIdOf(root.publicKeySpki) !== membership.fabricId) {
    throw new DamagedFileError(membershipFile, 'its certificates are of another fabric than it says');
  }
  if (authority.commonName !== membership.node) {
    throw new DamagedFileError(membershipFile, `its certificate is of ${authority.commonName}, not ${membership.node}`);
  }
  const peerId = peerIdOf(identityKey.publicKey);
  const [isOurs, isKey] = [authority.userId === peerId, samePublicKey(authorityKey, authority)];
  if (!isOurs && !isKey) {
    throw new DamagedFileError(
      membershipFile,
      `it is of another node: ${membership.node}, peer ${authority.userId}; the keys here are of peer ${peerId}`,
    );
  }
  if (!isOurs) {
    const reason = `it is the key of peer ${peerId}, but this node is ${membership.node}, peer ${authority.userId}`;
    throw new DamagedFileError(identityFile, reason);
  }
  if (!isKey) {
    throw new DamagedFileError(authorityFile, `it is not the key of the certificate in ${membershipFile}`);
  }
  return root;
}

function checkController(
  identityKey: PrivateKey,
  { key, chain }: ControllerAuthority,
  membershipRoot: ReadCertificate,
): void {
  const path = readChain(controllerFile, chain, 2);
  const [issuing, root] = [path[0], path.at(-1)];
  if (issuing === undefined || root?.fingerprint !== membershipRoot.fingerprint) {
    throw new DamagedFileError(controllerFile, 'it is of another fabric');
  }
  if (issuing.userId !== peerIdOf(identityKey.publicKey)) {
    throw new DamagedFileError(
      controllerFile,
      `it is of another controller: ${issuing.commonName}, peer ${issuing.userId}`,
    );
  }
  if (!samePublicKey(key, issuing)) {
    throw new DamagedFileError(issuingKeyFile, `it is not the key of the certificate in ${controllerFile}`);
  }
}

const rootKeyAdvice =
  'this node goes on without it, but no controller can be added or renewed: put it back from a backup';

/** The root key signs nothing while a node runs: without it, the node does its work. */
async function rootKeyWarnings(disk: Disk, keys: Keys, root: ReadCertificate): Promise<string[]> {
  try {
    const key = await readKeyFile(disk, keys, rootKeyFile);
    if (key === undefined || samePublicKey(key, root)) return [];
    return [`the file ${rootKeyFile} of the data folder is not the root key of this fabric; ${rootKeyAdvice}`];
  } catch (error) {
    return [`${(error as Error).message}; ${rootKeyAdvice}`];
  }
}

/** Throws DamagedFileError, or DiskError for a file that cannot be read. */
export async function readOwnFiles(disk: Disk, keys: Keys): Promise<OwnFiles> {
  const identityKey = await readKeyFile(disk, keys, identityFile);
  const authorityKey = await readKeyFile(disk, keys, authorityFile);
  const membership = await loadMembership(disk);
  const controllerAuthority = await readControllerAuthority(disk, keys);
  const files = { identityKey, authorityKey, membership, controllerAuthority };
  await checkPresence(disk, files);
  if (membership === undefined || identityKey === undefined || authorityKey === undefined) {
    return { ...files, warnings: [] };
  }
  const root = checkMember(identityKey, authorityKey, membership);
  if (controllerAuthority === undefined) return { ...files, warnings: [] };
  checkController(identityKey, controllerAuthority, root);
  return { ...files, warnings: await rootKeyWarnings(disk, keys, root) };
}
