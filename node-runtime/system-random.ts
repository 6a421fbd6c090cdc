// The randomness of a real box, from the kernel through node:crypto. Made once by the composition root.

import { randomBytes } from 'node:crypto';
import type { Random } from './random.ts';

/** 2^48: `next` takes six bytes, more than jitter and shuffles can tell apart. */
const STEPS = 281_474_976_710_656;

/** Cryptographically strong in both methods. */
export function createSystemRandom(): Random {
  return {
    next: () => randomBytes(6).readUIntBE(0, 6) / STEPS,
    bytes: (count) => new Uint8Array(randomBytes(count)),
  };
}
