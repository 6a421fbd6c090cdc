// The logs of all process instances: one object for each, and the look at their sizes. Called by process-engine.ts.

import type { Clock } from './clock.ts';
import { LOG_CHECK_MS } from './limits.ts';
import type { InstanceFolder } from './process-folder.ts';
import { createProcessLog, type ProcessLog } from './process-log.ts';

export interface ProcessLogsDependencies {
  clock: Clock;
  open(instance: string): InstanceFolder;
  logger: { warn(fields: Record<string, unknown>, message: string): void } | undefined;
  bytesMax: number | undefined;
}

export interface ProcessLogs {
  of(instance: string): ProcessLog;
  forget(instance: string): void;
  clear(): void;
  /** Keeps them bounded until the signal aborts. */
  maintain(signal: AbortSignal): Promise<void>;
}

export function createProcessLogs({ clock, open, logger, bytesMax }: ProcessLogsDependencies): ProcessLogs {
  const logs = new Map<string, ProcessLog>();
  return {
    of(instance) {
      const known = logs.get(instance);
      if (known !== undefined) return known;
      const { stdout, stderr } = open(instance);
      const log = createProcessLog({ clock, stdout, stderr, ...(bytesMax !== undefined && { bytesMax }) });
      logs.set(instance, log);
      return log;
    },
    forget: (instance) => void logs.delete(instance),
    clear: () => logs.clear(),
    async maintain(signal) {
      const failed = new Set<string>();
      for (;;) {
        await clock.sleep(LOG_CHECK_MS, signal).catch(() => undefined);
        if (signal.aborted) return;
        for (const [instance, log] of logs) {
          try {
            await log.check();
            failed.delete(instance);
          } catch (error) {
            if (!failed.has(instance)) logger?.warn({ instance, error }, 'the log of an instance could not be rotated');
            failed.add(instance);
          }
        }
      }
    },
  };
}
