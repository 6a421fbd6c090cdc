// Keeps a daemon's memory small from the start. Called by up.ts before it loads the daemon. It must never limit what the heap may
// hold in all.

import { setFlagsFromString } from 'node:v8';

/**
 * V8's young generation doubles with each burst of work (starting is one), to tens of megabytes that an idle daemon gives back
 * late or never. It stays at its first 2 MB here; docs/benchmarks.md says what that saves and what it costs. Its largest size
 * is fixed before any script runs, so that its growth is what a running program can still set.
 */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
