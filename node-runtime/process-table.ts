// Reads /proc: who a process is, whether it is still that process, and who belongs to a session. Called by the process
// engine's parts. A pid alone is never trusted: pids are used again, so start time and boot id go with it.

import { closeSync, openSync, readSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

export interface ProcessStat {
  pid: number;
  /** One letter; Z and X are dead. */
  state: string;
  group: number;
  session: number;
  /** Clock ticks since boot, field 22. */
  startTicks: number;
}

/** What the shim writes down about itself and about the workload. */
export interface ProcessIdentity {
  pid: number;
  startTicks: number;
  /** /proc/sys/kernel/random/boot_id: ticks and pids begin again with each boot. */
  boot: string;
}

/** Parses /proc/<pid>/stat (proc(5)); the command name may hold spaces, parentheses and newlines. */
export function parseStat(text: string): ProcessStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  // There are fifty; what is wanted of them comes first, and this is asked of each instance every two seconds.
  const fields = text.slice(close + 2).split(' ', 20);
  const stat = {
    pid: Number(text.slice(0, open)),
    state: fields[0] ?? '',
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTicks: Number(fields[19]),
  };
  const numbers = [stat.pid, stat.group, stat.session, stat.startTicks];
  return numbers.every(Number.isSafeInteger) ? stat : undefined;
}

/** Parses a record of the shim; undefined while it is not complete, or when it is none. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const match = /^pid=([1-9]\d{0,9})\nstart=(\d{1,15})\nboot=([0-9a-f-]{36})\nend\n$/.exec(text);
  if (match === null) return undefined;
  return { pid: Number(match[1]), startTicks: Number(match[2]), boot: match[3] as string };
}

/** 52 numbers of at most 20 digits, and a name. */
const statBytesMax = 2_048;

export interface ProcessTable {
  readonly boot: string;
  /** Undefined when there is no such process. */
  stat(pid: number): Promise<ProcessStat | undefined>;
  /** The process, when it still is the one that was written down and is no zombie. */
  alive(identity: ProcessIdentity): Promise<ProcessStat | undefined>;
  /** Living processes of a session. */
  session(session: number): Promise<ProcessStat[]>;
  /** True when the environment that a process was started with has the variable with this value. */
  hasVariable(pid: number, name: string, value: string): Promise<boolean>;
  /** Living processes that were started with it. */
  withVariable(name: string, value: string): Promise<ProcessStat[]>;
}

/** Rejects when there is no Linux /proc. `boot` is for tests of another boot. */
export async function createProcessTable(boot?: string): Promise<ProcessTable> {
  const thisBoot = boot ?? (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

  const statBuffer = Buffer.alloc(statBytesMax);

  async function stat(pid: number): Promise<ProcessStat | undefined> {
    try {
      return parseStat(await readFile(`/proc/${pid}/stat`, 'latin1'));
    } catch {
      // It ended, or belongs to somebody whom /proc hides: either way not ours.
      return undefined;
    }
  }

  /** The kernel answers from memory: a turn in the thread pool would cost ten times what the answer does, for each instance every two seconds. */
  function statNow(pid: number): ProcessStat | undefined {
    try {
      const file = openSync(`/proc/${pid}/stat`, 'r');
      try {
        return parseStat(statBuffer.toString('latin1', 0, readSync(file, statBuffer)));
      } finally {
        closeSync(file);
      }
    } catch {
      return undefined;
    }
  }

  async function hasVariable(pid: number, name: string, value: string): Promise<boolean> {
    try {
      return (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').includes(`${name}=${value}`);
    } catch {
      return false;
    }
  }

  return {
    boot: thisBoot,
    stat,
    async alive(identity) {
      if (identity.boot !== thisBoot) return undefined;
      const found = statNow(identity.pid);
      return found !== undefined && found.startTicks === identity.startTicks && !isDead(found) ? found : undefined;
    },
    async session(session) {
      const members: ProcessStat[] = [];
      for (const name of await readdir('/proc')) {
        if (!/^\d+$/.test(name)) continue;
        const found = await stat(Number(name));
        if (found !== undefined && found.session === session && !isDead(found)) members.push(found);
      }
      return members;
    },
    hasVariable,
    async withVariable(name, value) {
      const found: ProcessStat[] = [];
      for (const entry of await readdir('/proc')) {
        if (!/^\d+$/.test(entry) || !(await hasVariable(Number(entry), name, value))) continue;
        const one = await stat(Number(entry));
        if (one !== undefined && !isDead(one)) found.push(one);
      }
      return found;
    },
  };
}

function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X';
}

/** Sends a signal; a negative pid is a process group. False when there was nobody to get it. */
export function sendSignal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  // 0, 1 and -1 would mean our own group, init, and everybody.
  if (!Number.isSafeInteger(pid) || Math.abs(pid) < 2) return false;
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
