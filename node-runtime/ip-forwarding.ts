// Whether this box leads packets from one of its networks to another. Called by process-networks.ts. It changes that and nothing else: the
// kernel sets `accept_redirects` of all interfaces along with it, which is put back.

import { readFile, writeFile } from 'node:fs/promises';

const settings = '/proc/sys/net/ipv4';
const forwardingFile = `${settings}/ip_forward`;
const redirectsFile = `${settings}/conf/all/accept_redirects`;

export const boxForwards = async (): Promise<boolean> => (await readFile(forwardingFile, 'utf8')).trim() !== '0';

export async function setForwarding(on: boolean): Promise<void> {
  const redirects = await readFile(redirectsFile, 'utf8');
  await writeFile(forwardingFile, on ? '1' : '0');
  await writeFile(redirectsFile, redirects);
}
