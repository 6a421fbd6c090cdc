// Makes a new fabric: its root of trust, this controller's issuing authority, this node's authority. Called once by node.ts
// for `up --found`. The membership is written last: until then the data folder belongs to no fabric and founding starts over.

import type { RouterMode } from '../control/fabric.ts';
import { createRoot, issueControllerAuthority, issueNodeAuthority } from '../pki/certificates.ts';
import type { Keys, PrivateKey } from '../pki/keys.ts';
import { fabricIdOf } from '../pki/names.ts';
import type { Clock } from './clock.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError } from './errors.ts';
import { type Membership, readKeyFile, saveMembership } from './membership.ts';
import type { Random } from './random.ts';

export const rootKeyFile = 'root.pem';
export const issuingKeyFile = 'issuing.pem';
export const controllerFile = 'controller.json';

/** What a controller holds besides its membership. */
export interface ControllerAuthority {
  key: PrivateKey;
  /** Issuing authority, root: base64 DER. */
  chain: string[];
}

const base64 = (der: Uint8Array): string => Buffer.from(der).toString('base64');

export async function foundFabric(input: {
  clock: Clock;
  random: Random;
  keys: Keys;
  disk: Disk;
  fabricName: string;
  node: string;
  peerId: string;
  router: RouterMode;
  labels: Record<string, string>;
  authorityKey: PrivateKey;
}): Promise<Membership> {
  const { clock, random, keys, disk, fabricName, node, peerId } = input;
  const moment = { random, nowMs: clock.now() };
  const rootKey = keys.create('P-256');
  const root = createRoot({ key: rootKey, fabricName, ...moment });
  const issuingKey = keys.create('P-256');
  const issuing = issueControllerAuthority({
    issuer: { key: rootKey, certificate: root },
    publicKey: issuingKey.publicKey,
    node,
    peerId,
    ...moment,
  });
  const fabricId = fabricIdOf(rootKey.publicKey);
  const authority = issueNodeAuthority({
    issuer: { key: issuingKey, certificate: issuing },
    publicKey: input.authorityKey.publicKey,
    node,
    peerId,
    fabricId,
    covers: [],
    issueNumber: 1,
    ...moment,
  });
  await disk.write(rootKeyFile, rootKey.toPem());
  await disk.write(issuingKeyFile, issuingKey.toPem());
  await disk.write(controllerFile, JSON.stringify({ chain: [issuing, root].map(base64) }));
  const membership: Membership = {
    fabricId,
    fabricName,
    node,
    router: input.router,
    labels: input.labels,
    chain: [authority, issuing, root].map(base64),
    controllers: [],
  };
  await saveMembership(disk, membership);
  return membership;
}

/** What the files say, each by itself. Undefined on a node that is no controller. Throws DamagedFileError. */
export async function readControllerAuthority(disk: Disk, keys: Keys): Promise<ControllerAuthority | undefined> {
  const stored = await disk.read(controllerFile);
  if (stored === undefined) return undefined;
  const key = await readKeyFile(disk, keys, issuingKeyFile);
  if (key === undefined) throw new DamagedFileError(issuingKeyFile, 'it is missing, but this node is a controller');
  try {
    const { chain } = JSON.parse(Buffer.from(stored).toString('utf8')) as { chain: unknown };
    if (!Array.isArray(chain) || !chain.every((one) => typeof one === 'string')) throw new Error('no chain');
    return { key, chain };
  } catch (error) {
    throw new DamagedFileError(controllerFile, 'it holds no certificates', { cause: error });
  }
}
