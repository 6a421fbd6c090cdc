// What the box was told to let workloads have, and whether that can be read: a start ends where it cannot.

import { boxOptionsText } from '../../control/box-options.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import type { Disk } from '../disk.ts';
import { readKeptOptions } from '../kept-options.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

export async function checkKeptOptions({ own }: Pick<DoctorInput, 'own'>, disk: Disk): Promise<Finding> {
  const id = 'options';
  if (own === undefined) return warn(id, 'not known: whose they must be cannot be read', 'See `files`.');
  try {
    const options = await readKeptOptions(disk, own.identityKey && peerIdOf(own.identityKey.publicKey));
    const user = options.processUser ?? "the daemon's user unless they name another";
    const images = options.allowImage?.join(', ') ?? 'all';
    const allowed = options.allow?.join(', ') ?? 'nothing beyond a container';
    const told = boxOptionsText(options);
    const kept = told === '' ? 'no option of `selvedge up` is kept' : `kept: ${told}`;
    return ok(id, `programs run as ${user}; images: ${images}; allowed: ${allowed} (${kept})`);
  } catch (error) {
    const { message, action } = error as Error & { action?: string };
    return fail(id, message, action ?? 'Look at the file and its volume.');
  }
}
