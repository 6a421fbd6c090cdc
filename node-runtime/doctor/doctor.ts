// Runs every check and answers all findings, in order. Called by `selvedge doctor` (control/cli/doctor.ts), with the daemon up or
// down. It changes nothing of the data folder (disk-speed.ts writes a file of its own and removes it), and no check stops the others.

import { createNodeKeys } from '../../pki/node-keys.ts';
import type { Clock } from '../clock.ts';
import { createFileDisk } from '../file-disk.ts';
import { doctorCheckMs } from '../limits.ts';
import { type OwnFiles, readOwnFiles } from '../own-files.ts';
import { checkAuthority, checkIssuingAuthority } from './certificates.ts';
import { checkClock } from './clock-check.ts';
import { checkDataFolder, checkFiles } from './data-folder.ts';
import { checkDefaultRoute } from './default-route.ts';
import { checkDescriptors } from './descriptors.ts';
import { checkDiskSpace } from './disk-space.ts';
import { checkDiskSpeed } from './disk-speed.ts';
import { checkDockerEngine, checkLimits, checkProcessEngine, checkWasmEngine } from './engines.ts';
import { type Check, type DaemonState, type DoctorInput, type Finding, fail } from './finding.ts';
import { checkKeptOptions } from './kept-options.ts';
import { checkMulticast } from './multicast.ts';
import { checkNames } from './names.ts';
import { checkControllers, checkDaemon, checkLinks } from './neighbours.ts';
import { checkNetworks } from './networks.ts';
import { checkNodeVersion } from './node-version.ts';
import { checkPolicy } from './policy-check.ts';
import { checkMdnsPort, checkMeshPort, checkTunnelPort } from './ports.ts';
import { checkSecrets } from './secrets.ts';
import { checkStore } from './store-check.ts';

export type { DaemonState, Finding };

/** A check that throws, or takes too long, is a finding too. */
async function run(id: string, check: Check, input: DoctorInput): Promise<Finding> {
  const { promise: late, resolve } = Promise.withResolvers<Finding>();
  const timer = input.clock.setTimeout(
    () =>
      resolve(
        fail(id, `not found out within ${doctorCheckMs / 1000} s`, 'Look at the load of this box, and try again.'),
      ),
    doctorCheckMs,
  );
  try {
    return await Promise.race([(async () => check(input))(), late]);
  } catch (error) {
    return fail(
      id,
      `it cannot be found out: ${(error as Error).message}`,
      'Report this: no box should make a check fail like this.',
    );
  } finally {
    input.clock.clearTimeout(timer);
  }
}

/** All findings. `dataFolder` is absolute. */
export async function examine(facts: { dataFolder: string; clock: Clock; daemon: DaemonState }): Promise<Finding[]> {
  const disk = createFileDisk(facts.dataFolder);
  let own: OwnFiles | undefined;
  let problem: (Error & { action?: string }) | undefined;
  try {
    own = await readOwnFiles(disk, createNodeKeys());
  } catch (error) {
    problem = error as Error;
  }
  const input: DoctorInput = { ...facts, own };
  const checks: [string, Check][] = [
    ['daemon', checkDaemon],
    ['node-version', checkNodeVersion],
    ['data-folder', checkDataFolder],
    ['files', () => checkFiles(input, disk, problem)],
    ['options', () => checkKeptOptions(input, disk)],
    ['store', checkStore],
    ['disk-space', checkDiskSpace],
    ['disk-speed', checkDiskSpeed],
    ['descriptors', checkDescriptors],
    ['clock', checkClock],
    ['certificate-node', checkAuthority],
    ['certificate-issuing', checkIssuingAuthority],
    ['engine-process', checkProcessEngine],
    ['limits', checkLimits],
    ['engine-docker', checkDockerEngine],
    ['engine-wasm', checkWasmEngine],
    ['policy', checkPolicy],
    ['names', checkNames],
    ['networks', checkNetworks],
    ['secrets', checkSecrets],
    ['mesh-port', checkMeshPort],
    ['tunnel-port', checkTunnelPort],
    ['mdns-port', checkMdnsPort],
    ['multicast', checkMulticast],
    ['default-route', checkDefaultRoute],
    ['links', checkLinks],
    ['controllers', checkControllers],
  ];
  return await Promise.all(checks.map(([id, check]) => run(id, check, input)));
}
