// Resident memory of a process, by /proc/<pid>/status. Called by memory.ts and footprint.ts.

import { readFile } from 'node:fs/promises';

/** VmRSS, in units of 10^6 bytes; the kernel says kB and means 1,024. */
export async function rssMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kib === undefined) throw new Error(`process ${pid} has no VmRSS`);
  return (Number(kib) * 1_024) / 1e6;
}
