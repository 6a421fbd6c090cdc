// V8's heap while the daemon starts. Loading the program and joining leave it a third larger than what is used, and much of that never comes
// back. Kept dense, it is collected more often: that costs a start nothing that can be measured and a busy tunnel half of its throughput, so it
// ends soon after. docs/benchmarks.md has the figures. Called by `selvedge up` and by the daemon.

import { setFlagsFromString } from 'node:v8';

/** Before the daemon is loaded. */
export function keepHeapDense(): void {
  setFlagsFromString('--optimize-for-size');
}

export function letHeapGrow(): void {
  setFlagsFromString('--no-optimize-for-size');
}
