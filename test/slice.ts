// What a run takes of a long suite: a part that the commit chooses in `npm test`, so that every commit looks at another one, and all of it in
// `npm run soak`. The commit is also the seed of what is drawn at random.

import { execFileSync } from 'node:child_process';

export const isSoak = process.env['SELVEDGE_SOAK'] !== undefined;

/** Of what is tested, as a seed: its first characters, the same wherever it is. */
export function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return '000000000000';
  }
}

/** One in so many parts of it, in its order. */
export function sliceOf<T>(all: readonly T[], parts: number): T[] {
  const chosen = Number.parseInt(commit().slice(0, 8), 16) % parts;
  return all.filter((_, index) => isSoak || index % parts === chosen);
}
