// A node's box in words and tables. Called by nodes.ts. Names of devices are what whoever plugged them in likes: all is made printable.

import type { Hardware } from '../hardware.ts';
import type { NodeView } from '../views.ts';
import type { Host } from './host.ts';
import { printable, table } from './table.ts';

/** `31 GiB`, `512 MiB`: as much as fits in three digits. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

const interfaceText = ({ name, kind, up, speedMbits }: Hardware['networks'][number]): string =>
  `${printable(name)} (${[kind, up ? 'up' : 'down', speedMbits && `${speedMbits} Mbit/s`].filter(Boolean).join(', ')})`;

/** Lines for the facts of a node. */
export function hardwareFacts({ hardware, location }: NodeView): [string, string | undefined][] {
  if (hardware === undefined) return [['location', location && printable(location)]];
  const { machine, processor, memory, disk, drives, kernel, system, arch, networks } = hardware;
  const cores = `${processor.cores} ${processor.cores === 1 ? 'core' : 'cores'}`;
  const shown = drives.map(({ name, bytes }) => `${printable(name)} ${bytesText(bytes)}`).join(', ');
  return [
    ['location', location && printable(location)],
    ['machine', machine && printable(machine)],
    ['processor', [cores, processor.model && printable(processor.model), printable(arch)].filter(Boolean).join(', ')],
    ['memory', bytesText(memory.bytes)],
    ['disk', disk && `${bytesText(disk.bytes)}${shown === '' ? '' : ` (${shown})`}`],
    ['system', [printable(kernel), system && printable(system)].filter(Boolean).join(', ')],
    ['interfaces', networks.map(interfaceText).join(', ') || undefined],
  ];
}

/** Undefined where there are none. */
export function devicesTable(host: Host, { hardware }: NodeView): string | undefined {
  const devices = hardware?.devices ?? [];
  if (devices.length === 0) return undefined;
  const rows = devices.map(({ kind, name, id, paths, vendor, product }) => [
    kind,
    vendor === undefined ? '' : `${vendor}:${product ?? ''}`,
    printable(name),
    printable(paths[0] ?? ''),
    printable(id),
  ]);
  return table(host, ['DEVICE', 'VENDOR:PRODUCT', 'NAME', 'PATH', 'ID'], rows);
}
