// Is this Node.js new enough, and one that is still maintained as long as boxes live.

import { type Finding, ok, warn } from './finding.ts';

const id = 'node-version';

/** `version` is that of `process.versions.node`. Older ones than 22.18 never get here: the program's entry refuses them. */
export function judgeNodeVersion(version: string): Finding {
  const major = Number(version.split('.')[0]);
  if (major % 2 === 0) return ok(id, `Node.js ${version}`);
  const action = 'Install an even-numbered version (LTS): https://nodejs.org/';
  return warn(id, `Node.js ${version} gets no long-term maintenance`, action);
}

export const checkNodeVersion = (): Finding => judgeNodeVersion(process.versions.node);
