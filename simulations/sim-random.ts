// Seeded randomness: the same seed gives the same numbers in every process. Called by scenarios and tests, which fork one
// stream per node so that what one draws does not shift what another gets. Never used where a secret is real.

import type { Random } from '../node-runtime/random.ts';

export interface SimRandom extends Random {
  /** An independent stream that depends on this one's seed and the label, not on what was drawn before. */
  fork(label: string): SimRandom;
}

/** xoshiro128** (Blackman and Vigna, 2018), seeded from text by FNV-1a and splitmix32. */
export function createSimRandom(seed: number | string): SimRandom {
  const name = String(seed);
  const mix = splitmix32(fnv1a(name));
  let [a, b, c, d] = [mix(), mix() ^ fnv1a(`${name}\u0000`), mix(), mix()];

  function next32(): number {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result;
  }

  // The first outputs of a poorly mixed state resemble each other between seeds.
  for (let warmUp = 0; warmUp < 16; warmUp++) next32();

  return {
    /** 53 bits, as Math.random gives. */
    next: () => ((next32() >>> 5) * 67_108_864 + (next32() >>> 6)) / 9_007_199_254_740_992,
    bytes(count) {
      const bytes = new Uint8Array(count);
      for (let at = 0; at < count; at += 4) {
        const word = next32();
        for (let offset = 0; offset < 4 && at + offset < count; offset++) bytes[at + offset] = word >>> (8 * offset);
      }
      return bytes;
    },
    fork: (label) => createSimRandom(`${name}/${label}`),
  };
}

function rotateLeft(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by));
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function splitmix32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}
