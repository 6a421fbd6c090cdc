// Quantities of memory and logs as manifests and plans write them. Pure; called by the manifest schema, the plan's schema and the engines.

import { logFileBytesMax, logFileBytesMin, memoryBytesMax, memoryBytesMin } from './limits.ts';

const units: Record<string, number> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };

function quantityBytes(text: string, bytesMin: number, bytesMax: number): number | undefined {
  const [, number = '', unit = ''] = /^([1-9][0-9]{0,8})(Ki|Mi|Gi)$/.exec(text) ?? [];
  const bytes = Number(number) * (units[unit] ?? Number.NaN);
  return bytes >= bytesMin && bytes <= bytesMax ? bytes : undefined;
}

/** `128Mi` in bytes; undefined when it is no quantity, or less or more than a workload can have. */
export const memoryBytes = (text: string): number | undefined => quantityBytes(text, memoryBytesMin, memoryBytesMax);

/** The same of one file of a container's log. */
export const logFileBytes = (text: string): number | undefined => quantityBytes(text, logFileBytesMin, logFileBytesMax);

export const logFileForm = 'a whole number with Ki or Mi, from 64Ki to 256Mi: 10Mi';

export const memoryForm = 'a whole number with Ki, Mi or Gi, from 6Mi to 4096Gi: 128Mi';
