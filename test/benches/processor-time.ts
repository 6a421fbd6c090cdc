// Processor time of a process, by /proc/<pid>/stat: what load by others on the box disturbs least. Called by tunnel.ts.

import { readFile } from 'node:fs/promises';

/** The kernel counts in hundredths of a second (USER_HZ, the same on every Linux that Node.js runs on). */
const ticksPerSecond = 100;

/** In user and kernel mode, all threads; NaN where there is no /proc. */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The second field is the program's name in parentheses, and may hold anything.
  const [, , , , , , , , , , , user, system] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(user) + Number(system)) / ticksPerSecond;
}
