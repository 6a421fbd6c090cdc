// The randomness port: jitter, nonces, secrets. Adapters: system-random.ts (node:crypto), simulations/sim-random.ts (seeded).

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `count` bytes; cryptographically strong in the real adapter. */
  bytes(count: number): Uint8Array;
}
