// How long the disk takes to store a small file for good, which a node does for each plan, key and lease. The one check that writes: a
// file of its own, which it removes.

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { faultOf } from '../../control/level-faults.ts';
import { fsyncWarnMs, slowDiskMs } from '../limits.ts';
import { type DoctorInput, type Finding, fail, ok, warn } from './finding.ts';

const id = 'disk-speed';
const rounds = 3;

/** The middle one counts: the first may wait for what others have written. */
export function judgeFsync(tookMs: readonly number[]): Finding {
  const middle = [...tookMs].sort((one, other) => one - other)[Math.floor(tookMs.length / 2)] ?? 0;
  const said = `fsync of a small file takes ${middle < 10 ? middle.toFixed(1) : Math.round(middle)} ms`;
  const action = 'Find out what else writes to this disk, or whether it is about to fail (dmesg, smartctl).';
  if (middle >= slowDiskMs) return fail(id, said, action);
  if (middle >= fsyncWarnMs) return warn(id, `${said}: starts and changes are slow`, action);
  return ok(id, said);
}

export async function checkDiskSpeed({ dataFolder }: DoctorInput): Promise<Finding> {
  const path = join(dataFolder, `.doctor-${process.pid}.tmp`);
  const tookMs: number[] = [];
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      for (let round = 0; round < rounds; round++) {
        await file.writeFile('A file that `selvedge doctor` measures with. It may be removed.\n');
        const began = performance.now();
        await file.sync();
        tookMs.push(performance.now() - began);
      }
    } finally {
      await file.close();
    }
    return judgeFsync(tookMs);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return ok(id, 'there is no data folder yet');
    const fault = faultOf(error);
    return fail(
      id,
      `the data folder cannot be written: ${fault?.words ?? message}`,
      fault?.action(dataFolder) ?? 'Run it as the user that runs selvedge, or as root.',
    );
  } finally {
    await rm(path, { force: true }).catch(() => undefined);
  }
}
