// Processor, kernel, operating system and model of the box, from `/proc/cpuinfo`, `/proc/sys/kernel`, `/etc/os-release`, and DMI or the
// device tree. Called by read-hardware.ts.

import type { Hardware } from '../../control/hardware.ts';
import { type BoxFiles, printableText } from './box-files.ts';

/** x86 names its model; ARM boards do so in the device tree, and give a number of the core's design. */
function modelOf(lines: readonly string[]): string | undefined {
  const value = (key: string): string | undefined =>
    lines.find((line) => line.split(':', 1)[0]?.trim() === key)?.replace(/^[^:]*:/, '');
  return printableText(value('model name') ?? value('cpu model') ?? value('uarch') ?? '');
}

export async function readProcessor(box: BoxFiles): Promise<Hardware['processor']> {
  const lines = ((await box.raw('/proc/cpuinfo')) ?? '').split('\n');
  const folders = await box.names('/sys/devices/system/cpu');
  const listed = lines.filter((line) => /^processor\s*:/.test(line)).length;
  // The file is read up to a bound; the folder has one entry for each core.
  const cores = Math.max(listed, folders.filter((name) => /^cpu\d+$/.test(name)).length, 1);
  const model = modelOf(lines);
  return { cores, ...(model !== undefined && { model }) };
}

export async function readKernel(box: BoxFiles): Promise<string> {
  const [type, release] = [await box.text('/proc/sys/kernel/ostype'), await box.text('/proc/sys/kernel/osrelease')];
  return printableText(`${type ?? 'Linux'} ${release ?? ''}`) ?? 'Linux';
}

export async function readSystem(box: BoxFiles): Promise<string | undefined> {
  const line = ((await box.raw('/etc/os-release')) ?? '').split('\n').find((one) => one.startsWith('PRETTY_NAME='));
  return printableText((line ?? '').replace(/^PRETTY_NAME=/, '').replace(/^(["'])(.*)\1$/, '$2'));
}

export async function readMachine(box: BoxFiles): Promise<string | undefined> {
  const tree = await box.text('/proc/device-tree/model');
  if (tree !== undefined) return tree;
  const parts = [await box.text('/sys/class/dmi/id/sys_vendor'), await box.text('/sys/class/dmi/id/product_name')];
  return printableText(parts.filter((part) => part !== undefined).join(' '));
}
