// Quantities of memory as manifests and plans write them. Pure; called by the manifest schema, the plan's schema and the engines.

import { memoryBytesMax, memoryBytesMin } from './limits.ts';

const units: Record<string, number> = { Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };

/** `128Mi` in bytes; undefined when it is no quantity, or less or more than a workload can have. */
export function memoryBytes(text: string): number | undefined {
  const [, number = '', unit = ''] = /^([1-9][0-9]{0,8})(Ki|Mi|Gi)$/.exec(text) ?? [];
  const bytes = Number(number) * (units[unit] ?? Number.NaN);
  return bytes >= memoryBytesMin && bytes <= memoryBytesMax ? bytes : undefined;
}

export const memoryForm = 'a whole number with Ki, Mi or Gi, from 6Mi to 4096Gi: 128Mi';
