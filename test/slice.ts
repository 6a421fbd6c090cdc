// What a run takes of a long suite: a part that the commit chooses in `npm test`, so that every commit looks at another one, and all of it in
// `npm run soak`.

import { execFileSync } from 'node:child_process';

export const isSoak = process.env['SELVEDGE_SOAK'] !== undefined;

/** The same wherever this commit is; 0 where there is none. */
function numberOfCommit(): number {
  try {
    const commit = execFileSync('git', ['rev-parse', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number.parseInt(commit.slice(0, 8), 16);
  } catch {
    return 0;
  }
}

/** One in so many parts of it, in its order. */
export function sliceOf<T>(all: readonly T[], parts: number): T[] {
  const chosen = numberOfCommit() % parts;
  return all.filter((_, index) => isSoak || index % parts === chosen);
}
