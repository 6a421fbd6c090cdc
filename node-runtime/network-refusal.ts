// That another packet filter of this box keeps programs with networks of their own from their node, so that they share the network of the
// box: said by process-networks.ts, kept in the engine's folder, and read by doctor/networks.ts.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const fileIn = (folder: string): string => join(folder, '.network-refused');

export const refusalText = (reason: string): string =>
  `another packet filter of the box keeps what they send from networks of their own from this node (${reason}). Let it accept what comes ` +
  'from their addresses, then start the node again; with firewalld: ' +
  '`firewall-cmd --permanent --zone=trusted --add-source=198.18.0.0/15` and `firewall-cmd --reload`';

/** Nothing is kept when there is no reason. */
export async function keepRefusal(folder: string, reason: string | undefined): Promise<void> {
  if (reason === undefined) await rm(fileIn(folder), { force: true });
  else await writeFile(fileIn(folder), reason, { mode: 0o600 });
}

export const keptRefusal = (folder: string): Promise<string | undefined> =>
  readFile(fileIn(folder), 'utf8').catch(() => undefined);
