// What `selvedge up` was told about this box and what workloads may have of it, kept until it is told anew: a plain start, or a reboot, must not
// drop it. Called by daemon.ts before anything else of a start, and read by the doctor. A file that is damaged ends the start: what it
// said is never guessed.

import { z } from 'zod';
import {
  allowances,
  type BoxOption,
  type BoxOptions,
  boxOptions,
  isAbsolutePath,
  isContainerRange,
  isImagePattern,
  isLocation,
  isProcessUser,
} from '../control/box-options.ts';
import { canonicalJson } from '../control/canonical-json.ts';
import type { Keys } from '../pki/keys.ts';
import { peerIdOf } from '../pki/peer-id.ts';
import type { Disk } from './disk.ts';
import { DamagedFileError, KeptOptionsError } from './errors.ts';
import { identityFile, readKeyFile } from './membership.ts';
import { readOwnFiles } from './own-files.ts';

export const keptOptionsFile = 'kept-options.json';

/** Strict: what this version does not know may be what closes the box. */
const schema = z.strictObject({
  /** Whose they are: an image of a box, or a mixed-up backup, must not open another one. */
  peerId: z.string(),
  options: z.strictObject({
    allow: z.array(z.enum(allowances)).optional(),
    allowImage: z.array(z.string().refine(isImagePattern)).optional(),
    processUser: z.string().refine(isProcessUser).optional(),
    registryAuth: z.string().refine(isAbsolutePath).optional(),
    containerRange: z.string().refine(isContainerRange).optional(),
    location: z.string().refine(isLocation).optional(),
  } satisfies Record<BoxOption, z.ZodType>),
});

const said = (options: Partial<Record<BoxOption, unknown>>): BoxOptions =>
  Object.fromEntries(boxOptions.flatMap((one) => (options[one] === undefined ? [] : [[one, options[one]]])));

/** None when there is no file. Rejects with KeptOptionsError, or DiskError for a file that cannot be read. */
export async function readKeptOptions(disk: Disk, peerId: string | undefined): Promise<BoxOptions> {
  const stored = await disk.read(keptOptionsFile);
  if (stored === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(stored).toString('utf8'));
  } catch (error) {
    throw new KeptOptionsError(keptOptionsFile, 'it is no JSON', { cause: error });
  }
  const read = schema.safeParse(value);
  if (!read.success) {
    const [issue] = read.error.issues;
    const unknown = issue?.code === 'unrecognized_keys' ? issue.keys : [];
    const field = [...(issue?.path ?? []), ...unknown.slice(0, 1)].map(String).join('.').slice(0, 80);
    throw new KeptOptionsError(keptOptionsFile, `this version does not accept its ${field === '' ? 'form' : field}`);
  }
  if (read.data.peerId !== peerId) {
    throw new KeptOptionsError(keptOptionsFile, `it is of another node, peer ${read.data.peerId.slice(0, 80)}`);
  }
  return said(read.data.options);
}

export interface SettledOptions {
  /** What counts for this start. */
  readonly options: BoxOptions;
  /** Keeps them; durable when it resolves. To be called once the start is not refused, when the node has its key. */
  keep(): Promise<void>;
}

/**
 * What is kept, without what is to be forgotten, and above it what is given now. Changes nothing by itself. Rejects like readKeptOptions, and
 * with what readOwnFiles says.
 */
export async function settleOptions(input: {
  disk: Disk;
  keys: Keys;
  given: BoxOptions;
  forget: readonly BoxOption[];
}): Promise<SettledOptions> {
  const { disk, keys, given, forget } = input;
  // First: of two files that do not fit each other, the one that is wrong is named.
  const { identityKey } = await readOwnFiles(disk, keys);
  const kept = await readKeptOptions(disk, identityKey && peerIdOf(identityKey.publicKey));
  const left = Object.entries(kept).filter(([option]) => !forget.includes(option as BoxOption));
  const options = { ...said(Object.fromEntries(left)), ...said(given) };
  return {
    options,
    async keep() {
      if (canonicalJson(options) === canonicalJson(kept)) return;
      const key = await readKeyFile(disk, keys, identityFile);
      if (key === undefined) throw new DamagedFileError(identityFile, 'it is missing');
      const content = { peerId: peerIdOf(key.publicKey), options };
      await disk.write(keptOptionsFile, `${JSON.stringify(content, undefined, 2)}\n`);
    },
  };
}
