// A thread that runs a module for one request after the other, each in a fresh instance. Started by threads.ts, which ends it when a
// run takes too long. It knows nothing of HTTP.

import { parentPort, workerData } from 'node:worker_threads';
import { OutputTooLongError, runGuest } from './guest.ts';
import { collectAtOnceBytes, runsBetweenCollections } from './limits.ts';
import type { GuestSettings } from './settings.ts';

export interface WorkerBegin {
  module: WebAssembly.Module;
  guest: GuestSettings;
  outputBytesMax: number;
}
export interface WorkerTask {
  /** Beside the guest's own. */
  env: Record<string, string>;
  input: Uint8Array;
}
export type WorkerResult = { output: Uint8Array } | { failed: string };

const { module, guest, outputBytesMax } = workerData as WorkerBegin;
let runs = 0;

function run({ env, input }: WorkerTask): WorkerResult & { memoryBytes: number } {
  try {
    const all = { ...guest, env: { ...guest.env, ...env } };
    const { status, output, memoryBytes } = runGuest(module, all, { input, outputBytesMax });
    return status === 0 ? { output, memoryBytes } : { failed: `it exited with status ${status}`, memoryBytes };
  } catch (error) {
    const tooLong = error instanceof OutputTooLongError;
    const reason = tooLong ? `it printed more than ${outputBytesMax} bytes` : `it failed: ${(error as Error).message}`;
    return { failed: reason, memoryBytes: Number.POSITIVE_INFINITY };
  }
}

parentPort?.on('message', (task: WorkerTask) => {
  const { memoryBytes, ...result } = run(task);
  parentPort?.postMessage(result);
  runs += 1;
  if (memoryBytes > collectAtOnceBytes || runs % runsBetweenCollections === 0) globalThis.gc?.();
});
// Ready.
parentPort?.postMessage(undefined);
