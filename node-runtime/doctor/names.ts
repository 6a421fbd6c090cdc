// How workloads resolve the names of services on this box, and whether that keeps hostile workloads apart.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { detectNames, type NamesKind } from '../process-names.ts';
import { findCommand, findShimTools } from '../process-tools.ts';
import { type Finding, ok, warn } from './finding.ts';

const id = 'names';

export function judgeNames(kind: NamesKind, reason: string): Finding {
  const apart = 'It does not separate workloads from each other: `networks` says what does.';
  if (kind === 'mount') return ok(id, `each workload has its own /etc/hosts, in a mount namespace. ${apart}`);
  if (kind === 'user')
    return ok(
      id,
      `each workload has its own /etc/hosts, in a user namespace; service ports below 1024 are refused. ${apart}`,
    );
  return warn(
    id,
    `workloads cannot resolve services by name, and find them by environment variables alone: ${reason}`,
    'Run selvedge as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or the AppArmor setting of the ' +
      'distribution), and install util-linux and mount.',
  );
}

/** Tries it out as the engine does, in a temporary folder. */
export async function checkNames(): Promise<Finding> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-doctor-'));
  try {
    const { kind, reason } = await detectNames(folder, await findShimTools(folder), findCommand);
    return judgeNames(kind, reason);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
