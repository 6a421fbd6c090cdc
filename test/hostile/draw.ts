// Choices from a seeded stream. Called by everything here that makes up hostile frames: the same seed makes the same ones.

import type { Random } from '../../node-runtime/random.ts';

export interface Draw {
  /** A whole number from 0 on, below the given one. */
  below(count: number): number;
  /** True in one of so many cases. */
  oneIn(count: number): boolean;
  pick<T>(list: readonly T[]): T;
  bytes(count: number): Uint8Array;
}

export function createDraw(random: Random): Draw {
  const below = (count: number): number => Math.floor(random.next() * count);
  return {
    below,
    oneIn: (count) => below(count) === 0,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new Error('there is nothing to choose from');
      return list[below(list.length)] as T;
    },
    bytes: (count) => random.bytes(count),
  };
}
