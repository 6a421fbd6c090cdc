// The threads of a function: a request takes a free one, or waits for its turn. A run that takes too long costs its thread and nobody
// else's. Called by functions.ts.

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Clock, TimerId } from '../clock.ts';
import { requestsWaitingMax, responseBytesMax, threadEndMs, threadHeapMb, threadIdleMs } from './limits.ts';
import type { GuestSettings, HttpSettings } from './settings.ts';
import type { WorkerBegin, WorkerResult, WorkerTask } from './worker.ts';

/** `busy`: it had no turn. `late`: it was ended. */
export type ThreadResult = WorkerResult | 'busy' | 'late';

export interface Threads {
  run(task: WorkerTask, signal: AbortSignal): Promise<ThreadResult>;
}

interface Thread {
  worker: Worker;
  idle: TimerId | undefined;
}

export function createThreads(dependencies: {
  clock: Clock;
  /** Of worker.ts. */
  script: URL;
  module: WebAssembly.Module;
  guest: GuestSettings;
  bounds: Pick<HttpSettings, 'timeoutMs' | 'concurrency'>;
  /** A thread that cannot be ended. */
  onStuck(): void;
}): Threads {
  const { clock, script, module, guest, onStuck } = dependencies;
  const { timeoutMs, concurrency } = dependencies.bounds;
  const free: Thread[] = [];
  const waiting = new Set<() => void>();
  let threads = 0;
  let running = 0;

  /** Its start is not the module's time. */
  async function start(): Promise<Thread> {
    const begin: WorkerBegin = { module, guest, outputBytesMax: responseBytesMax };
    const resourceLimits = { maxOldGenerationSizeMb: threadHeapMb };
    const worker = new Worker(script, { workerData: begin, resourceLimits, env: {} });
    await once(worker, 'message');
    threads += 1;
    return { worker, idle: undefined };
  }

  async function end({ worker }: Thread): Promise<void> {
    const late = clock.setTimeout(onStuck, threadEndMs);
    worker.removeAllListeners();
    worker.on('error', () => undefined);
    await worker.terminate();
    clock.clearTimeout(late);
    threads -= 1;
  }

  function giveBack(thread: Thread): void {
    free.push(thread);
    thread.idle = clock.setTimeout(() => {
      thread.idle = undefined;
      if (threads <= 1) return;
      free.splice(free.indexOf(thread), 1);
      void end(thread);
    }, threadIdleMs);
  }

  /** False when there is none in time. */
  async function turn(signal: AbortSignal): Promise<boolean> {
    if (running < concurrency) {
      running += 1;
      return true;
    }
    if (waiting.size >= requestsWaitingMax || signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const mine = () => resolve(true);
    const giveUp = () => {
      // At once: a turn that is passed on now must not be lost.
      waiting.delete(mine);
      resolve(false);
    };
    waiting.add(mine);
    const late = clock.setTimeout(giveUp, timeoutMs);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await promise;
    } finally {
      clock.clearTimeout(late);
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** To whoever waits longest, or to nobody. */
  function passOn(): void {
    const [next] = waiting;
    if (next === undefined) running -= 1;
    else {
      waiting.delete(next);
      next();
    }
  }

  async function runIn(thread: Thread, task: WorkerTask): Promise<WorkerResult | 'late'> {
    const { worker } = thread;
    const { promise, resolve } = Promise.withResolvers<WorkerResult | 'late'>();
    const late = clock.setTimeout(() => resolve('late'), timeoutMs);
    let whole = false;
    worker.once('message', (result: WorkerResult) => {
      whole = true;
      resolve(result);
    });
    worker.once('error', (error) => resolve({ failed: `it failed: ${error.message}` }));
    worker.once('exit', () => resolve({ failed: 'its thread ended' }));
    worker.postMessage(task);
    try {
      return await promise;
    } finally {
      clock.clearTimeout(late);
      worker.removeAllListeners('message').removeAllListeners('error').removeAllListeners('exit');
      if (whole) giveBack(thread);
      else await end(thread);
    }
  }

  return {
    async run(task, signal) {
      if (!(await turn(signal))) return 'busy';
      try {
        const thread = free.pop() ?? (await start());
        clock.clearTimeout(thread.idle);
        return await runIn(thread, task);
      } finally {
        passOn();
      }
    },
  };
}
