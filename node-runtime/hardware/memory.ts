// How much memory the box has, from `/proc/meminfo`. Called by read-hardware.ts.

import type { BoxFiles } from './box-files.ts';

export async function readMemory(box: BoxFiles): Promise<{ bytes: number }> {
  const [, kilobytes = '0'] = /^MemTotal:\s+(\d{1,12}) kB$/m.exec((await box.raw('/proc/meminfo')) ?? '') ?? [];
  return { bytes: Number(kilobytes) * 1024 };
}
