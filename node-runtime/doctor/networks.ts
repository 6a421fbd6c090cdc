// Whether programs have networks of their own on this box, which is what keeps hostile ones apart, and why not.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keptRefusal, refusalText } from '../network-refusal.ts';
import { detectNetworks, type NetworkTools, type NoNetworks } from '../process-network.ts';
import { findCommand, findShimTools } from '../process-tools.ts';
import { type DoctorInput, type Finding, ok, warn } from './finding.ts';

const id = 'networks';

export function judgeNetworks(
  found: Pick<NetworkTools, 'filter'> | NoNetworks,
  isRoot: boolean,
  refused?: string | undefined,
): Finding {
  const shared =
    'programs share the network of this box: each reaches what listens on 127.0.0.1 here, and what others may call';
  if (!('reason' in found)) {
    if (refused !== undefined)
      return warn(id, `${shared}: another packet filter of the box refuses theirs`, refusalText(refused));
    const { name, listeners } = found.filter;
    const apart = `each program has a network of its own, filtered by ${name}; hostile ones are kept apart when they run as a user of their own`;
    if (listeners) return ok(id, apart);
    return warn(
      id,
      `${apart}. They also reach what this box listens on at all of its addresses: this kernel cannot tell such listeners apart`,
      'Install the kernel’s module xt_socket (iptables) or nft_socket (nft), or let the box’s own services listen on single addresses.',
    );
  }
  if (!isRoot) return ok(id, `${shared}, since selvedge does not run as root. Run hostile ones on nodes of their own.`);
  return warn(
    id,
    `${shared}: ${found.reason}`,
    'Install iproute2, util-linux and iptables (or nftables), and in a container give it CAP_SYS_ADMIN and CAP_NET_ADMIN. What ' +
      'runs goes on as it was started.',
  );
}

/** Tries it out as the engine does, in namespaces and a temporary folder of its own. */
export async function checkNetworks({ dataFolder }: Pick<DoctorInput, 'dataFolder'>): Promise<Finding> {
  const folder = await mkdtemp(join(tmpdir(), 'selvedge-doctor-'));
  try {
    const found = await detectNetworks(folder, await findShimTools(folder), findCommand);
    return judgeNetworks(found, process.geteuid?.() === 0, await keptRefusal(join(dataFolder, 'instances')));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
