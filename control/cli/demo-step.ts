// One step of the demo: a name, a deadline, and the time it took. Called by the demo's other files.

import { formatDuration } from './durations.ts';
import { DemoStepError } from './errors.ts';
import type { Host } from './host.ts';
import { demoAbortMs } from './limits.ts';

export interface Progress {
  /** One line: when, who, what. */
  line(who: string, text: string): void;
}

export interface Steps {
  /** The step under way or the last one. */
  readonly current: string;
  /**
   * Runs `work` and prints what it took. Rejects with DemoStepError when it fails, is not done in `deadlineMs`, or is
   * interrupted; the signal given to `work` is aborted then.
   */
  run<T>(name: string, deadlineMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** `interrupted` ends whatever step is under way, with its reason. */
export function createSteps({
  host,
  progress,
  interrupted,
}: {
  host: Host;
  progress: Progress;
  interrupted: AbortSignal;
}): Steps {
  let current = 'begin';
  return {
    get current() {
      return current;
    },
    async run(name, deadlineMs, work) {
      current = name;
      const startedAt = host.clock.now();
      const controller = new AbortController();
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const abort = (reason: unknown): void => {
        controller.abort(reason);
        // The work may know more than that it was late, and is given a moment to say so.
        host.clock.setTimeout(() => reject(reason), demoAbortMs);
      };
      const interrupt = (): void => abort(interrupted.reason);
      const late = new Error(`not done after ${formatDuration(deadlineMs)}`);
      const timer = host.clock.setTimeout(() => abort(late), deadlineMs);
      interrupted.addEventListener('abort', interrupt, { once: true });
      if (interrupted.aborted) interrupt();
      try {
        const result = await Promise.race([aborted, work(controller.signal)]);
        progress.line('demo', `${name}: ${host.style('green', formatDuration(host.clock.now() - startedAt))}`);
        return result;
      } catch (error) {
        if (error instanceof DemoStepError) throw error;
        const told =
          (error as Error).name === 'AbortError' && controller.signal.aborted ? controller.signal.reason : error;
        throw new DemoStepError(name, (told as Error).message, error);
      } finally {
        host.clock.clearTimeout(timer);
        interrupted.removeEventListener('abort', interrupt);
        controller.abort();
      }
    },
  };
}

/** Calls `probe` until it returns something; a rejection ends it. */
export async function until<T>(
  probe: () => Promise<T | undefined>,
  { host, signal, everyMs }: { host: Host; signal: AbortSignal; everyMs: number },
): Promise<T> {
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    await host.clock.sleep(everyMs, signal);
  }
}
