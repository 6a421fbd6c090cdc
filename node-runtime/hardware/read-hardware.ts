// All that is known of a box, in the published form. Called by system-hardware.ts; a part that cannot be read is left out, and what is
// not in that form (control/hardware.ts) is never said.

import { type Device, type Hardware, readHardware } from '../../control/hardware.ts';
import { hardwareDevicesMax } from '../../control/limits.ts';
import { createBoxFiles } from './box-files.ts';
import { readDisk, readDrives } from './disk.ts';
import { readGpus } from './gpu.ts';
import { readMemory } from './memory.ts';
import { readNetworks } from './network.ts';
import { readKernel, readMachine, readProcessor, readSystem } from './processor.ts';
import { readSerial } from './serial.ts';
import { readTpms } from './tpm.ts';
import { readUsb } from './usb.ts';
import { readVideo } from './video.ts';

export interface Box {
  /** `/`, or what a test has built. */
  root: string;
  /** As `process.arch` says. */
  arch: string;
  dataFolder: string;
}

/** The built-in ones first, then by id: what a full hub brings pushes no graphics processor out. */
function chosen(devices: readonly Device[]): Device[] {
  const rank = ({ kind, partOf }: Device): number => (kind === 'usb' ? 2 : partOf === undefined ? 0 : 1);
  return [...new Map(devices.map((device) => [device.id, device])).values()]
    .sort((left, right) => rank(left) - rank(right) || (left.id < right.id ? -1 : 1))
    .slice(0, hardwareDevicesMax);
}

export async function readBox({ root, arch, dataFolder }: Box): Promise<Hardware> {
  const box = createBoxFiles(root);
  const usb = await readUsb(box);
  const devices = [
    ...(await readSerial(box, usb)),
    ...(await readVideo(box, usb)),
    ...(await readGpus(box)),
    ...(await readTpms(box)),
    ...usb.map(({ device }) => device),
  ];
  const [machine, system, disk] = [await readMachine(box), await readSystem(box), await readDisk(dataFolder)];
  const read = {
    arch,
    kernel: await readKernel(box),
    ...(system !== undefined && { system }),
    ...(machine !== undefined && { machine }),
    processor: await readProcessor(box),
    memory: await readMemory(box),
    ...(disk !== undefined && { disk }),
    drives: await readDrives(box),
    networks: await readNetworks(box),
    devices: chosen(devices),
  };
  // The bounds that controllers hold it to, held here as well.
  return readHardware(read) ?? { ...read, drives: [], networks: [], devices: [] };
}
