// Is the data folder there, ours alone, and writable; can its files be read, and do they belong together.

import { access, constants, stat } from 'node:fs/promises';
import { readJournal } from '../../control/lease.ts';
import { peerIdOf } from '../../pki/peer-id.ts';
import { readTokenFiles } from '../../pki/token-files.ts';
import { readBootCounter } from '../boot-counter.ts';
import type { Disk } from '../disk.ts';
import { loadObeyedPlan } from '../obeyed-plan.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

export async function checkDataFolder({ dataFolder }: DoctorInput): Promise<Finding> {
  const id = 'data-folder';
  const userId = process.geteuid?.() ?? 0;
  const give = `Give it to the user that runs selvedge: chown -R ${userId} ${dataFolder} && chmod 700 ${dataFolder}`;
  try {
    const { mode, uid } = await stat(dataFolder);
    if (uid !== userId) {
      return fail(
        id,
        `${dataFolder} belongs to user ${uid}, and this is user ${userId}`,
        `${give}; or run this as that user.`,
      );
    }
    if ((mode & 0o077) !== 0) {
      const shown = (mode & 0o777).toString(8);
      return fail(
        id,
        `${dataFolder} is open to other users (mode ${shown}): it holds private keys`,
        `chmod 700 ${dataFolder}`,
      );
    }
    await access(dataFolder, constants.R_OK | constants.W_OK | constants.X_OK);
    return ok(id, dataFolder);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return ok(id, `${dataFolder} is not there yet: the first \`selvedge up\` makes it`);
    return fail(id, `${dataFolder} cannot be used: ${message}`, give);
  }
}

/** Every small file that a start reads, the way that a start reads it. `problem` is why the identity's could not be read. */
export async function checkFiles(
  { own }: Pick<DoctorInput, 'own'>,
  disk: Disk,
  problem: (Error & { action?: string }) | undefined,
): Promise<Finding> {
  const id = 'files';
  const broken = (error: unknown): Finding => {
    const { message, action } = error as Error & { action?: string };
    return fail(id, message, action ?? 'Look at the file and its volume.');
  };
  if (problem !== undefined) return broken(problem);
  if (own?.membership === undefined || own.identityKey === undefined) {
    return ok(
      id,
      'this box belongs to no fabric yet: `selvedge up --found` founds one, `selvedge up --token` joins one',
    );
  }
  const { membership } = own;
  const peerId = peerIdOf(own.identityKey.publicKey);
  try {
    await readTokenFiles(disk);
    readJournal(new TextDecoder().decode(await disk.read('lease.jsonl')));
  } catch (error) {
    return broken(error);
  }
  try {
    // A start mends these, and says so.
    await readBootCounter(disk, peerId);
    await loadObeyedPlan(disk, { fabricId: membership.fabricId, node: membership.node, peerId });
  } catch (error) {
    const { message, action } = error as Error & { action?: string };
    return warn(id, `${message}; the next start tries to mend it`, action ?? '');
  }
  const [warning] = own.warnings;
  if (warning !== undefined) return warn(id, warning, 'Put it back from a backup.');
  const role = own.controllerAuthority === undefined ? 'a worker' : 'a controller';
  return ok(id, `${membership.node}, ${role} of ${membership.fabricName}; all files are whole and belong together`);
}
