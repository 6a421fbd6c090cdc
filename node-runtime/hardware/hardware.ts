// The hardware port: what the box has now, and word of changes. Adapters: system-hardware.ts, simulations/sim-hardware.ts. Types only.

import type { Hardware } from '../../control/hardware.ts';

export interface BoxHardware {
  /** Resolves once everything was read. Idempotent. */
  start(): Promise<void>;
  /** Idempotent. */
  stop(): void;
  /** As last read. */
  current(): Hardware;
  /** Calls the listener after each change of `current`; returns what ends that. */
  subscribe(listener: () => void): () => void;
  /** Where a published path (`/dev/ttyUSB0`) is on this box: the same, but in tests. */
  hostPath(path: string): string;
}
