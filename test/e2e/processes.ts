// Looks at processes from outside, by /proc alone: what the end-to-end tests hold against what Selvedge says of itself.

import { readFile } from 'node:fs/promises';

/** Whether the process is there; one that has ended and was not waited for yet counts as gone. */
export async function isAlive(pid: number): Promise<boolean> {
  return (await startOf(pid)) !== undefined;
}

/** When it started, in clock ticks since boot (proc(5)): with the pid it names one process for good. */
export async function startOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The command's name stands in parentheses and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

/** `<pid>@<start>`; throws when there is no such process. */
export async function identityOf(pid: number | undefined): Promise<string> {
  const start = pid === undefined ? undefined : await startOf(pid);
  if (start === undefined) throw new Error(`there is no process ${pid}`);
  return `${pid}@${start}`;
}
