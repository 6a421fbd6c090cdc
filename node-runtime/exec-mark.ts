// The processes of one command beside a workload, wherever they went: each has a mark in its environment. Called by process-exec.ts and
// docker-exec.ts. Who cleared its environment is not found; nobody is signalled who does not carry the mark.

import type { Clock } from './clock.ts';
import { execEndMs, execEndRoundMs } from './limits.ts';
import { createProcessTable, type ProcessTable, sendSignal } from './process-table.ts';

const execVariable = 'SELVEDGE_EXEC';

export interface ExecMark {
  /** For the command's environment. */
  env: Record<string, string>;
  /** Kills all that carry it; false when there is still one after a while. */
  end(): Promise<boolean>;
  /** Kills those that are there now; their number. */
  endNow(): Promise<number>;
}

let marks = 0;

export function makeExecMark({ clock, table }: { clock: Clock; table?: ProcessTable }): ExecMark {
  const value = `${process.pid}.${clock.now().toString(36)}.${marks++}`;

  async function endNow(): Promise<number> {
    const processes = await (table ?? (await createProcessTable())).withVariable(execVariable, value);
    for (const { pid } of processes) sendSignal(pid, 'SIGKILL');
    return processes.length;
  }

  return {
    env: { [execVariable]: value },
    endNow,
    async end() {
      for (let waitedMs = 0; waitedMs <= execEndMs; waitedMs += execEndRoundMs) {
        if ((await endNow()) === 0) return true;
        await clock.sleep(execEndRoundMs);
      }
      return false;
    },
  };
}
