// Why programs share the network of the box, by what is missing there. What they have in networks of their own is in
// test/e2e/process-network.test.ts.

import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { detectNetworks } from '../../node-runtime/process-network.ts';
import { findCommand, findShimTools } from '../../node-runtime/process-tools.ts';
import { packetFiltersMissing } from '../mesh/namespaces.ts';
import { skip } from '../skip.ts';

for (const shell of ['/bin/dash', '/bin/bash', 'busybox']) {
  test(`networks are tried out under ${shell}`, async (t) => {
    const missing = packetFiltersMissing();
    if (missing !== undefined) return skip(t, missing);
    const folder = await mkdtemp(join(tmpdir(), 'selvedge-process-network-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const path = shell === 'busybox' ? join(folder, 'sh') : shell;
    // busybox is the shell that its name says.
    if (shell === 'busybox') await symlink('/bin/busybox', path);
    const found = await detectNetworks(folder, await findShimTools(folder, path), findCommand);
    t.is('reason' in found ? found.reason : '', '');
  });
}

const without =
  (...hidden: string[]) =>
  async (name: string): Promise<string | undefined> =>
    hidden.includes(name) ? undefined : findCommand(name);

const cases: [hidden: string[], reason: RegExp][] = [
  [['ip'], /^this box has no ip$/],
  [['unshare', 'nsenter'], /^this box has no unshare, no nsenter$/],
  [['iptables-restore', 'nft'], /^this box has no iptables, no nft$/],
  [['iptables-save', 'nft'], /^this box has no iptables, no nft$/],
];

for (const [hidden, reason] of cases) {
  test(`without ${hidden.join(' and ')} there is a reason, and nothing is left of the trial`, async (t) => {
    const missing = packetFiltersMissing();
    if (missing !== undefined) return skip(t, missing);
    const folder = await mkdtemp(join(tmpdir(), 'selvedge-process-network-'));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const found = await detectNetworks(folder, await findShimTools(folder), without(...hidden));
    t.regex('reason' in found ? found.reason : '', reason);
    t.deepEqual(await readdir(folder), ['.scripts']);
  });
}
